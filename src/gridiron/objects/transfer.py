"""Objects that are files on this side: how they are read and written, and how long that may take."""

from __future__ import annotations

import hashlib
import mmap
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gridiron.errors import StorageFailed

if TYPE_CHECKING:
    from obstore import GetResult

REQUEST_LIMIT = timedelta(seconds=5)
"""Of one attempt at a small request, with its connection; and of a silence within a download."""

LEAST_RATE = 512 * 1024
"""Bytes a second that a transfer makes, or it is given up: a node that is slower could not serve either."""


class Interrupted(Exception):
    """An attempt failed in a way that another one may not. Its text says how, and holds no secret."""


def limit_of(size: int) -> timedelta:
    """Say how long a transfer of so many bytes may take: 100 MiB, 205 s."""
    return REQUEST_LIMIT + timedelta(seconds=size / LEAST_RATE)


def save(found: GetResult, path: Path) -> str:
    """Write what comes into a file, from its beginning, and give its sha256 (lower-case hexadecimal).

    Raises Interrupted where it comes too slowly, StorageFailed, and what obstore does where it breaks off;
    then the file stays as far as it came.
    """
    digest, limit = hashlib.sha256(), limit_of(found.meta["size"])
    deadline = time.monotonic() + limit.total_seconds()
    try:
        with path.open("wb") as file:
            for chunk in found.stream(min_chunk_size=1):  # as they come, so that the clock is looked at
                _check_time(deadline, limit)
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error
    return digest.hexdigest()


def _check_time(deadline: float, limit: timedelta) -> None:
    if time.monotonic() > deadline:
        raise Interrupted(f"not all of an object came within {limit.total_seconds():.0f} s")


def map_file(path: Path) -> mmap.mmap | bytes:
    """Give the content of a file without reading it into memory. Raises StorageFailed.

    obstore would read it: 100 MiB took 100 to 165 MiB in each other form that it takes.
    """
    try:
        with path.open("rb") as file:
            is_empty = not path.stat().st_size  # which cannot be mapped
            return b"" if is_empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error


def remove(path: Path) -> None:
    """Remove a file, if there is one. Safe to repeat. Raises StorageFailed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageFailed("Removing", str(path), error.strerror or str(error)) from error
