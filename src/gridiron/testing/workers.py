"""The cells of a node in memory, for tests. Contract tests hold them to the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gridiron.errors import WorkersUnavailable
from gridiron.workers.cells import LoadedBuild, Problem
from gridiron.workers.logs import LogEntry, LogPage
from gridiron.workers.status import PoolQuarantined, PoolStatus

FAKE_URL = "http://fake-workers"

KEPT_ENTRIES = 1000
"""Of a build in a cell; as in `build_log.js`."""


class _FakeLog:
    """What a build has printed since a cell loaded it."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []

    def read(self, cursor: str | None) -> LogPage:
        """Give what is kept of the entries since a cursor: one of another log stands for the beginning."""
        own = f"{id(self)}_"
        after = int(cursor.removeprefix(own)) if cursor is not None and cursor.startswith(own) else 0
        kept_from = max(after, len(self.entries) - KEPT_ENTRIES)
        return LogPage(f"{own}{len(self.entries)}", kept_from - after, tuple(self.entries[kept_from:]))


class FakeCells:
    """Stands in for `gridiron.workers.cells.Cells`: what each cell has loaded, and which are silent."""

    def __init__(self, *cells: str) -> None:
        self._loaded: dict[str, dict[str, int]] = {cell: {} for cell in cells or ("cell-1",)}
        self._problems: dict[str, Problem] = {}
        self._silent: set[str] = set()
        self._quarantined: dict[str, PoolQuarantined] = {}
        self._logs: dict[tuple[str, str], _FakeLog] = {}  # by cell and path

    # -- what a test sets up ---------------------------------------------------------------------------------

    def load(self, path: str, cell: str = "cell-1", in_flight: int = 0) -> None:
        """Have a cell load a build, answering so many requests."""
        self._loaded[cell][path] = in_flight
        self._logs[cell, path] = _FakeLog()

    def break_build(self, path: str, problem: Problem) -> None:
        """Have a build fail to load."""
        self._problems[path] = problem

    def silence(self, cell: str = "cell-1") -> None:
        """Have a cell answer nothing any more, though it is there."""
        self._silent.add(cell)

    def wake(self, cell: str = "cell-1") -> None:
        """Have a silent cell answer again."""
        self._silent.discard(cell)

    def log(self, path: str, *entries: LogEntry, cell: str = "cell-1") -> None:
        """Have a build that a cell has loaded print something."""
        self._logs[cell, path].entries += entries

    def kill(self, cell: str) -> None:
        """End a cell: it is none any more, and what it had loaded is gone."""
        for path in self._loaded.pop(cell):
            del self._logs[cell, path]
        self._silent.discard(cell)

    def quarantine(self, path: str, since: datetime, reason: str = "hung") -> None:
        """Have a build served by a cell of its own."""
        self._quarantined[path] = PoolQuarantined(path=path, since=since, reason=reason, cell="cell-9")

    # -- CellsPort -------------------------------------------------------------------------------------------

    async def fetch_loaded(self) -> Mapping[str, tuple[LoadedBuild, ...]]:
        """Give the builds that each cell has loaded. Raises WorkersUnavailable while a cell is silent."""
        self._check_all_answer()
        return {
            cell: tuple(LoadedBuild(path, in_flight) for path, in_flight in builds.items())
            for cell, builds in self._loaded.items()
        }

    async def unload(self, path: str) -> None:
        """Unload a build from every cell that answers. Raises WorkersUnavailable while one is silent."""
        for cell, builds in self._loaded.items():
            if cell not in self._silent and path in builds:
                del builds[path], self._logs[cell, path]
        self._quarantined.pop(path, None)
        self._check_all_answer()

    async def fetch_problem(self, path: str) -> Problem | None:
        """Give the problem of a build that was broken. Raises WorkersUnavailable where no cell answers."""
        if not self._loaded.keys() - self._silent:
            raise WorkersUnavailable(FAKE_URL, "no cell answers")
        return self._problems.get(path)

    async def fetch_log(self, path: str, cursors: Mapping[str, str]) -> Mapping[str, LogPage | None]:
        """Give what each cell has of a build's entries since its cursor; None for one that is silent."""
        pages: dict[str, LogPage | None] = {}
        for cell in self._loaded:
            log, cursor = self._logs.get((cell, path)), cursors.get(cell)
            page = LogPage(cursor, 0, ()) if log is None else log.read(cursor)
            pages[cell] = None if cell in self._silent else page
        return pages

    async def fetch_pool(self) -> PoolStatus:
        """Give the builds that are in quarantine; nothing of the cells."""
        return PoolStatus(quarantined=tuple(self._quarantined.values()))

    async def release(self, path: str) -> bool:
        """Take a build out of quarantine; False when it was in none."""
        return self._quarantined.pop(path, None) is not None

    async def restart(self) -> int:
        """Replace every cell: none has anything loaded afterwards."""
        self._loaded = {cell: {} for cell in self._loaded}
        self._logs = {}
        return len(self._loaded)

    def _check_all_answer(self) -> None:
        if self._silent:
            raise WorkersUnavailable(FAKE_URL, f"{min(self._silent)} does not answer")
