"""Disks of a test's own. Mounting needs root, as CI has it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILLER = ".filler"


def content_of(directory: Path) -> dict[str, int]:
    """The files in a directory, with their sizes."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.stat().st_size for path in files}


@contextmanager
def mounted(directory: Path, *arguments: str) -> Iterator[None]:
    """Mount something at a directory."""
    mount(*arguments, str(directory))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True, timeout=30)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, timeout=30)


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Let nobody write to a directory, root included."""
    with mounted(directory, "--bind", str(directory)):
        mount("-o", "remount,bind,ro", str(directory))
        yield


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[None]:
    """Put a disk in memory at a directory."""
    with mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on a disk."""
    with (disk / FILLER).open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    try:
        yield
    finally:
        (disk / FILLER).unlink()
