"""Read a zip archive, which may hold anything.

Python's own `zipfile` is no good for that: it makes an object of every entry before the first can be looked
at, and takes an archive that has other bytes before or within it.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from gridiron.bundles.entry import PIECE_SIZE, Entry, Kind
from gridiron.bundles.limits import Meter
from gridiron.errors import ArchiveInvalid, SourceHasTooManyFiles

_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_CENTRAL_MAGIC = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_MAX_COMMENT = 0xFFFF
_IN_ZIP64 = 0xFFFFFFFF
"""In place of a size or offset: it does not fit here, and stands in the fields that zip64 adds."""

_MANY = 0xFFFF
"""In place of the number of entries, the same."""

_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_PATCH = 1 << 5
_UTF8 = 1 << 11
_DAMAGED = "an entry in it is damaged"
_LIST_DAMAGED = "its list of entries is damaged"
_STORED, _DEFLATED = 0, 8
_METHODS: Mapping[int, str] = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz"}

_KINDS: Mapping[int, Kind] = {
    0: Kind.FILE,  # not made on Unix
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFBLK: Kind.DEVICE,
    stat.S_IFCHR: Kind.DEVICE,
    stat.S_IFIFO: Kind.PIPE,
    stat.S_IFSOCK: Kind.SOCKET,
}


@dataclass(frozen=True, slots=True)
class _Directory:
    """Where the central directory is."""

    entries: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Record:
    """What the central directory says of an entry."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int  # bytes
    size: int  # bytes
    mode: int  # of Unix; 0 where it was made elsewhere
    offset: int  # of its local header


def read_zip(file: BinaryIO, meter: Meter) -> Iterator[Entry]:
    """Give the entries one by one, in the order of the central directory.

    Every byte that is unpacked is counted. Raises ArchiveInvalid, SourceTooLarge, SourceHasTooManyFiles,
    SourceTooSlow, and OSError where the file cannot be read.
    """
    directory = _find_directory(file, meter)
    place, taken = directory.start, 0
    for _ in range(directory.entries):
        record, place = _read_record(file, place, directory.end)
        taken += _LOCAL.size + len(record.name) + record.packed
        if taken > directory.start:
            raise ArchiveInvalid("its entries overlap")
        encoding = "utf-8" if record.flags & _UTF8 else "ascii"
        kind = _kind_of(record)
        meter.expect(record.size)
        pieces = _read_content(file, record, directory.start, meter)
        yield Entry(record.name.decode(encoding, "surrogateescape"), kind, pieces)
        for _ in pieces:  # what was not wanted: its checksum is
            pass
    if place != directory.end:
        raise ArchiveInvalid("its list of entries is longer than it says")


def _find_directory(file: BinaryIO, meter: Meter) -> _Directory:
    size = file.seek(0, 2)
    start = max(0, size - _END.size - _MAX_COMMENT)
    file.seek(start)
    tail = file.read(size - start)
    place = _find_end(tail)
    _, disk, first, here, entries, length, offset, _ = _END.unpack_from(tail, place)
    if max(here, entries) > meter.limits.files:
        raise SourceHasTooManyFiles(meter.limits.files)
    if _MANY in (here, entries) or _IN_ZIP64 in (length, offset):
        raise _refuse_zip64()
    if disk or first or here != entries or offset + length != start + place:
        raise ArchiveInvalid("its end does not say where its list of entries is")
    return _Directory(entries, offset, offset + length)


def _find_end(tail: bytes) -> int:
    """Give the place of the record at the end of a zip, which a comment may follow."""
    place = tail.rfind(_END_MAGIC, 0, max(0, len(tail) - _END.size + len(_END_MAGIC)))
    while place >= 0:
        comment = _END.unpack_from(tail, place)[-1]
        if place + _END.size + comment == len(tail):
            return place
        place = tail.rfind(_END_MAGIC, 0, place + len(_END_MAGIC) - 1)
    raise ArchiveInvalid("it is cut off, or something else follows its end")


def _read_record(file: BinaryIO, place: int, end: int) -> tuple[_Record, int]:
    """Read a record of the central directory; give it, and where the next one is."""
    if place + _CENTRAL.size > end:
        raise ArchiveInvalid(_LIST_DAMAGED)
    file.seek(place)
    fields = _CENTRAL.unpack(_read_exactly(file, _CENTRAL.size))
    magic, _, _, flags, method, _, _, crc, packed, size, name, extra, comment = fields[:13]
    disk, _, attributes, offset = fields[13:]
    after = place + _CENTRAL.size + name + extra + comment
    if magic != _CENTRAL_MAGIC or after > end or disk:
        raise ArchiveInvalid(_LIST_DAMAGED)
    if _IN_ZIP64 in (packed, size, offset):
        raise _refuse_zip64()
    if flags & _ENCRYPTED:
        raise ArchiveInvalid("it is encrypted")
    if method not in {_STORED, _DEFLATED} or flags & _PATCH:
        name_of = _METHODS.get(method, f"method {method}")
        raise ArchiveInvalid(f"it is packed with {name_of}, not with deflate")
    path = _read_exactly(file, name)
    return _Record(path, flags, method, crc, packed, size, attributes >> 16, offset), after


def _kind_of(record: _Record) -> Kind:
    kind = _KINDS.get(stat.S_IFMT(record.mode), Kind.UNKNOWN)
    if kind is Kind.FILE and record.name.endswith(b"/"):
        kind = Kind.DIRECTORY
    if kind is Kind.DIRECTORY and record.size:
        raise ArchiveInvalid("a directory in it has content")
    return kind


def _read_content(file: BinaryIO, record: _Record, end: int, meter: Meter) -> Iterator[bytes]:
    """Unpack an entry, and compare it with what the central directory says of it."""
    packed = _read_packed(file, _find_content(file, record, end), record.packed)
    size, crc = 0, 0
    for piece in _inflate(packed) if record.method == _DEFLATED else packed:
        meter.add(len(piece))
        size, crc = size + len(piece), zlib.crc32(piece, crc)
        if size > record.size:
            raise ArchiveInvalid(_DAMAGED)
        yield piece
    if (size, crc) != (record.size, record.crc):
        raise ArchiveInvalid(_DAMAGED)


def _find_content(file: BinaryIO, record: _Record, end: int) -> int:
    """Give the place where an entry's content begins, having compared its local header."""
    file.seek(record.offset)
    name: int
    extra: int
    magic, _, flags, method, _, _, _, _, _, name, extra = _LOCAL.unpack(_read_exactly(file, _LOCAL.size))
    place = record.offset + _LOCAL.size + name + extra
    is_same = (magic, flags, method) == (_LOCAL_MAGIC, record.flags, record.method)
    if not is_same or _read_exactly(file, name) != record.name or place + record.packed > end:
        raise ArchiveInvalid("an entry in it is not what the list of entries says")
    return place


def _read_packed(file: BinaryIO, place: int, size: int) -> Iterator[bytes]:
    """Give the bytes at a place. The file may be read elsewhere in between."""
    end = place + size
    while place < end:
        file.seek(place)
        piece = _read_exactly(file, min(PIECE_SIZE, end - place))
        place += len(piece)
        yield piece


def _inflate(packed: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack, in pieces of a bounded size, some of which may be empty."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for waiting in packed:
        rest, is_all = waiting, False
        while not is_all:
            try:
                piece = inflate.decompress(rest, PIECE_SIZE)
            except zlib.error as error:
                raise ArchiveInvalid(_DAMAGED) from error
            if inflate.unused_data:
                raise ArchiveInvalid(_DAMAGED)
            rest = inflate.unconsumed_tail
            is_all = not rest and len(piece) < PIECE_SIZE  # else more may come of what it holds
            yield piece
    if not inflate.eof:
        raise ArchiveInvalid(_DAMAGED)


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise ArchiveInvalid("it is cut off")
    return content


def _refuse_zip64() -> ArchiveInvalid:
    return ArchiveInvalid(f"it is a zip64, as for {_MANY} entries or 4 GiB, which only .tar.gz may have")
