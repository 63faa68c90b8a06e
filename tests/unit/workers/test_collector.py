"""How the collector gets on with a disk that fails, or hangs. What it reads from is a cell of these tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gridiron.model import name_build
from gridiron.workers.cell import Cell
from gridiron.workers.collector import Collector
from gridiron.workers.log_files import LogFiles
from gridiron.workers.logs import LogEvent, Wanted

PATHS = ("/bad/1.0.0-1", "/good/1.0.0-2")
BAD, GOOD = (name_build(path) for path in PATHS)


class PrintingCell:
    """A cell whose builds print a line, its number, between two reads; a cursor is how many are read."""

    name = "cell-1"
    failed = ()

    def __init__(self) -> None:
        self.loaded = {path: {"in_flight": 1, "idle_seconds": 0} for path in PATHS}
        self.printed = 0

    async def look(self) -> None:
        pass

    async def read_logs(self, cursors: Mapping[str, str | None]) -> Mapping[str, Any]:
        self.printed += 1
        return {path: self._page(int(cursor or 0)) for path, cursor in cursors.items()}

    def _page(self, start: int) -> Mapping[str, Any]:
        entry = {"time": 0, "kind": "log", "level": "log"}
        entries = [{**entry, "message": str(number)} for number in range(start, self.printed)]
        return {"cursor": str(self.printed), "missed": 0, "entries": entries}


@pytest.fixture
def cell() -> Cell:
    return cast("Cell", PrintingCell())


def messages(files: LogFiles, build_id: str) -> list[str]:
    return [event.message for event in files.read(build_id, Wanted(), 100).events]


async def test_a_log_that_cannot_be_written_costs_no_other_and_is_told_once(
    cell: Cell, tmp_path: Path
) -> None:
    files = LogFiles(tmp_path, 10**6)
    (tmp_path / BAD).write_text("where its directory would be")
    collector = Collector(files)
    with capture_logs() as said:
        for _ in range(2):
            await collector.finish(cell)
        assert messages(files, GOOD) == ["0", "1"]
        (tmp_path / BAD).unlink()
        await collector.finish(cell)
    assert messages(files, GOOD) == messages(files, BAD) == ["0", "1", "2"]
    assert [(each["event"], each["build_id"]) for each in said] == [("logs.not_written", BAD)]


class HangingFiles(LogFiles):
    """Files on a disk that takes nothing until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, 10**6)
        self.let_go = threading.Event()
        self.threads: set[str] = set()

    def append(self, build_id: str, events: Iterable[LogEvent]) -> None:
        self.threads.add(threading.current_thread().name)
        assert self.let_go.wait(30)
        super().append(build_id, events)


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[HangingFiles]:
    files = HangingFiles(tmp_path)
    yield files
    files.let_go.set()


async def test_nobody_waits_for_a_disk_that_hangs_and_nothing_is_lost(
    cell: Cell, hanging: HangingFiles
) -> None:
    collector, again = Collector(hanging), cast("Cell", PrintingCell())
    again.name = "cell-2"
    async with asyncio.timeout(10):
        for each in (cell, again):
            await collector.finish(each)
            await collector.tell(each, "it ended")
            assert not await collector.collect(each, PATHS[0])
    assert await asyncio.to_thread(lambda: "another thread") == "another thread"
    assert len(hanging.threads) == 1
    hanging.let_go.set()
    for each in (cell, again):
        await collector.finish(each)
        assert await collector.collect(each, PATHS[0])
    for build_id in (BAD, GOOD):
        for name in ("cell-1", "cell-2"):
            events = [each for each in hanging.read(build_id, Wanted(), 100).events if each.cell == name]
            assert [each.message for each in events] == [str(number) for number in range(len(events))]
            assert events
    assert len(hanging.threads) == 1
