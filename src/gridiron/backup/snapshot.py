"""All files of a node as they are at one moment, while it runs.

The manager is stopped for the time in which the files of all parts are opened, Restate while its own are:
milliseconds. What is read from them later is what they held then. Gridiron puts files in place by a rename,
but for marks, which are read at once as all small files are; RocksDB's are written once or grow at their end
(its options say so: no recycled logs, no writes through mapped memory). A file that is deleted meanwhile
lasts until it is closed here. So this is what there would be if both processes had been killed at that
moment, and they go on from there as after any crash.
"""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from errno import ELOOP, EMFILE, ENOTDIR, ENXIO
from types import TracebackType
from typing import Self

from gridiron.backup.holders import find_holders
from gridiron.backup.parts import RESTATE, Part, plan_parts
from gridiron.backup.pause import paused
from gridiron.bundles.disk import storing
from gridiron.errors import BackupFailed
from gridiron.settings import BUNDLES_IDENTITY, Settings

TRIES = 3
"""A process of the node may end or start meanwhile; more than one in a row says that something is wrong."""


SMALL = 4096
"""Bytes of a file that is read at once. Marks and Restate's markers are smaller, and may be written over."""

CHUNK_SIZE = 1024 * 1024

_UNFOLLOWED = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would block
_REPLACED = {ELOOP, ENOTDIR, ENXIO}
"""What opening says of a link, of one in a directory's place, and of a socket: see open(2)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A directory or a file of a snapshot."""

    path: str  # in a backup
    status: os.stat_result  # at the moment of the snapshot
    content: int | bytes | None  # of a file, the descriptor or, of a small one, all; None: a directory

    @property
    def size(self) -> int:
        """Bytes of a file at that moment; 0 of a directory."""
        return 0 if self.content is None else self.status.st_size

    def read_chunks(self) -> Iterator[bytes]:
        """Read a file as far as it went at that moment. Raises BackupFailed, OSError."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        place = 0
        while self.content is not None and place < self.size:
            chunk = os.pread(self.content, min(CHUNK_SIZE, self.size - place), place)
            if not chunk:
                raise BackupFailed(f"{self.path} became shorter while it was read")
            place += len(chunk)
            yield chunk


class Snapshot:
    """A node at one moment; a context manager, which closes the files."""

    def __init__(self) -> None:
        self.items: list[Item] = []  # directories before what is in them
        self.skipped: list[str] = []  # paths in it of what is neither file nor directory
        self.taken_at = datetime.now(UTC)
        self.manager_paused = timedelta(0)
        self.restate_paused = timedelta(0)
        self._files = ExitStack()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._files.close()

    def add(self, part: Part) -> None:
        """Open all files of a part, if it is there; skip what is none. Raises StorageFailed, BackupFailed."""
        if not part.directory.is_dir():
            return
        with storing("Reading", part.directory):
            try:
                for item in open_part(part):
                    if isinstance(item, str):
                        self.skipped.append(item)
                        continue
                    if isinstance(item.content, int):
                        self._files.callback(os.close, item.content)
                    self.items.append(item)
            except OSError as error:
                if error.errno != EMFILE:
                    raise
                most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                problem = f"the node has more files than a process may have open ({most}): raise `ulimit -n`"
                raise BackupFailed(problem) from error


def take_snapshot(settings: Settings) -> Snapshot:
    """Take a snapshot of a node, whichever of its processes run. The caller closes it.

    Raises BackupFailed, StorageFailed.
    """
    _raise_descriptor_limit()
    parts = plan_parts(settings)
    if not settings.restate_dir.is_dir():
        raise BackupFailed(f"there is no node in {settings.data_dir}")
    if not (settings.bundles_dir / BUNDLES_IDENTITY).is_file():
        raise BackupFailed(f"{settings.bundles_dir} is no bundle directory: is its disk mounted?")
    for _ in range(TRIES):
        snapshot = _try_snapshot(settings, parts)
        if snapshot is not None:
            return snapshot
    raise BackupFailed("the manager or Restate ended or started each time; try again when the node serves")


def _try_snapshot(settings: Settings, parts: Sequence[Part]) -> Snapshot | None:
    """Take one; None where it may be no picture of one moment."""
    holders = find_holders(settings)
    with ExitStack() as stack:
        snapshot = stack.enter_context(Snapshot())
        with paused(holders.manager) as of_manager:
            for part in parts:
                if part.name != RESTATE:
                    snapshot.add(part)
            with paused(holders.restate) as of_restate:
                snapshot.taken_at = datetime.now(UTC)
                for part in parts:
                    if part.name == RESTATE:
                        snapshot.add(part)
                still = find_holders(settings)
        if of_manager.lasted is None or of_restate.lasted is None or still != holders:
            return None
        snapshot.manager_paused, snapshot.restate_paused = of_manager.lasted, of_restate.lasted
        stack.pop_all()
        return snapshot


def open_part(part: Part) -> Iterator[Item | str]:
    """Open what is in a part; give the path of what is skipped."""
    # where the part itself is may be a link: whoever runs the node made it
    descriptor = os.open(part.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _open_directory(descriptor, part.name, part)
    finally:
        os.close(descriptor)


def _open_directory(directory: int, inside: str, part: Part) -> Iterator[Item | str]:
    """Open what is in an open directory. What the workers write may go while this looks.

    No link is followed, also none that takes the place of a directory meanwhile: what a user of the node puts
    into its own directory would lead root anywhere. Nor is a device or pipe opened.
    """
    yield Item(inside, os.fstat(directory), None)
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{inside}/{entry.name}"
        if inside == part.name and not part.takes(entry.name):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                descriptor = os.open(entry.name, _UNFOLLOWED | os.O_DIRECTORY, dir_fd=directory)
                try:
                    yield from _open_directory(descriptor, path, part)
                finally:
                    os.close(descriptor)
            elif entry.is_file(follow_symlinks=False):
                yield _open_file(entry.name, directory, path)
            else:
                yield path
        except FileNotFoundError:
            if not part.of_workers:
                raise
        except OSError as error:
            if error.errno not in _REPLACED:
                raise
            yield path


def _open_file(name: str, directory: int, inside: str) -> Item | str:
    descriptor = os.open(name, _UNFOLLOWED, dir_fd=directory)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size > SMALL:
        return Item(inside, status, descriptor)
    try:
        if not stat.S_ISREG(status.st_mode):  # it was when its directory was read
            return inside
        return Item(inside, status, os.pread(descriptor, status.st_size, 0))
    finally:
        os.close(descriptor)


def _raise_descriptor_limit() -> None:
    """Let this process have as many files open as it may: each file of the node is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
