"""Files that appear in one step, and directories that two roles share."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OF_OTHERS = 0o027
"""Permissions that a private file must not give: writing for a group, anything for all others. Reading for a
group is for roles that are two users, and for operators who have users of their own."""

SHARED_MODE = 0o2750
"""Of a directory in which one role writes and another, of the same group, reads: runit/setup makes it so."""


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file beside `path`, sync it, then give it its name: readers see the old or the new.

    Makes the directory where it is missing. Safe to repeat, also from two processes at once. Raises OSError,
    and leaves the old content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _written(path, content, mode) as temporary:
        temporary.replace(path)


def create_file(path: Path, content: bytes, mode: int) -> bool:
    """Have a file appear whole, and on the disk; False, and nothing is changed, where there is one.

    Its directory has to be there. Safe to repeat, also from two processes at once. Raises OSError.
    """
    try:
        with _written(path, content, mode) as temporary:
            path.hardlink_to(temporary)  # fails where there is one
    except FileExistsError:
        return False
    sync_directory(path.parent)
    return True


def sync_directory(directory: Path) -> None:
    """See the names in a directory onto the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """Give the path of a file beside `path` that has its content, on the disk; it is gone at the end.

    Where root writes into another user's directory it is that user's, whose process is to read it.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # of mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def is_shared(directory: Path) -> bool:
    """Tell whether what is made in a directory is for its group, too: its mode is exactly SHARED_MODE.

    No other mode says so: one that a umask or the directory above it gave was not meant. Raises OSError.
    """
    return stat.S_IMODE(directory.stat().st_mode) == SHARED_MODE
