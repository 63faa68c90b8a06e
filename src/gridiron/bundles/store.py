"""The builds of a node on its disk: each whole and never changed, or not there.

    {directory}/{build_id}/            a stored build: its modules, our metadata.json, and perhaps a .mark
                                       and secrets.sealed
    {directory}/.staging/{random}/     a bundle on its way in, or a build on its way out
    {directory}/.store                 the identity of the directory

Staging is beside the builds so that one rename, which either happens or does not, brings a build in or out.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gridiron.bundles.digest import digest_of_bundle, hash_file
from gridiron.bundles.disk import make_directory, storing, sync, sync_tree
from gridiron.bundles.inventory import MARK_FILE, InventoryReader
from gridiron.bundles.limits import Meter
from gridiron.bundles.paths import METADATA_FILE, SEALED_FILE
from gridiron.bundles.staging import Staged, stage_bundle
from gridiron.errors import BuildNotFound, BundlesElsewhere, DigestMismatch, StorageFailed
from gridiron.lifecycle.observation import Inventory, Mark
from gridiron.model import Build, Module
from gridiron.process.files import replace_file
from gridiron.settings import BUNDLES_IDENTITY

STAGING = ".staging"


class BundleStore:
    """The stored builds. Every method blocks for as long as the disk needs, and may be called by any thread.

    One process writes: the manager, whose lock on its state directory sees to it. Every method raises
    StorageFailed where the disk is full, read-only or not ours.
    """

    others_write = False
    """Whether builds and marks may be changed by other managers, too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._staging = directory / STAGING
        self._inventory = InventoryReader(directory)

    @property
    def place(self) -> str:
        """Where the builds are, for people."""
        return str(self.directory)

    def list_builds(self) -> tuple[Build, ...]:
        """Give the builds that can be read, by timestamp."""
        return self.fetch_inventory().builds

    def fetch_inventory(self) -> Inventory:
        """Give the builds, and beside them what should be one and cannot be read."""
        return self._inventory.fetch()

    def fetch_inventory_of(self, name: str) -> Inventory:
        """Give the builds of one name, and perhaps others. Costs nothing for those of most other names."""
        return self._inventory.fetch(f"{name}-")  # "a-" begins "a-b-1" too

    def fetch_identity(self) -> str:
        """Give the identity of the directory, which registrations made from it carry."""
        return self._inventory.fetch_identity()

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Make a directory on the disk of the builds; it is removed at the end with all that is in it."""
        work = self.make_workplace()
        try:
            yield work
        finally:
            self.remove_workplace(work)

    def make_workplace(self) -> Path:
        """Make such a directory, for `remove_workplace`; the next start of the manager removes it, too."""
        work = self._new_staging("work")
        with storing("Making", work):
            work.mkdir(parents=True)
        return work

    def remove_workplace(self, work: Path) -> None:
        """Remove a directory that `make_workplace` made, with all that is in it. Safe to repeat."""
        self._delete(work)

    def stage(self, source: Path, meter: Meter | None = None, *, ours: bool = False) -> Staged:
        """Copy the bundle at `source`, a real path, into staging, and check it.

        `publish` or `discard` what this gives. A source that is `ours`, in a `workplace`, is moved. Nothing
        is left in staging when it fails. Raises what `stage_bundle` raises.
        """
        directory = self._new_staging("in")
        try:
            return stage_bundle(source, directory, meter, ours=ours)
        except BaseException:
            self._delete(directory)
            raise

    def publish(self, staged: Staged, build: Build, sealed: bytes | None = None) -> Path:
        """Make a build of what was staged: write its metadata.json, sync it all, rename it into place.

        `sealed` are its secrets, which only a cell of this node can open; None where it has none.
        It is marked as one whose activation is under way; `unmark` takes that away. Gives its directory. A
        build that is there already is never replaced: StorageFailed.
        """
        target = self._directory_of(build.build_id)
        with storing("Storing", target):
            if os.path.lexists(target):
                raise StorageFailed("Storing", str(target), "there is a build of this id already")
            (staged.directory / METADATA_FILE).write_text(build.model_dump_json(indent=2) + "\n", "utf-8")
            (staged.directory / MARK_FILE).write_text(Mark.ACTIVATING, "ascii")
            if sealed is not None:
                (staged.directory / SEALED_FILE).write_bytes(sealed)
            sync_tree(staged.directory)
            staged.directory.rename(target)
            try:
                sync(self.directory)
            except OSError:
                target.rename(staged.directory)  # what may not last must not be seen
                raise
        return target

    def share(self, build: Build) -> None:
        """Let the other managers that write here have a build that was published. Safe to repeat."""

    def mark(self, build_id: str, mark: Mark) -> None:
        """Write down where a build is in its life. Safe to repeat; does nothing where there is no build."""
        directory = self._directory_of(build_id)
        with storing("Marking", directory):
            if mark is Mark.REGISTERING:  # in every activation, and a lost one means the same: see MARK_FILE
                (directory / MARK_FILE).write_text(mark, "ascii")
            elif directory.is_dir():
                replace_file(directory / MARK_FILE, mark.encode(), 0o644)
                sync(directory)

    def unmark(self, build_id: str) -> None:
        """Take the mark of a build away: it is registered, and to be so. Safe to repeat."""
        directory = self._directory_of(build_id)
        with storing("Marking", directory):
            (directory / MARK_FILE).unlink(missing_ok=True)

    def stage_again(self, build: Build) -> Staged:
        """Stage the content of a stored build, as for a new build of the same; see `stage`.

        Raises DigestMismatch when its modules are no longer what was stored, BuildNotFound when it is gone.
        """
        directory = self._directory_of(build.build_id)
        if not directory.is_dir():
            raise BuildNotFound(build.build_id)
        staged = self.stage(directory.resolve())
        if staged.modules != build.modules:
            self.discard(staged)
            raise DigestMismatch(build.sha256, staged.sha256)
        return replace(staged, ignored=())  # what else there is, we have put there

    def discard(self, staged: Staged) -> None:
        """Remove what was staged, unless it was published. Safe to repeat."""
        self._delete(staged.directory)

    def remove(self, build_id: str) -> None:
        """Remove a build: it disappears at once, then its files are deleted. Safe to repeat."""
        directory = self._directory_of(build_id)
        leaving = self._new_staging("out")
        with storing("Removing", directory):
            make_directory(self._staging)
            try:
                directory.rename(leaving)
            except FileNotFoundError:  # removed before
                return
        self._delete(leaving)

    def prepare(self, expected: str | None = None) -> str:
        """Make the directory where there is none, delete what a crash left in staging; give its identity.

        For the start, before anything else uses the store. `expected` is the identity that the directory had
        before, where that is known: BundlesElsewhere when this is another directory. Nothing is written
        where all is as it was, so that a full disk does not keep anyone from removing builds.
        """
        with storing("Making", self._staging):
            if expected is not None and self._identify() != expected:
                raise BundlesElsewhere(str(self.directory))
            make_directory(self._staging)
            left = list(self._staging.iterdir())
        for directory in left:
            self._delete(directory)
        with storing("Making", self.directory):
            if self._identify() is None:
                replace_file(self.directory / BUNDLES_IDENTITY, secrets.token_hex(8).encode(), 0o644)
                sync(self.directory)
        return self._inventory.fetch_identity()

    def _identify(self) -> str | None:
        try:
            return (self.directory / BUNDLES_IDENTITY).read_text("utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def verify(self, build: Build) -> None:
        """Compare the files of a build with what its record says of them. Raises StorageFailed."""
        for module in build.modules:
            path = self._directory_of(build.build_id) / module.name
            with storing("Verifying", path):
                problem = _find_difference(module, path)
            if problem:
                raise StorageFailed("Verifying", str(path), problem)
        if build.manifests is not None and digest_of_bundle(build.modules, build.manifests) != build.sha256:
            path = self._directory_of(build.build_id) / METADATA_FILE
            raise StorageFailed("Verifying", str(path), "its parts do not make its sha256")

    def fetch_sealed(self, build_id: str) -> bytes:
        """Read the sealed secrets of a build that has some. Raises StorageFailed, also when they are gone."""
        path = self._directory_of(build_id) / SEALED_FILE
        with storing("Reading", path):
            return path.read_bytes()

    def _new_staging(self, direction: str) -> Path:
        return self._staging / f"{direction}-{secrets.token_hex(8)}"

    def _directory_of(self, build_id: str) -> Path:
        """Give the directory of a build. Raises BuildNotFound for an id that would lead elsewhere."""
        if "/" in build_id or "\0" in build_id or build_id.startswith(".") or not build_id:
            raise BuildNotFound(build_id)
        return self.directory / build_id

    def _delete(self, directory: Path) -> None:
        with storing("Removing", directory):
            try:
                shutil.rmtree(directory)
            except FileNotFoundError:
                if os.path.lexists(directory):  # something else deletes in it at the same time
                    raise


def _find_difference(module: Module, path: Path) -> str | None:
    size = path.stat().st_size
    if size != module.size:
        return f"it has {size} bytes, and had {module.size} when it was stored"
    sha256 = hash_file(path)
    return None if sha256 == module.sha256 else f"its sha256 is {sha256}, and was {module.sha256}"
