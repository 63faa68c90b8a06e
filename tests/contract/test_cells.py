"""What the manager may rely on when it asks the cells: the fake keeps it, and so do the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import httpx2
import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.model import name_build
from gridiron.testing.workers import FakeCells
from gridiron.workers.cells import Cells, CellsPort, LoadedBuild, Problem
from gridiron.workers.log_files import LogFiles, open_logs
from gridiron.workers.logs import LogEvent, Wanted
from tests.integration.workers.plane import Plane, eventually, running

PRINTED = ["line 0", "line 1", "line 2"]
LOG_LIMIT = 1024 * 1024
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SERVES_NOTHING = "export default { fetch: () => new Response() };"


class World(Protocol):
    """One cell, of the name cell-1."""

    cells: CellsPort

    async def load(self) -> str:
        """Load a build; give its path."""

    async def break_build(self) -> str:
        """Store a build whose script throws `no luck` at its start; give its path."""

    async def load_printing(self) -> str:
        """Load a build that prints `PRINTED` meanwhile; give its path."""

    def read_log(self, path: str) -> list[str]:
        """Give what is in the log of a build, on disk."""

    def silence(self) -> None: ...

    def wake(self) -> None: ...


class FakeWorld:
    def __init__(self, directory: Path) -> None:
        self.cells = self._fake = FakeCells("cell-1")
        self._logs = self._fake.logs = LogFiles(directory, LOG_LIMIT)

    async def load(self) -> str:
        self._fake.load("/hello/1.0.0-1")
        return "/hello/1.0.0-1"

    async def break_build(self) -> str:
        problem = Problem(502, "script_failed", "Error: no luck\n  at index.js:1:7")
        self._fake.break_build("/broken/1.0.0-2", problem)
        return "/broken/1.0.0-2"

    async def load_printing(self) -> str:
        path = "/printing/1.0.0-3"
        self._fake.load(path)
        build_id = name_build(path)
        self._fake.log(path, *(describe_line(build_id, line) for line in PRINTED))
        return path

    def read_log(self, path: str) -> list[str]:
        return read_log(self._logs, path)

    def silence(self) -> None:
        self._fake.silence()

    def wake(self) -> None:
        self._fake.wake()


class RealWorld:
    def __init__(self, plane: Plane, client: httpx2.AsyncClient) -> None:
        self._plane = plane
        self.cells = Cells(plane.run_dir, plane.url, client)

    async def load(self) -> str:
        build = self._plane.write_build("hello", "export default { fetch: () => new Response('hello') };")
        assert (await self._plane.get(build.address.path)).status_code == 200
        return build.address.path

    async def break_build(self) -> str:
        build = self._plane.write_build("broken", "throw new Error('no luck'); export default {};")
        return build.address.path

    async def load_printing(self) -> str:
        printing = "\n".join(f"console.log('{line}');" for line in PRINTED)
        build = self._plane.write_build("printing", f"{printing} {SERVES_NOTHING}")
        assert (await self._plane.get(f"{build.address.path}/discover")).status_code == 200
        return build.address.path

    def read_log(self, path: str) -> list[str]:
        logs = open_logs(self._plane.settings)
        assert logs is not None
        return read_log(logs, path)

    def silence(self) -> None:
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        (cell,) = self._plane.processes("workerd")
        os.kill(cell, number)


def describe_line(build_id: str, line: str) -> LogEvent:
    return LogEvent(time=NOW, kind="log", level="log", message=line, build_id=build_id, cell="cell-1")


def read_log(logs: LogFiles, path: str) -> list[str]:
    return [event.message for event in logs.read(name_build(path), Wanted(), 1000).events]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running(tmp_path_factory.mktemp("plane"), cells=1, cell_hang_seconds=60) as plane:
        yield plane


@pytest.fixture(params=["fake", "real"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        yield FakeWorld(tmp_path)
        return
    async with httpx2.AsyncClient() as client:
        world = RealWorld(request.getfixturevalue("plane"), client)
        yield world
        for builds in (await world.cells.fetch_loaded()).values():
            for build in builds:
                await world.cells.unload(build.path)


async def test_a_cell_that_has_loaded_nothing_is_a_cell(world: World) -> None:
    assert await world.cells.fetch_loaded() == {"cell-1": ()}


async def test_what_a_cell_has_loaded(world: World) -> None:
    path = await world.load()
    assert await world.cells.fetch_loaded() == {"cell-1": (LoadedBuild(path, 0),)}


async def test_what_a_build_is_answering(world: World) -> None:
    path = await world.load()

    async def told() -> list[int]:
        return [each.in_flight for each in (await world.cells.fetch_traffic()).builds if each.path == path]

    assert await eventually(told) == [0]


async def test_an_unloaded_build_is_gone_and_unloading_is_safe_to_repeat(world: World) -> None:
    path = await world.load()
    for _ in range(2):
        await world.cells.unload(path)
        assert await world.cells.fetch_loaded() == {"cell-1": ()}


async def test_unloading_one_build_leaves_the_others(world: World) -> None:
    path = await world.load()
    await world.cells.unload("/other/1.0.0-1")
    assert await world.cells.fetch_loaded() == {"cell-1": (LoadedBuild(path, 0),)}


async def test_a_build_that_loads_has_no_problem(world: World) -> None:
    assert await world.cells.fetch_problem(await world.load()) is None


async def test_the_problem_of_a_build_that_does_not_load(world: World) -> None:
    problem = await world.cells.fetch_problem(await world.break_build())
    assert problem == Problem(502, "script_failed", "Error: no luck\n  at index.js:1:7")
    assert await world.cells.fetch_loaded() == {"cell-1": ()}


async def test_a_log_has_each_line_once_however_often_it_is_asked_for(world: World) -> None:
    path = await world.load_printing()
    for _ in range(2):
        assert await world.cells.collect_log(path) == ()
        assert world.read_log(path) == PRINTED


async def test_a_log_outlives_its_build(world: World) -> None:
    path = await world.load_printing()
    await world.cells.unload(path)
    assert world.read_log(path) == PRINTED


async def test_a_build_that_is_not_loaded_has_nothing_new(world: World) -> None:
    assert await world.cells.collect_log("/other/1.0.0-1") == ()
    assert world.read_log("/other/1.0.0-1") == []
    assert await world.cells.fetch_loaded() == {"cell-1": ()}


async def test_a_cell_that_does_not_answer_is_unknown_and_not_empty(world: World) -> None:
    path = await world.load()
    world.silence()
    try:
        answers = await asyncio.gather(
            world.cells.fetch_loaded(),
            world.cells.unload("/other/1.0.0-1"),
            world.cells.fetch_problem(path),
            return_exceptions=True,
        )
        silent = await world.cells.collect_log(path)
    finally:
        world.wake()
    assert [type(answer) for answer in answers] == [WorkersUnavailable] * 3
    assert silent == ("cell-1",)
    assert await world.cells.fetch_loaded() == {"cell-1": (LoadedBuild(path, 0),)}


async def test_where_no_cell_is_nothing_is_loaded(plane: Plane) -> None:
    fake = FakeCells("cell-1")
    fake.kill("cell-1")
    left = plane.run_dir / "cell-999.control.sock"  # of a process that is gone
    left.touch()
    try:
        assert "cell-999" not in await plane.cells.fetch_loaded()
    finally:
        left.unlink()
    async with httpx2.AsyncClient() as client:
        for cells in (fake, Cells(plane.run_dir / "none", plane.url, client)):
            assert await cells.fetch_loaded() == {}
            assert await cells.collect_log("/hello/1.0.0-1") == ()
            await cells.unload("/hello/1.0.0-1")
        with pytest.raises(WorkersUnavailable, match="Not a directory"):  # unlike one that is not there
            await Cells(plane.run_dir / "lock", plane.url, client).fetch_loaded()
