"""How the collector gets on with a disk that fails, or hangs. What it reads from is a cell of these tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from gridiron.workers.cell import Cell
from gridiron.workers.collector import Collector, name_build
from gridiron.workers.log_files import LogFiles
from gridiron.workers.logs import LogEvent, Wanted

PATHS = ("/bad/1.0.0-1", "/good/1.0.0-2")
BAD, GOOD = (name_build(path) for path in PATHS)


class PrintingCell:
    """A cell whose builds print a line between two reads, each its own number; a cursor is how many are read."""

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
    return cast(Cell, PrintingCell())


def messages(files: LogFiles, build_id: str) -> list[str]:
    return [event.message for event in files.read(build_id, Wanted(), 100).events]


async def test_a_log_that_cannot_be_written_costs_no_other_and_is_told_once(cell: Cell, tmp_path: Path) -> None:
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
