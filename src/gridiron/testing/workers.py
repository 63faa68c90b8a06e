"""The cells of a node in memory, for tests. Contract tests hold them to the real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from gridiron.errors import WorkersUnavailable
from gridiron.model import name_build
from gridiron.workers.cells import LoadedBuild, Problem
from gridiron.workers.log_files import LogFiles
from gridiron.workers.logs import LogEvent
from gridiron.workers.status import BuildTraffic, PoolQuarantined, PoolStatus, PoolTraffic
from gridiron.workers.traffic import BOUNDS, OUTCOMES

FAKE_URL = "http://fake-workers"


class FakeCells:
    """Stands in for `gridiron.workers.cells.Cells`: what each cell has loaded, and which are silent."""

    def __init__(self, *cells: str) -> None:
        self.logs: LogFiles | None = None
        """Where it writes what is printed, when it is asked to."""
        self._loaded: dict[str, dict[str, int]] = {cell: {} for cell in cells or ("cell-1",)}
        self._problems: dict[str, Problem] = {}
        self._silent: set[str] = set()
        self._quarantined: dict[str, PoolQuarantined] = {}
        self._printed: dict[tuple[str, str], list[LogEvent]] = {}  # and not written; by cell and path

    # -- what a test sets up ---------------------------------------------------------------------------------

    def load(self, path: str, cell: str = "cell-1", in_flight: int = 0) -> None:
        """Have a cell load a build, answering so many requests."""
        self._loaded[cell][path] = in_flight
        self._printed[cell, path] = []

    def break_build(self, path: str, problem: Problem) -> None:
        """Have a build fail to load."""
        self._problems[path] = problem

    def silence(self, cell: str = "cell-1") -> None:
        """Have a cell answer nothing any more, though it is there."""
        self._silent.add(cell)

    def wake(self, cell: str = "cell-1") -> None:
        """Have a silent cell answer again."""
        self._silent.discard(cell)

    def log(self, path: str, *events: LogEvent, cell: str = "cell-1") -> None:
        """Have a build that a cell has loaded print something."""
        self._printed[cell, path] += events

    def kill(self, cell: str) -> None:
        """End a cell: it is none any more, and what it had loaded is gone."""
        for path in self._loaded.pop(cell):
            del self._printed[cell, path]
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
        await self.collect_log(path)
        for cell, builds in self._loaded.items():
            if cell not in self._silent and path in builds:
                del builds[path], self._printed[cell, path]
        self._quarantined.pop(path, None)
        self._check_all_answer()

    async def fetch_problem(self, path: str) -> Problem | None:
        """Give the problem of a build that was broken. Raises WorkersUnavailable where no cell answers."""
        if not self._loaded.keys() - self._silent:
            raise WorkersUnavailable(FAKE_URL, "no cell answers")
        return self._problems.get(path)

    async def collect_log(self, path: str) -> tuple[str, ...]:
        """Write down what a build has printed; name the cells that do not answer."""
        for cell in self._loaded.keys() - self._silent:
            printed = self._printed.get((cell, path), [])
            if self.logs is not None and printed:
                self.logs.append(name_build(path), printed)
            printed.clear()
        return tuple(sorted(self._silent))

    async def fetch_pool(self) -> PoolStatus:
        """Give the builds that are in quarantine; nothing of the cells."""
        return PoolStatus(quarantined=tuple(self._quarantined.values()))

    async def fetch_traffic(self) -> PoolTraffic:
        """Give what each build is answering now, and nothing that it has answered."""
        in_flight: Counter[str] = Counter()
        for builds in self._loaded.values():
            in_flight.update(builds)
        return PoolTraffic(
            builds=tuple(
                BuildTraffic(
                    path=path,
                    in_flight=count,
                    outcomes=dict.fromkeys(OUTCOMES, 0),
                    durations=(0,) * (len(BOUNDS) + 1),
                    seconds=0,
                )
                for path, count in sorted(in_flight.items())
            )
        )

    async def release(self, path: str) -> bool:
        """Take a build out of quarantine; False when it was in none."""
        return self._quarantined.pop(path, None) is not None

    async def restart(self) -> int:
        """Replace every cell: none has anything loaded afterwards."""
        self._loaded = {cell: {} for cell in self._loaded}
        self._printed = {}
        return len(self._loaded)

    def _check_all_answer(self) -> None:
        if self._silent:
            raise WorkersUnavailable(FAKE_URL, f"{min(self._silent)} does not answer")
