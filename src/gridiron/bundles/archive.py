"""Unpack an archive that came from anywhere. docs/bundles.md has the rules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gridiron.bundles.disk import storing
from gridiron.bundles.entry import Entry, Kind
from gridiron.bundles.gunzip import GzipReader
from gridiron.bundles.limits import Meter
from gridiron.bundles.paths import Names, check_path, is_left_out, shorten
from gridiron.bundles.tar import BLOCK, read_tar
from gridiron.bundles.zip import read_zip
from gridiron.errors import ArchiveInvalid, BundleHasDevice, BundleHasLink, BundlePathEscapes, StorageFailed

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter: of one that is empty
_OTHERS = (
    (re.compile(rb"BZh"), "it is packed with bzip2"),
    (re.compile(rb"\xfd7zXZ\0"), "it is packed with xz"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "it is packed with Zstandard"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "it is a 7-Zip archive"),
    (re.compile(rb"Rar!\x1a\x07"), "it is a RAR archive"),
    (re.compile(rb".{257}ustar", re.DOTALL), "it is a tar archive that is not packed with gzip"),
    (re.compile(rb"\s*<(!doctype\s+)?html", re.IGNORECASE), "it is an HTML page"),
    (re.compile(rb"\s*<\?xml"), "it is an XML document"),
    (re.compile(rb"\s*[{\[]"), "it looks like JSON"),
)
"""What is sent in place of an archive, by how it begins, and what is said of it."""

_ABSOLUTE = re.compile(r"/|[A-Za-z]:")
_LIFTED = ".unpacked"
"""For a moment the name of the one directory of an archive. Nothing that is unpacked begins with a dot."""


def unpack(archive: Path, directory: Path, meter: Meter) -> None:
    """Unpack a `.tar.gz` or `.zip`, told apart by their content, into `directory`.

    `directory` is made; it may be there, and empty. What no bundle has (`is_left_out`) is checked and not
    written. Where all that is written would stand in one directory of the archive, its content comes to stand
    in `directory` itself. `meter` begins anew; it counts every byte that is unpacked, needed or not, every
    entry, and every directory that only paths name. Modes are 0644 and 0755, less the umask; nothing is
    synced. Blocks, and takes a few MiB of memory, whatever the archive holds. When it fails, what was written
    stays for the caller to remove, and none of it is outside of `directory`.

    Raises ArchiveInvalid, BundleHasLink, BundleHasDevice, BundlePathEscapes, BundlePathTwice,
    BundlePathCollides, BundlePathNotUtf8, BundlePathInvalid, SourceTooLarge, SourceHasTooManyFiles,
    SourceTooSlow, StorageFailed.
    """
    with storing("Writing", directory):
        directory.mkdir(0o755, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise StorageFailed("Unpacking into", str(directory), "it is not empty")
    meter.begin()
    target = _Target(directory, meter)
    with storing("Reading", archive), archive.open("rb") as file:
        for entry in _read_entries(file, meter):
            target.take(entry)
    target.finish()


def recognise(beginning: bytes) -> str | None:
    """Tell from its first bytes (512 are enough) what a file is, in words; None where it may be unpacked."""
    if beginning.startswith((_GZIP, *_ZIP)):
        return None
    if not beginning:
        return "it is empty"
    found = (words for pattern, words in _OTHERS if pattern.match(beginning))
    return next(found, "it is neither gzip nor zip")


def plain_path(path: str) -> str:
    """Give the path of an entry without the parts that mean nothing (`./a//b/` is `a/b`); it may be empty.

    Raises BundlePathEscapes, and what `check_path` raises.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if _ABSOLUTE.match(path) or ".." in parts:
        raise BundlePathEscapes(shorten(path))
    return check_path("/".join(parts))


def _read_entries(file: BinaryIO, meter: Meter) -> Iterator[Entry]:
    beginning = file.read(BLOCK)
    problem = recognise(beginning)
    if problem:
        raise ArchiveInvalid(problem)
    file.seek(0)
    return read_tar(GzipReader(file, meter)) if beginning.startswith(_GZIP) else read_zip(file, meter)


class _Target:
    """The directory that is unpacked into, and the names in it."""

    def __init__(self, directory: Path, meter: Meter) -> None:
        self._directory = directory
        self._meter = meter
        self._kept = Names(str.casefold)
        self._left_out = Names(str)
        self._tops: set[str] = set()  # first part of what is written; of a file at the root, nothing

    def take(self, entry: Entry) -> None:
        """Check an entry, and write it where it may be part of a bundle."""
        path = plain_path(entry.path)
        is_directory = entry.kind is Kind.DIRECTORY
        _check_kind(path, entry.kind)
        self._meter.add_file()
        if not path:
            if is_directory:  # the root, as `tar` writes it
                return
            raise ArchiveInvalid("a file in it has no name")
        is_kept = not any(is_left_out(part) for part in path.split("/"))
        names = self._kept if is_kept else self._left_out
        for _ in range(names.add(path, is_directory=is_directory)):
            self._meter.add_file()
        if is_kept and not is_directory:
            top, slash, _ = path.partition("/")
            self._tops.add(top if slash else "")
            self._write(self._directory / path, entry.pieces)

    def finish(self) -> None:
        """Lift the content of the only directory. Raises ArchiveInvalid where nothing was written."""
        if not self._tops:
            raise ArchiveInvalid("it has no file that may be part of a bundle")
        if len(self._tops) == 1 and "" not in self._tops:
            (top,) = self._tops
            with storing("Moving", self._directory / top):
                lifted = (self._directory / top).rename(self._directory / _LIFTED)
                for child in list(lifted.iterdir()):
                    child.rename(self._directory / child.name)
                lifted.rmdir()

    def _write(self, path: Path, pieces: Iterator[bytes]) -> None:
        with storing("Writing", path), os.fdopen(self._create(path), "wb") as file:
            for piece in pieces:
                file.write(piece)

    def _create(self, path: Path) -> int:
        """Make a file, which must not be there, and the directories that it stands in."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            return os.open(path, flags, 0o644)
        except FileNotFoundError:
            below = path.relative_to(self._directory).parents
            for parent in reversed(below):
                (self._directory / parent).mkdir(0o755, exist_ok=True)
            return os.open(path, flags, 0o644)


def _check_kind(path: str, kind: Kind) -> None:
    if kind is Kind.LINK:
        raise BundleHasLink(path)
    if kind not in {Kind.FILE, Kind.DIRECTORY}:
        raise BundleHasDevice(path, kind.value)
