"""Archives byte by byte, so that they may be ones that no program makes."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass

BLOCK = 512
END = bytes(2 * BLOCK)


def tar_header(  # one block, valid unless told otherwise
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    written = size if isinstance(size, bytes) else b"%011o\0" % size
    before = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + written + b"00000000000\0"
    after = (
        kind + bytes(100) + magic.ljust(8, b"\0") + bytes(64) + b"0000000\0" * 2 + prefix.ljust(155, b"\0")
    )
    after = after.ljust(BLOCK - 156, b"\0")
    checksum = sum(before) + sum(after) + 8 * 32
    return before + b"%06o\0 " % checksum + after


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def tar_entry(name: bytes, content: bytes = b"", kind: bytes = b"0") -> bytes:
    return tar_header(name, len(content), kind) + padded(content)


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    content = b"".join(pax_record(key, value) for key, value in records.items())
    return tar_entry(b"PaxHeader", content, kind)


def pax_record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    size = len(rest)
    while len(b"%d" % size) + len(rest) != size:
        size = len(b"%d" % size) + len(rest)
    return b"%d" % size + rest


def targz(*entries: bytes) -> bytes:
    return gzip.compress(b"".join(entries) + END, 1, mtime=0)


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """An entry of a zip; each field that is not None is written in place of what would be true."""

    name: bytes
    content: bytes = b""
    flags: int = 0x800
    method: int = 8
    mode: int = 0o100644
    packed: bytes | None = None
    size: int | None = None
    crc: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""

    @property
    def data(self) -> bytes:
        if self.packed is not None:
            return self.packed
        if self.method == 0:
            return self.content
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflate.compress(self.content) + deflate.flush()


def zip_archive(*entries: ZipEntry, comment: bytes = b"", count: int | None = None, disk: int = 0) -> bytes:
    out, central = b"", b""
    for entry in entries:
        data = entry.data
        offset = len(out) if entry.offset is None else entry.offset
        size = len(entry.content) if entry.size is None else entry.size
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        name = entry.name if entry.local_name is None else entry.local_name
        common = (entry.flags, entry.method, 0, 0x21, crc, len(data), size)
        if entry.offset is None:
            out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, *common, len(name), 0) + name + data
        central += struct.pack(
            "<4s6H3L5H2L",
            b"PK\1\2",
            0x0314,
            20,
            *common,
            len(entry.name),
            len(entry.extra),
            0,
            0,
            0,
            entry.mode << 16,
            offset,
        )
        central += entry.name + entry.extra
    n = len(entries) if count is None else count
    return (
        out
        + central
        + struct.pack("<4s4H2LH", b"PK\5\6", disk, disk, n, n, len(central), len(out), len(comment))
        + comment
    )
