"""Read a tar archive (ustar, GNU, pax) from a stream, which may hold anything.

Python's own `tarfile` is no good for that: it takes a damaged header for the end of the archive, and reads
extended headers of any size into memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gridiron.bundles.entry import PIECE_SIZE, Entry, Kind
from gridiron.bundles.gunzip import GzipReader
from gridiron.errors import ArchiveInvalid

BLOCK = 512
MAX_EXTENDED = 1024 * 1024
"""Bytes of extended headers before one entry. They hold times, owners and attributes, and a long path."""

_USTAR = b"ustar\x00"
_NUMBER = re.compile(rb"[ \0]*([0-7]*)[ \0]*")
_POSITIVE = 0x80
"""First byte of a number in base 256, which GNU tar writes where octal digits do not suffice."""

_KINDS: Mapping[bytes, Kind] = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,  # before POSIX
    b"7": Kind.FILE,  # contiguous on the disk
    b"1": Kind.LINK,
    b"2": Kind.LINK,
    b"3": Kind.DEVICE,
    b"4": Kind.DEVICE,
    b"5": Kind.DIRECTORY,
    b"6": Kind.PIPE,
    b"S": Kind.SPARSE,
}
_PAX, _PAX_GLOBAL, _GNU_PATH, _GNU_LINK = b"x", b"g", b"L", b"K"
_EXTENDED = {_PAX, _PAX_GLOBAL, _GNU_PATH, _GNU_LINK}
_PAX_SPARSE = b"GNU.sparse."


@dataclass(frozen=True, slots=True)
class Header:
    """A header block."""

    path: bytes
    type: bytes  # one byte
    size: int  # bytes of what follows


@dataclass(slots=True)
class _Extended:
    """What extended headers say of the entry that follows them."""

    size: int = 0  # bytes of these headers themselves
    gnu_path: bytes | None = None
    pax: dict[bytes, bytes] = field(default_factory=dict)


def read_tar(stream: GzipReader) -> Iterator[Entry]:
    """Give the entries one by one, to the end of the stream.

    Raises ArchiveInvalid, and what the stream raises.
    """
    is_first = True
    extended = _Extended()
    while any(block := stream.read_exactly(BLOCK)):
        header = parse_header(block)
        if header is None:
            raise ArchiveInvalid("what gzip packed is no tar archive" if is_first else "it is damaged")
        is_first = False
        if header.type in _EXTENDED:
            _extend(extended, header, stream)
            continue
        header = _apply(extended, header)
        kind = _kind_of(header, extended)
        stream.expect(header.size)
        pieces = _read_content(stream, header.size)
        yield Entry(header.path.decode("utf-8", "surrogateescape"), kind, pieces)
        for _ in pieces:  # what was not wanted
            pass
        extended = _Extended()
    if extended.size:
        raise ArchiveInvalid("it is cut off")
    while rest := stream.read(PIECE_SIZE):
        if rest != bytes(len(rest)):
            raise ArchiveInvalid("something follows its end")


def parse_header(block: bytes) -> Header | None:
    """Read a header block; None where it is none."""
    checksum = _parse_number(block[148:156])
    if checksum != sum(block[:148]) + sum(b" " * 8) + sum(block[156:]):
        return None
    path, size = _text(block[:100]), _parse_number(block[124:136])
    if size is None:
        return None
    prefix = _text(block[345:500]) if block[257:263] == _USTAR else b""
    return Header(prefix + b"/" + path if prefix else path, block[156:157], size)


def parse_pax(content: bytes) -> dict[bytes, bytes]:
    """Read the records of a pax header: those that change what is unpacked, and no others.

    Raises ArchiveInvalid.
    """
    records = {}
    place = 0
    while place < len(content):
        space = content.find(b" ", place, place + 20)
        digits = content[place:space] if space >= 0 else b""
        end = place + int(digits) if digits.isdigit() else 0
        key, equals, value = content[space + 1 : end].partition(b"=")
        if not equals or end > len(content) or not value.endswith(b"\n"):
            raise ArchiveInvalid("an extended header in it is damaged")
        if key in {b"path", b"size"} or key.startswith(_PAX_SPARSE):
            records[key] = value[:-1]
        place = end
    return records


def _extend(extended: _Extended, header: Header, stream: GzipReader) -> None:
    """Read an extended header, as far as it fits."""
    extended.size += header.size + BLOCK
    if extended.size > MAX_EXTENDED:
        raise ArchiveInvalid(f"an extended header in it has more than {MAX_EXTENDED} bytes")
    content = b"".join(_read_content(stream, header.size))
    if header.type == _GNU_PATH:
        extended.gnu_path = _text(content)
    elif header.type == _PAX:
        extended.pax |= parse_pax(content)
    elif header.type == _PAX_GLOBAL and parse_pax(content):
        raise ArchiveInvalid("a header in it gives all entries one path or size")


def _apply(extended: _Extended, header: Header) -> Header:
    size = extended.pax.get(b"size")
    if size and not (size.isdigit() and len(size) <= 20):
        raise ArchiveInvalid("an extended header in it is damaged")
    return Header(
        path=extended.pax.get(b"path") or extended.gnu_path or header.path,
        type=header.type,
        size=int(size) if size else header.size,
    )


def _kind_of(header: Header, extended: _Extended) -> Kind:
    if any(key.startswith(_PAX_SPARSE) for key in extended.pax):
        return Kind.SPARSE
    kind = _KINDS.get(header.type, Kind.UNKNOWN)
    if kind is Kind.FILE and header.path.endswith(b"/"):
        kind = Kind.DIRECTORY  # as before POSIX
    if kind is Kind.DIRECTORY and header.size:
        raise ArchiveInvalid("a directory in it has content")
    return kind


def _read_content(stream: GzipReader, size: int) -> Iterator[bytes]:
    """Give the `size` bytes that follow, and pass over what fills the last block."""
    left = size
    while left:
        piece = stream.read(left)
        if not piece:
            raise ArchiveInvalid("it is cut off")
        left -= len(piece)
        yield piece
    stream.read_exactly(-size % BLOCK)


def _text(content: bytes) -> bytes:
    return content.partition(b"\0")[0]


def _parse_number(content: bytes) -> int | None:
    if content[0] == _POSITIVE:
        return int.from_bytes(content[1:], "big")
    match = _NUMBER.fullmatch(content)
    return int(match[1] or b"0", 8) if match else None
