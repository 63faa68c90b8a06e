"""Output as lines, of which a flood is cut: what reads them must not be drowned by what writes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TextIO

RATE = 1024 * 1024
"""Bytes of output a second that are read on and on: as lines of a log, more than anybody reads."""

BURST = 4 * RATE
"""Bytes that may come at once after a time of quiet."""

LINE_LIMIT = 256 * 1024
"""Bytes of one line that are kept together; a longer line arrives in pieces that are no shorter."""


class LineSplitter:
    """Takes output as it comes, and hands it on line by line, without the lines' ends."""

    def __init__(self, on_line: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._on_line = on_line
        self._clock = clock
        self._allowance = float(BURST)  # bytes that are handed on before some have to be left out
        self._refilled = clock()
        self._left_out = 0  # bytes, since the last line was handed on
        self._rest = b""  # of a line whose end is not there yet

    def feed(self, chunk: bytes) -> None:
        """Take more output. What comes faster than the rate is left out, and a line says so."""
        now = self._clock()
        self._allowance = min(BURST, self._allowance + (now - self._refilled) * RATE)
        self._refilled = now
        if self._allowance < len(chunk):
            self._leave_out(len(chunk))
            return
        self._allowance -= len(chunk)
        self._tell_what_was_left_out()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) >= LINE_LIMIT:
            self._hand_on(self._rest)
            self._rest = b""

    def end(self) -> None:
        """Hand on what there is: no more output comes."""
        self._tell_what_was_left_out()
        if self._rest:
            self._hand_on(self._rest)

    def _leave_out(self, size: int) -> None:
        if not self._left_out:
            self._on_line("(more than 1 MiB of output a second: the rest of it is left out)")
        self._left_out += len(self._rest) + size
        self._rest = b""

    def _tell_what_was_left_out(self) -> None:
        if self._left_out:
            self._on_line(f"({self._left_out} bytes of output were left out)")
            self._left_out = 0

    def _hand_on(self, line: bytes) -> None:
        self._on_line(line.decode(errors="replace").rstrip("\r"))


class LineWriter:
    """Writes lines to a stream, those of one turn of the event loop together: each write is a system call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        """Write a line in this turn of the running event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(f"{line}\n")

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        self._stream.write("".join(lines))
        self._stream.flush()
