"""Small files that are read and written whole, and whose last content survives a loss of power."""

from __future__ import annotations

from pathlib import Path

from gridiron.errors import StorageFailed
from gridiron.process.files import replace_file, sync_directory


def read_kept(path: Path) -> bytes | None:
    """Read a file; None where there is none. Raises StorageFailed."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error


def write_kept(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file in one step: it, and its name, are on the disk once this returns.

    Without a mode, for this user alone. Safe to repeat. Raises StorageFailed: the old content may be there
    then, or the new.
    """
    try:
        replace_file(path, content, mode)
        sync_directory(path.parent)  # or what was taken away may come back
    except OSError as error:
        raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error
