"""What a directory has of a bundle, and how its files are read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ELOOP, ENOTDIR
from itertools import islice
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gridiron.bundles.paths import MANIFEST_FILES, check_path, is_left_out
from gridiron.errors import (
    BundleHasDevice,
    BundleHasLink,
    SourceHasTooManyFiles,
    SourceMissing,
    SourceNotADirectory,
    SourceUnreadable,
)

CHUNK_SIZE = 1024 * 1024
"""Bytes that are read at once: large enough that hashing, and not the calls, takes the time."""

UNLIMITED = sys.maxsize - 1
"""Files of a source that is Gridiron's own."""

_TRAVERSE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
"""To go through a directory, which, where the system has O_PATH, need not be readable for that."""

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
    """What a directory may have of a bundle. Each part is sorted by path."""

    files: tuple[ScannedFile, ...]  # those that may be modules: the manifest decides
    manifest_files: tuple[ScannedFile, ...]
    ignored: tuple[str, ...]  # what is no part of any bundle; a directory ends in a slash


@dataclass(frozen=True, slots=True)
class Root:
    """The directory of a source, opened."""

    path: Path  # for sentences
    descriptor: int


def resolve_source(path: Path) -> Path:
    """Give the real path of a directory, which `path` may name by links.

    Raises SourceMissing, SourceNotADirectory, SourceUnreadable.
    """
    check_directory(path)
    with reading(str(path)):
        return path.resolve(strict=True)


@contextmanager
def open_root(path: Path) -> Iterator[Root]:
    """Open the directory of a source, and close it in the end.

    Everything in it is looked at and read through it, so it stays this one even where somebody moves it, or
    puts a link in its place. `path` is a real one, as `resolve_source` gives: no part of it may be a link by
    now. Raises SourceMissing, SourceNotADirectory, SourceUnreadable.
    """
    check_directory(path)
    with reading(str(path)):
        root = os.open(path.anchor, _TRAVERSE)
        try:
            descriptor = _open_below(root, path.parts[1:], os.O_DIRECTORY)
        except OSError as error:
            if error.errno in {ELOOP, ENOTDIR}:
                raise SourceUnreadable(str(path), "a part of its path is a link") from error
            raise
        finally:
            os.close(root)
    try:
        yield Root(path, descriptor)
    finally:
        os.close(descriptor)


def scan_source(root: Root, max_files: int = UNLIMITED) -> Scan:
    """Look through a directory, without following links.

    Names that begin with a dot, and `node_modules`, are passed over with all that is in them. Stops at the
    first thing that no bundle can have, and at more than `max_files` names. Raises SourceUnreadable,
    SourceHasTooManyFiles, BundleHasLink, BundleHasDevice, BundlePathInvalid, BundlePathNotUtf8.
    """
    found: list[ScannedFile] = []
    ignored: list[str] = []
    for path, file in _walk(root, max_files):
        if file is None:
            ignored.append(path)
        else:
            found.append(file)
    found.sort(key=lambda file: file.path)
    files = tuple(file for file in found if file.path not in MANIFEST_FILES)
    manifest_files = tuple(file for file in found if file.path in MANIFEST_FILES)
    return Scan(files, manifest_files, tuple(sorted(ignored)))


def open_file(root: Root, path: str) -> BinaryIO:
    """Open a file of a source for reading, and only if neither it nor a directory on its way is a link.

    The source may have changed since it was scanned, so its kind is looked at once more, on the open file.
    Raises SourceUnreadable, BundleHasLink, BundleHasDevice.
    """
    with reading(path):
        # a named pipe would block without O_NONBLOCK; a file does not care
        descriptor = _open_below(root.descriptor, PurePosixPath(path).parts, os.O_NONBLOCK)
        mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise refuse_kind(path, mode)
    return os.fdopen(descriptor, "rb", buffering=0)


def read_chunks(file: BinaryIO, expected: ScannedFile) -> Iterator[bytes]:
    """Read an open file piece by piece. Raises SourceUnreadable, also when its size has changed."""
    size = 0
    while size <= expected.size:
        chunk = read_some(file, expected.path)
        if not chunk:
            break
        size += len(chunk)
        yield chunk
    if size != expected.size:
        raise SourceUnreadable(expected.path, "it changed while it was read")


def read_some(file: BinaryIO, path: str) -> bytes:
    """Read the next bytes of an open file; none at its end. Raises SourceUnreadable."""
    with reading(path):
        return file.read(CHUNK_SIZE)


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


def _walk(root: Root, max_files: int) -> Iterator[tuple[str, ScannedFile | None]]:
    """Give every file below `root`; None in place of the file for a name that is passed over."""
    pending = [""]
    seen = 0
    while pending:
        prefix = pending.pop()
        names = _list_directory(root, prefix, max_files - seen)
        seen += len(names)
        if seen > max_files:
            raise SourceHasTooManyFiles(max_files)
        for name, status in names:
            path = check_path(prefix + name)
            is_directory = stat.S_ISDIR(status.st_mode)
            if is_left_out(name):
                yield (f"{path}/" if is_directory else path), None
            elif is_directory:
                pending.append(f"{path}/")
            elif stat.S_ISREG(status.st_mode):
                yield path, ScannedFile(path, status.st_size)
            else:
                raise refuse_kind(path, status.st_mode)


def _list_directory(root: Root, prefix: str, limit: int) -> list[tuple[str, os.stat_result]]:
    """List a directory by name, so that of several faults the same one is told each time.

    Of more than `limit` names, some are given: one more than that.
    """
    with reading(prefix or str(root.path)):
        descriptor = _open_below(root.descriptor, PurePosixPath(prefix).parts, os.O_DIRECTORY)
        try:
            with os.scandir(descriptor) as entries:
                some = islice(entries, limit + 1)
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in some]
        finally:
            os.close(descriptor)
    return sorted(found, key=itemgetter(0))


def _open_below(directory: int, parts: Sequence[str], flags: int) -> int:
    """Open what the names lead to from an open directory, none of them through a link. Raises OSError."""
    *parents, name = parts or (".",)
    opened = os.dup(directory)
    for flags_of, part in [*((_TRAVERSE, parent) for parent in parents), (os.O_RDONLY | flags, name)]:
        try:
            below = os.open(part, flags_of | os.O_NOFOLLOW, dir_fd=opened)
        finally:
            os.close(opened)
        opened = below
    return opened


def refuse_kind(path: str, mode: int) -> BundleHasLink | BundleHasDevice:
    """Give the error for something that is neither a plain file nor a directory, by its mode."""
    if stat.S_ISLNK(mode):
        return BundleHasLink(path)
    return BundleHasDevice(path, _KINDS.get(stat.S_IFMT(mode), "no plain file"))
