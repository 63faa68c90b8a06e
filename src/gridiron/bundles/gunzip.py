"""Read what gzip packed, piece by piece."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from gridiron.bundles.entry import PIECE_SIZE
from gridiron.bundles.limits import Meter
from gridiron.errors import ArchiveInvalid

STEP = 16 * 1024
"""Bytes that are read at once. zlib copies what it leaves of them, so more would cost time, not save it."""

_GZIP = 16 + zlib.MAX_WBITS
"""For zlib: a header and a checksum of gzip, which it compares."""


class GzipReader:
    """The content of a gzip file, of one member or several.

    Every byte that comes out is counted, needed or not. Every method raises ArchiveInvalid, SourceTooLarge,
    SourceTooSlow, and OSError where the file cannot be read.
    """

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter
        self._member = zlib.decompressobj(_GZIP)
        self._packed = b""  # was read, and is not unpacked yet
        self._piece = b""
        self._place = 0  # in the piece

    def read(self, size: int) -> bytes:
        """Give some of the next `size` bytes: at least one, unless this is the end."""
        if self._place == len(self._piece):
            self._piece, self._place = self._unpack(), 0
        part = self._piece[self._place : self._place + size]
        self._place += len(part)
        return part

    def read_exactly(self, size: int) -> bytes:
        """Give the next `size` bytes."""
        content = self.read(size)
        while len(content) < size:
            part = self.read(size - len(content))
            if not part:
                raise ArchiveInvalid("it is cut off")
            content += part
        return content

    def expect(self, size: int) -> None:
        """Raise SourceTooLarge where so many bytes that were not read yet are too many."""
        self._meter.expect(size - (len(self._piece) - self._place))

    def _unpack(self) -> bytes:
        """Give the next piece; nothing at the end."""
        while True:
            packed = self._packed or self._file.read(STEP)
            if self._member.eof:
                if not packed:
                    return b""
                self._packed = packed.lstrip(b"\0")  # as gzip does: tapes and disks pad with zeros
                if self._packed:
                    self._member = zlib.decompressobj(_GZIP)
                continue
            piece = self._unpack_some(packed)
            self._meter.add(len(piece))
            if piece:
                return piece
            if not packed and not self._member.eof:
                raise ArchiveInvalid("it is cut off")

    def _unpack_some(self, packed: bytes) -> bytes:
        try:
            piece = self._member.decompress(packed, PIECE_SIZE)
        except zlib.error as error:
            raise ArchiveInvalid("it is damaged, or something else follows its end") from error
        self._packed = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
        return piece
