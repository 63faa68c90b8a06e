from __future__ import annotations

import asyncio
import io

from gridiron.process.lines import LineWriter


class Recorder(io.StringIO):
    """A stream that remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


async def test_the_lines_of_one_turn_are_written_together_and_in_order() -> None:
    stream = Recorder()
    writer = LineWriter(stream)
    writer.write("a")
    writer.write("b")
    await asyncio.sleep(0)
    writer.write("c")
    await asyncio.sleep(0)
    assert stream.writes == ["a\nb\n", "c\n"]
