from __future__ import annotations

from gridiron.process.lines import BURST, LINE_LIMIT, RATE, LineSplitter

STARTED = "(more than 1 MiB of output a second: the rest of it is left out)"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def split(*chunks: bytes) -> list[str]:
    lines: list[str] = []
    splitter = LineSplitter(lines.append)
    for chunk in chunks:
        splitter.feed(chunk)
    splitter.end()
    return lines


def test_lines_come_whole_however_they_are_cut() -> None:
    assert split(b"one\r\ntw", b"o\n\nthr", b"ee") == ["one", "two", "", "three"]
    assert split() == []


def test_what_is_no_utf8_is_replaced() -> None:
    assert split(b"\xff\n") == ["\ufffd"]


def test_a_long_line_comes_in_pieces() -> None:
    half = b"x" * (LINE_LIMIT // 2)
    assert [len(line) for line in split(half, half, half, b"\n")] == [LINE_LIMIT, LINE_LIMIT // 2]


def test_a_flood_is_cut_with_a_line_that_says_so() -> None:
    lines: list[str] = []
    clock = Clock()
    splitter = LineSplitter(lines.append, clock)
    for _ in range(100):
        splitter.feed(b"x" * (BURST // 10 - 1) + b"\n")
    assert [line[:5] for line in lines] == ["xxxxx"] * 10 + [STARTED[:5]]
    assert lines[-1] == STARTED
    clock.now += 1
    splitter.feed(b"calm\n")
    assert lines[-2:] == [f"({90 * (BURST // 10)} bytes of output were left out)", "calm"]
    clock.now += 3600
    for _ in range(5):
        splitter.feed(b"y" * (RATE - 1) + b"\n")
    assert lines[-2:] == ["y" * (RATE - 1), STARTED]  # quiet counts up to the burst only
    splitter.end()
    assert lines[-1] == f"({RATE} bytes of output were left out)"
