"""Make a node out of a backup, where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from grp import getgrnam
from pathlib import Path
from pwd import getpwnam
from typing import BinaryIO

from gridiron.backup.archive import Access, ArchiveReader, Entry, Manifest
from gridiron.backup.create import OnProgress, restate_version
from gridiron.backup.exclusive import check_alone, exclusive
from gridiron.backup.parts import Part, plan_parts
from gridiron.bundles.disk import make_directory, storing, sync, sync_tree
from gridiron.errors import BackupInvalid, BackupMismatch, DataNotEmpty
from gridiron.process.lock import LOCK_FILE
from gridiron.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """A directory that parts are restored into: they are made in `staging`, in it, and then renamed."""

    directory: Path
    staging: Path
    parts: tuple[Part, ...]

    def staged(self, part: Part) -> Path:
        """Say where a part is made."""
        return self.staging / part.directory.relative_to(self.directory)


def restore_backup(settings: Settings, file: BinaryIO, name: str, on_progress: OnProgress) -> Manifest:
    """Put a node into the directories that the settings name, which are missing or empty; give its manifest.

    `name` is what messages call the file. All is on the disk when this returns. When it fails, nothing is in
    the directories; when it is killed, `.restoring` is: Restate does not start beside it, and another restore
    removes it. As root, each file gets the owner that it had, otherwise this user; so does the data directory
    where it is missing. What the backup does not say of it, it is for its user alone.

    Raises DataNotEmpty, BackupInvalid, BackupMismatch, BackupOfCluster, BackupUnderWay, StorageFailed.
    """
    check_alone(settings)
    with storing("Reading", Path(name)):
        reader = ArchiveReader(file, name)
    check_manifest(reader.manifest, settings)
    places = plan_places(settings)
    with storing("Making", settings.data_dir):
        is_new = _make_private(settings.data_dir)
    with exclusive(settings.data_dir), storing("Writing", settings.data_dir):
        for place in places:
            _check_empty(place)
        with _undone_when_it_fails(places) as placed:
            accesses = _unpack(reader, places, name, on_progress)
            if is_new and reader.manifest.directory is not None:
                accesses[settings.data_dir] = reader.manifest.directory
            for place in places:
                for target in _put_in_place(place):
                    placed.append(target)
            for directory, access in accesses.items():
                _give_access(directory, access)  # which is synced when its staging is removed
    return reader.manifest


def check_manifest(manifest: Manifest, settings: Settings) -> None:
    """Raise BackupMismatch where a node with these settings could not go on from a backup."""
    if manifest.node_name != settings.node_name:
        mend = "Restate keeps what it has under its node's name: set GRIDIRON_NODE_NAME to that."
        raise BackupMismatch("node name", manifest.node_name, settings.node_name, mend)
    port = settings.ports.workers
    if manifest.workers_port != port:
        mend = "Builds are registered with that port: give the --port-offset that the node had."
        raise BackupMismatch("workers' port", str(manifest.workers_port), str(port), mend)
    ours = restate_version()
    if _numbers(manifest.restate) > _numbers(ours):
        mend = f"Restate does not read what a newer one wrote: install Gridiron {manifest.gridiron}."
        raise BackupMismatch("Restate", manifest.restate, ours, mend)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("-", maxsplit=1)[0].split("."))


def plan_places(settings: Settings) -> tuple[Place, ...]:
    """Say where the parts go: the data directory is the last, as Restate's data is in it."""
    inside: list[Part] = []
    elsewhere: list[Part] = []
    for part in plan_parts(settings):
        (inside if part.directory.is_relative_to(settings.data_dir) else elsewhere).append(part)
    staging = settings.restoring_dir
    return (
        *(Place(part.directory, part.directory / staging.name, (part,)) for part in elsewhere),
        Place(settings.data_dir, staging, tuple(inside)),
    )


def _make_private(directory: Path) -> bool:
    """Make a directory where it is missing, for its user alone; tell whether it was."""
    make_directory(directory.parent)
    try:
        directory.mkdir(0o700)
    except FileExistsError:
        return False
    sync(directory.parent)
    return True


def _check_empty(place: Place) -> None:
    """Raise DataNotEmpty where there is a file in a directory. Empty directories are no matter."""
    for directory, _, files in os.walk(place.directory):
        is_leftover = Path(directory).is_relative_to(place.staging)
        found = [file for file in files if file != LOCK_FILE or Path(directory) != place.directory]
        if found and not is_leftover:
            raise DataNotEmpty(str(place.directory), str(Path(directory, found[0])))


@contextmanager
def _undone_when_it_fails(places: tuple[Place, ...]) -> Iterator[list[Path]]:
    """Make the stagings and remove them; where the block fails, also what it has put into its list."""
    placed: list[Path] = []
    try:
        for place in places:
            shutil.rmtree(place.staging, ignore_errors=not place.staging.exists())
            _make_private(place.directory)
            place.staging.mkdir(0o700)
        yield placed
    except BaseException:
        for target in placed:
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        raise
    finally:
        for place in places:
            shutil.rmtree(place.staging)
            sync(place.directory)


def _unpack(
    reader: ArchiveReader, places: tuple[Place, ...], name: str, on_progress: OnProgress
) -> dict[Path, Access]:
    """Unpack into the stagings; say who gets the directories that are a part themselves, and are there."""
    stagings = {place.staging: place.directory for place in places}
    accesses: dict[Path, Access] = {}
    roots = {part.name: place.staged(part) for place in places for part in place.parts}
    directories: list[tuple[Path, Entry]] = []
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, reader.manifest.size)

    for entry in reader.read_entries(on_bytes):
        target = _target_of(entry, roots, name)
        if entry.is_directory:
            is_root = target in roots.values()
            target.mkdir(0o700, parents=is_root, exist_ok=is_root)
            if target in stagings:
                accesses[stagings[target]] = entry.access
            else:
                directories.append((target, entry))
        else:
            _write_file(target, entry)
    for target, entry in reversed(directories):  # not before: some may not be written into then
        _give_away(target, entry)
    for place in places:
        sync_tree(place.staging)
    return accesses


def _target_of(entry: Entry, roots: Mapping[str, Path], name: str) -> Path:
    part, _, rest = entry.path.partition("/")
    if part not in roots:
        raise BackupInvalid(name, f"{entry.path} in it belongs to no part of a node")
    return roots[part] / rest


def _write_file(target: Path, entry: Entry) -> None:
    with open(target, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.writelines(entry.chunks)
    _give_away(target, entry)


def _give_away(target: Path, entry: Entry) -> None:
    """Give a file or directory its owner, mode and time."""
    _give_access(target, entry.access)
    os.utime(target, (entry.modified_at, entry.modified_at))


def _give_access(target: Path, access: Access) -> None:
    if os.geteuid() == 0:
        os.chown(target, _user_id(access.user), _group_id(access.group))
    target.chmod(access.mode)


@cache
def _user_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else getpwnam(name).pw_uid
    except KeyError as error:
        raise BackupMismatch("user", name, "unknown", "Make that user first, as runit/setup does.") from error


@cache
def _group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else getgrnam(name).gr_gid
    except KeyError as error:
        raise BackupMismatch(
            "group", name, "unknown", "Make that group first, as runit/setup does."
        ) from error


def _put_in_place(place: Place) -> Iterator[Path]:
    """Rename what is staged into place, Restate's data last; give each path when it is there."""
    order = {part.directory.relative_to(place.directory).parts[:1]: at for at, part in enumerate(place.parts)}
    for staged in sorted(place.staging.iterdir(), key=lambda path: order.get((path.name,), -1)):
        target = place.directory / staged.name
        for directory, _, _ in os.walk(target, topdown=False):  # that are empty, as was seen
            Path(directory).rmdir()
        staged.rename(target)
        yield target
    sync(place.directory)
