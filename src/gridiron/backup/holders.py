"""Which processes write a node's data now. They are asked nothing, and notice nothing."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import NamedTuple

from gridiron.bundles.disk import storing
from gridiron.errors import BackupFailed, DirectoryInUse
from gridiron.process.lock import find_holder
from gridiron.settings import Settings

_ROCKSDB_LOCK = "LOCK"
_FLOCK = struct.Struct("hhqqi0q")
"""`struct flock` of Linux on machines of 64 bits: type, whence, start, length, process id (fcntl(2))."""


class Holders(NamedTuple):
    """Process ids; None where nobody has it."""

    manager: int | None
    restate: int | None


def find_holders(settings: Settings) -> Holders:
    """Find who has the manager's state and Restate's data. Raises BackupFailed, StorageFailed."""
    with storing("Reading", settings.manager_state_dir):
        try:
            manager = find_holder(settings.manager_state_dir)
        except DirectoryInUse as error:
            raise BackupFailed(_unseen("the manager", settings.manager_state_dir)) from error
    return Holders(manager, find_restate(settings.restate_dir))


def find_restate(directory: Path) -> int | None:
    """Find the process that has Restate's databases open.

    Raises BackupFailed where it cannot be seen from here, StorageFailed.
    """
    with storing("Reading", directory):
        holders = {_find_owner(path) for path in directory.rglob(_ROCKSDB_LOCK)} - {None}
    if len(holders) > 1 or any(holder is not None and holder <= 0 for holder in holders):
        raise BackupFailed(_unseen("Restate", directory))
    return holders.pop() if holders else None


def _unseen(program: str, directory: Path) -> str:
    return (
        f"the process that has {directory} open cannot be seen from here: "
        f"run this in the container of {program}, as its user or root"
    )


def _find_owner(path: Path) -> int | None:
    """Say who has a lock of fcntl(2) on a file, as RocksDB has one on each database that it has open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
