"""Writing so that it lasts: what these functions have done is on the disk, or they have raised."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridiron.errors import StorageFailed


@contextmanager
def storing(action: str, path: Path) -> Iterator[None]:
    """Turn an error of the disk (full, read-only, not permitted, …) into StorageFailed.

    `action` begins its sentence ("Writing"); `path` is named where the error names none.
    """
    try:
        yield
    except OSError as error:
        named = error.filename if isinstance(error.filename, str) else str(path)
        raise StorageFailed(action, named, error.strerror or str(error)) from error


def make_directory(path: Path) -> None:
    """Make a directory and those above it, and see them onto the disk. Safe to repeat. Raises OSError."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def sync_tree(root: Path) -> None:
    """See a directory, and all directories and files in it, onto the disk: each once. Raises OSError."""
    for directory, _, files in os.walk(root, topdown=False, onerror=_raise):
        for file in files:
            sync(Path(directory, file))
        sync(Path(directory))


def sync(path: Path) -> None:
    """See a file, or the names in a directory, onto the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise(error: OSError) -> None:
    raise error
