"""How much room a disk has left."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from gridiron.model import Value


class Disk(Value):
    """The disk that a directory lies on."""

    free: int = Field(description="Bytes that the manager may still use.")
    total: int = Field(description="Bytes.")
    files_free: int | None = Field(description="How many more files; None: it has no such limit.")


def fetch_disk(directory: Path) -> Disk:
    """Say how full the disk of a directory is. Blocks where the disk hangs. Raises OSError."""
    found = os.statvfs(directory)
    return Disk(
        free=found.f_bavail * found.f_frsize,
        total=found.f_blocks * found.f_frsize,
        files_free=found.f_favail if found.f_files else None,
    )
