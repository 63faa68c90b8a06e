"""A lock on a directory: held by one process, let go by the kernel when that process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gridiron.errors import DirectoryInUse, StorageFailed

LOCK_FILE = "lock"


@contextmanager
def lock_directory(directory: Path, name: str = LOCK_FILE) -> Iterator[None]:
    """Hold `{directory}/{name}` locked, making the directory first where it is missing, for its user alone.

    Raises DirectoryInUse with the holder's process id when another process has it, StorageFailed when the
    file cannot be made. The file stays: removing it would let two processes lock two files of one name.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed("Locking", str(directory), error.strerror or str(error)) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DirectoryInUse(str(directory), holder) from error
    try:
        with suppress(OSError):  # a full disk: the lock counts, not the number in it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def find_holder(directory: Path, name: str = LOCK_FILE) -> int | None:
    """Find the process that has a lock of `lock_directory`; None where nobody has.

    What the file says is believed only of a process that has this very file open: seen from another
    container, or just after a crash, the number may be anybody's. A process that tries to get the lock in the
    same microseconds may be told that it is taken. Raises DirectoryInUse where somebody has it who cannot be
    seen from here, OSError.
    """
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        if not holder.isdecimal() or not _has_open(int(holder), os.fstat(descriptor)):
            raise DirectoryInUse(str(directory), "unknown") from error
        return int(holder)
    finally:
        os.close(descriptor)
    return None


def _has_open(pid: int, file: os.stat_result) -> bool:
    """Tell whether a process has a file open; False where it is gone or another user's."""
    with suppress(OSError):
        for opened in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                if os.path.samestat(opened.stat(), file):
                    return True
    return False
