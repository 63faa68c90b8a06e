"""What a directory has of a bundle, and how its files are read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ELOOP
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gridiron.bundles.paths import Part, check_case, check_path, is_left_out, part_of
from gridiron.errors import (
    BundleEmpty,
    BundleHasDevice,
    BundleHasLink,
    BundleTooLarge,
    SourceMissing,
    SourceNotADirectory,
    SourceUnreadable,
)
from gridiron.model import MAX_MODULES_SIZE

CHUNK_SIZE = 1024 * 1024
"""Bytes that are read at once: large enough that hashing, and not the calls, takes the time."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file as it was when the source was looked at."""

    path: str  # relative to the source, with forward slashes
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Scan:
    """What a directory has of a bundle. Each part is sorted by path."""

    root: Path
    modules: tuple[ScannedFile, ...]
    manifest_files: tuple[ScannedFile, ...]
    ignored: tuple[str, ...]  # what is no part of a bundle; a directory ends in a slash


def scan_source(root: Path) -> Scan:
    """Look through a directory, without following links. `root` itself may be a link to a directory.

    Names that begin with a dot, and `node_modules`, are passed over with all that is in them; files with
    another ending than a module's are passed over too. Stops at the first thing that no bundle can have.
    Raises SourceMissing, SourceNotADirectory, SourceUnreadable, BundleHasLink, BundleHasDevice,
    BundlePathInvalid, BundlePathNotUtf8, BundlePathCollides, BundleTooLarge, BundleEmpty.
    """
    check_directory(root)
    found: dict[Part, list[ScannedFile]] = {Part.MODULE: [], Part.MANIFEST: []}
    ignored: list[str] = []
    size = 0
    for path, file in _walk(root):
        part = Part.NONE if file is None else part_of(path)
        if file is None or part is Part.NONE:
            ignored.append(path)
            continue
        found[part].append(file)
        size += file.size if part is Part.MODULE else 0
        if size > MAX_MODULES_SIZE:
            raise BundleTooLarge(size, MAX_MODULES_SIZE)
    modules = sorted(found[Part.MODULE], key=lambda file: file.path)
    if not modules:
        raise BundleEmpty(str(root))
    check_case(file.path for file in modules)
    manifest_files = sorted(found[Part.MANIFEST], key=lambda file: file.path)
    return Scan(root, tuple(modules), tuple(manifest_files), tuple(sorted(ignored)))


def open_file(root: Path, path: str) -> BinaryIO:
    """Open a file of a source for reading, and only if neither it nor a directory on its way is a link.

    The source may have changed since it was scanned, so its kind is looked at once more, on the open file.
    Raises SourceUnreadable, BundleHasLink, BundleHasDevice.
    """
    *directories, name = PurePosixPath(path).parts
    with reading(path):
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        for directory in directories:
            descriptor = _open_beneath(descriptor, directory, os.O_DIRECTORY)
        # a named pipe would block without O_NONBLOCK; a file does not care
        descriptor = _open_beneath(descriptor, name, os.O_NONBLOCK)
        mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise refuse_kind(path, mode)
    return os.fdopen(descriptor, "rb", buffering=0)


def read_chunks(file: BinaryIO, expected: ScannedFile) -> Iterator[bytes]:
    """Read an open file piece by piece. Raises SourceUnreadable, also when its size has changed."""
    size = 0
    while size <= expected.size:
        with reading(expected.path):
            chunk = file.read(CHUNK_SIZE)
        if not chunk:
            break
        size += len(chunk)
        yield chunk
    if size != expected.size:
        raise SourceUnreadable(expected.path, "it changed while it was read")


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn an error of the disk while the source is read into SourceUnreadable or BundleHasLink."""
    try:
        yield
    except OSError as error:
        if error.errno == ELOOP:
            raise BundleHasLink(path) from error
        raise SourceUnreadable(path, error.strerror or str(error)) from error


def check_directory(root: Path) -> None:
    """Raise SourceMissing, SourceNotADirectory or SourceUnreadable unless `root` is a directory."""
    try:
        mode = root.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:  # the latter: a part of its path is a file
        raise SourceMissing(str(root)) from error
    except OSError as error:
        raise SourceUnreadable(str(root), error.strerror or str(error)) from error
    if not stat.S_ISDIR(mode):
        raise SourceNotADirectory(str(root))


def _walk(root: Path) -> Iterator[tuple[str, ScannedFile | None]]:
    """Give every file below `root`; None in place of the file for a name that is passed over."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in _list_directory(root, prefix):
            path = check_path(prefix + entry.name)
            with reading(path):
                status = entry.stat(follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            if is_left_out(entry.name):
                yield (f"{path}/" if is_directory else path), None
            elif is_directory:
                pending.append(f"{path}/")
            elif stat.S_ISREG(status.st_mode):
                yield path, ScannedFile(path, status.st_size)
            else:
                raise refuse_kind(path, status.st_mode)


def _list_directory(root: Path, prefix: str) -> list[os.DirEntry[str]]:
    """List a directory by name, so that of several faults the same one is told each time."""
    with reading(prefix or str(root)), os.scandir(root / prefix) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _open_beneath(parent: int, name: str, flags: int) -> int:
    """Open a name in the directory `parent`, which is closed whether that succeeds or not."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=parent)
    finally:
        os.close(parent)


def refuse_kind(path: str, mode: int) -> BundleHasLink | BundleHasDevice:
    """Give the error for something that is neither a plain file nor a directory, by its mode."""
    if stat.S_ISLNK(mode):
        return BundleHasLink(path)
    return BundleHasDevice(path, _KINDS.get(stat.S_IFMT(mode), "no plain file"))
