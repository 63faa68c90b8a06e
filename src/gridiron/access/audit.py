"""The audit log: who changed what, when, from where, and who was refused. A file that only grows.

Each line is one JSON object. A change has two, of one id: `began` is on the disk before anything is done,
`done` or `failed` before the answer goes out. So a change that cannot be written down is not made, and one
that a crash cut off shows as begun. A line that a crash or a full disk tore is skipped by who reads, and the
next one begins on a line of its own. The file is opened anew for each line: it may be moved away at any time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from gridiron.errors import AuditUnavailable
from gridiron.model import Value
from gridiron.process.files import sync_directory

BLOCK = 64 * 1024
"""Bytes that are read at once, from the end."""


Text = Annotated[str, AfterValidator(lambda text: text.encode(errors="replace").decode())]
"""Half of a character, which no UTF-8 can hold, becomes `?`: no text keeps a line from being written."""


class Entry(Value):
    """One line of the audit log."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # a later version may write more

    id: str = Field(description="Of the request; `began` and what came of it have the same.")
    at: datetime
    event: Literal["began", "done", "failed", "refused"]
    token: str | None = Field(
        description="Id of the token; of a `refused` one that is not good, what it claims to be."
    )
    name: Text | None = Field(description="Of the token.")
    address: Text | None = Field(description="Where the request came from.")
    request_id: str | None = Field(default=None, description="As the manager's log has it.")
    method: Text
    route: Text
    about: dict[str, Text] = Field(description="What it is about: `name`, `build_id`, `version`, …")
    status: int | None = Field(default=None, description="Of a failure or refusal.")
    code: str | None = Field(default=None, description="The same.")
    left_out: int = Field(
        default=0, description="Refusals before this one that are not written down: there were too many."
    )


class AuditLog:
    """The file. Every method blocks on the disk, and may be called by several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def append(self, entry: Entry, *, synced: bool) -> None:
        """Write a line; where `synced`, it is on the disk when this returns. Raises AuditUnavailable."""
        line = entry.model_dump_json(exclude_defaults=True).encode() + b"\n"
        try:
            with self._lock:
                self._append(line, synced=synced)
        except OSError as error:
            raise AuditUnavailable("Writing", str(self._path), error.strerror or str(error)) from error

    def _append(self, line: bytes, *, synced: bool) -> None:
        is_new = not self._path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (os.O_DSYNC if synced else 0)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # the one before was torn
            written = os.write(descriptor, line)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            if synced and is_new:
                sync_directory(self._path.parent)
        finally:
            os.close(descriptor)

    def fetch_page(self, before: int | None, limit: int) -> tuple[tuple[Entry, ...], int | None]:
        """Read up to `limit` entries that stand before a place in the file, newest first; None: its end.

        The second value is the place of the next page; None: there is none. Raises AuditUnavailable.
        """
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                end = size if before is None else min(before, size)
                return _take(_read_backwards(file.fileno(), end), limit)
        except FileNotFoundError:
            return (), None
        except OSError as error:
            raise AuditUnavailable("Reading", str(self._path), error.strerror or str(error)) from error


def _take(lines: Iterator[tuple[int, bytes]], limit: int) -> tuple[tuple[Entry, ...], int | None]:
    entries: list[Entry] = []
    for place, line in lines:
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:  # torn
            continue
        if len(entries) == limit:
            return tuple(entries), place or None
    return tuple(entries), None


def _read_backwards(descriptor: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a file before a place in it, last first, each with the place where it begins."""
    rest = b""
    while end > 0:
        begin = max(0, end - BLOCK)
        block = os.pread(descriptor, end - begin, begin) + rest
        first, *lines = block.split(b"\n")
        place = begin + len(block)
        for line in reversed(lines):
            place -= len(line)
            if line:
                yield place, line
            place -= 1
        rest, end = first, begin
    if rest:
        yield 0, rest
