"""What stands in an archive, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

PIECE_SIZE = 64 * 1024
"""Bytes of an archive that are in memory at once, or little more."""


class Kind(StrEnum):
    """What an entry is, as a sentence names it."""

    FILE = "a file"
    DIRECTORY = "a directory"
    LINK = "a link"
    DEVICE = "a device"
    PIPE = "a named pipe"
    SOCKET = "a socket"
    SPARSE = "a sparse file"
    UNKNOWN = "neither a plain file nor a directory"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive. Nothing about its path was checked."""

    path: str  # as it is written; bytes that are not UTF-8 are surrogates, as `os.fsdecode` leaves them
    kind: Kind
    pieces: Iterator[bytes]  # of its content, to be read before the next entry is asked for
