"""The builds of a node on its disk: each whole and never changed, or not there.

    {directory}/{build_id}/            a stored build: its modules and our metadata.json
    {directory}/.staging/{random}/     a bundle on its way in, or a build on its way out

Staging is beside the builds so that one rename, which either happens or does not, brings a build in or out.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from gridiron.bundles.digest import hash_file
from gridiron.bundles.disk import make_directory, storing, sync, sync_tree
from gridiron.bundles.inventory import Damaged, Inventory, InventoryReader
from gridiron.bundles.paths import METADATA_FILE
from gridiron.bundles.staging import Staged, stage_bundle
from gridiron.errors import BuildNotFound, StorageFailed
from gridiron.model import Build, Module

__all__ = ["BundleStore", "Damaged", "Inventory", "Staged"]

STAGING = ".staging"


class BundleStore:
    """The stored builds. Every method blocks for as long as the disk needs, and may be called by any thread.

    One process writes: the manager, whose lock on its state directory sees to it. Every method raises
    StorageFailed where the disk is full, read-only or not ours.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._staging = directory / STAGING
        self._inventory = InventoryReader(directory)

    def list_builds(self) -> tuple[Build, ...]:
        """Give the builds that can be read, by timestamp."""
        return self._inventory.fetch().builds

    def list_builds_of(self, name: str) -> tuple[Build, ...]:
        """Give the builds of one name that can be read, by timestamp; costs nothing for those of others."""
        builds = self._inventory.fetch(f"{name}-").builds
        return tuple(build for build in builds if build.name == name)  # "a-" begins "a-b-1" too

    def fetch_inventory(self) -> Inventory:
        """Give the builds, and beside them what should be one and cannot be read."""
        return self._inventory.fetch()

    def stage(self, source: Path) -> Staged:
        """Copy the bundle at `source` into staging, and check it; `publish` or `discard` what this gives.

        Nothing is left in staging when it fails. Raises what `stage_bundle` raises.
        """
        directory = self._new_staging("in")
        try:
            return stage_bundle(source, directory)
        except BaseException:
            self._delete(directory)
            raise

    def publish(self, staged: Staged, build: Build) -> Path:
        """Make a build of what was staged: write its metadata.json, sync it all, rename it into place.

        Gives its directory. A build that is there already is never replaced: StorageFailed.
        """
        target = self._directory_of(build.build_id)
        with storing("Storing", target):
            if os.path.lexists(target):
                raise StorageFailed("Storing", str(target), "there is a build of this id already")
            (staged.directory / METADATA_FILE).write_text(build.model_dump_json(indent=2) + "\n", "utf-8")
            sync_tree(staged.directory)
            staged.directory.rename(target)
            try:
                sync(self._directory)
            except OSError:
                target.rename(staged.directory)  # what may not last must not be seen
                raise
        return target

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

    def clear_staging(self) -> None:
        """Make the directory where there is none, and delete what a crash left in staging.

        For the start, before anything else uses the store.
        """
        self._delete(self._staging)
        with storing("Making", self._staging):
            make_directory(self._staging)

    def verify(self, build: Build) -> None:
        """Compare the files of a build with what its record says of them. Raises StorageFailed."""
        for module in build.modules:
            path = self._directory_of(build.build_id) / module.name
            with storing("Verifying", path):
                problem = _find_difference(module, path)
            if problem:
                raise StorageFailed("Verifying", str(path), problem)

    def _new_staging(self, direction: str) -> Path:
        return self._staging / f"{direction}-{secrets.token_hex(8)}"

    def _directory_of(self, build_id: str) -> Path:
        """Give the directory of a build. Raises BuildNotFound for an id that would lead elsewhere."""
        if "/" in build_id or "\0" in build_id or build_id.startswith(".") or not build_id:
            raise BuildNotFound(build_id)
        return self._directory / build_id

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
