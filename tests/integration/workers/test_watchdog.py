"""Cells that hang, die or grow: they are replaced, and the build behind it gets a cell of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from gridiron.model import Build
from gridiron.workers.status import PoolStatus
from tests.harness import wait_until
from tests.integration.workers.plane import Plane, eventually, running

MakePlane = Callable[..., Plane]

HELLO = 'export default { fetch: () => new Response("hello") };'
ECHO = "export default { fetch: (request) => new Response(request.body) };"
# each does what its name says when it is asked to, and answers otherwise
BAD = """
const hoard = [];
const deeds = {
  loop: () => { while (true); },
  hoard: () => { while (true) hoard.push(new Array(100_000).fill(Math.random())); },
  grow: async () => {
    while (true) {
      hoard.push(new Uint8Array(8_000_000).fill(1));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
};
export default {
  async fetch(request) {
    await deeds[new URL(request.url).pathname.split("/")[3]]?.();
    return new Response("well");
  },
};
"""


@pytest.fixture(scope="module", autouse=True)
def old_planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plane, Plane]]:
    """Two data planes, of which one replaces a cell that unloaded three builds.

    A cell of less than `LEAST_UPTIME` is not replaced for its age, so these start before all other tests.
    """
    directories = (tmp_path_factory.mktemp(name) for name in ("many", "everything"))
    with (
        running(next(directories), cells=1, cell_evictions=3) as many,
        running(next(directories), cells=1) as everything,
    ):
        yield many, everything


async def fetch_pool(plane: Plane) -> PoolStatus:
    return await plane.cells.fetch_pool()


async def provoke(plane: Plane, build: Build, deed: str) -> str:
    """Have a build do something; give its answer, or none when its cell has ended before it."""
    try:
        response = await plane.get(f"{build.address.path}/{deed}")
    except httpx2.RemoteProtocolError:  # HAProxy closes so, for the client to try again on a new connection
        return ""
    return response.text if response.status_code == 200 else ""


async def stall_of(plane: Plane, build: Build, until: asyncio.Event) -> tuple[float, set[int]]:
    """Call a build again and again; give the longest wait for a good answer, and all statuses."""
    longest, statuses, asked = 0.0, set(), time.monotonic()
    async with plane.client() as client:
        while not until.is_set():
            response = await client.get(build.address.path)
            statuses.add(response.status_code)
            if response.status_code == 200:
                longest = max(longest, time.monotonic() - asked)
                asked = time.monotonic()
            await asyncio.sleep(0.01)
    return longest, statuses


async def test_an_endless_loop_hurts_its_neighbour_once_and_the_third_time_is_quarantined(
    make_plane: MakePlane,
) -> None:
    plane = make_plane(cells=1)  # so that the neighbour is in the same cell
    plane.start()
    bad, neighbour = plane.write_build("bad", BAD), plane.write_build("hello", HELLO)
    assert (await plane.get(neighbour.address.path)).text == "hello"
    assert await provoke(plane, bad, "loop") == ""
    assert await eventually(lambda: is_back(plane, neighbour))
    # from now on the neighbour does not notice: the suspect has a cell of its own
    done = asyncio.Event()
    watching = asyncio.create_task(stall_of(plane, neighbour, done))
    for number in (1, 2):
        assert await eventually(lambda: is_answering(plane, bad))
        status = await fetch_pool(plane)
        assert (status.restarts, status.quarantined) == ({"hung": number}, ())
        assert await provoke(plane, bad, "loop") == ""
    quarantined = await eventually(lambda: own_cell(plane, bad))
    looping = asyncio.create_task(provoke(plane, bad, "loop"))
    assert await provoke(plane, neighbour, "x") == "hello"
    (victim,) = [cell for cell in (await fetch_pool(plane)).cells if cell.cell == quarantined]
    os.kill(victim.pid, signal.SIGKILL)
    await looping
    done.set()
    longest, statuses = await watching
    assert statuses == {200}
    assert longest < 2  # of a machine that does much else, and far from the 30 s that such a cell may hang
    assert "build.quarantined" in plane.output
    # its own cell came back, and it works where it does not loop
    assert await eventually(lambda: is_answering(plane, bad))
    assert (await fetch_pool(plane)).restarts == {"hung": 3, "killed": 1}


async def is_back(plane: Plane, build: Build) -> bool:
    return (await plane.get(build.address.path)).status_code == 200


async def is_answering(plane: Plane, build: Build) -> bool:
    return (await plane.get(build.address.path)).text == "well"


async def own_cell(plane: Plane, build: Build) -> str | None:
    """The cell of a quarantined build, when it serves."""
    for each in (await fetch_pool(plane)).quarantined:
        if each.path == build.address.path:
            return each.cell
    return None


async def find_busy(plane: Plane, build: Build) -> int | None:
    """The process id of the cell that is answering a build."""
    loaded = await plane.cells.fetch_loaded()
    for cell in (await fetch_pool(plane)).cells:
        if any(b.path == build.address.path and b.in_flight for b in loaded.get(cell.cell, ())):
            return cell.pid
    return None


async def quarantine(plane: Plane, build: Build) -> str:
    """Have a build bring down three cells; give the cell of its own."""
    for _ in range(3):
        serving = [cell for cell in (await fetch_pool(plane)).cells if cell.serving]
        async with plane.open_stream(f"{build.address.path}/stay") as stream:
            await stream.send(b"1")
            await stream.receive(1)
            victim = await eventually(lambda: find_busy(plane, build))
            os.kill(victim, signal.SIGABRT)  # as V8 does when its heap is full
            with pytest.raises(ConnectionResetError):
                await stream.receive(1)

        async def is_filled(victim: int = victim, count: int = len(serving)) -> bool:
            now = {cell.pid for cell in (await fetch_pool(plane)).cells if cell.serving}
            return victim not in now and len(now) >= count

        await eventually(is_filled)
        await eventually(lambda: is_back(plane, build))
    return await eventually(lambda: own_cell(plane, build)) or ""


async def test_nothing_is_blamed_for_cells_that_somebody_kills(make_plane: MakePlane) -> None:
    plane = make_plane(cells=1)
    plane.start()
    build = plane.write_build("echo", ECHO)
    for number in range(1, 5):
        async with plane.open_stream(f"{build.address.path}/stay") as stream:
            await stream.send(b"1")
            await stream.receive(1)
            os.kill(plane.processes("workerd")[0], signal.SIGKILL)
            with pytest.raises(ConnectionResetError):
                await stream.receive(1)
        assert await eventually(lambda: is_back(plane, build))
        status = await fetch_pool(plane)
        assert (status.restarts, status.quarantined) == ({"killed": number}, ())


async def test_quarantine_survives_restarts_and_ends_by_a_release(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    build, neighbour = plane.write_build("echo", ECHO), plane.write_build("hello", HELLO)
    first = await quarantine(plane, build)
    assert (await plane.get(neighbour.address.path)).text == "hello"
    assert [cell.own for cell in (await fetch_pool(plane)).cells if cell.cell == first] == [
        build.address.path
    ]
    await asyncio.to_thread(plane.stop)
    await asyncio.to_thread(plane.start)
    own = await eventually(lambda: own_cell(plane, build))
    assert (await plane.get(build.address.path)).status_code == 200
    assert await eventually(lambda: is_loaded_in(plane, own))
    # HAProxy alone
    (haproxy,) = plane.processes("haproxy")
    os.kill(haproxy, signal.SIGKILL)
    await eventually(lambda: is_up(plane, build))
    assert await is_loaded_in(plane, own)
    assert await plane.cells.release(build.address.path)
    assert not await plane.cells.release(build.address.path)
    assert (await plane.get(build.address.path)).status_code == 200
    await eventually(lambda: has_cells(plane, 2))
    assert (await fetch_pool(plane)).quarantined == ()


async def is_loaded_in(plane: Plane, cell: str | None) -> bool:
    """Whether this cell has something loaded, and no other."""
    return [name for name, builds in (await plane.cells.fetch_loaded()).items() if builds] == [cell]


async def is_up(plane: Plane, build: Build) -> bool:
    try:
        return (await plane.get(build.address.path)).status_code == 200
    except httpx2.TransportError:
        return False


async def has_cells(plane: Plane, count: int) -> bool:
    return len((await fetch_pool(plane)).cells) == count


async def test_a_build_that_is_unloaded_for_good_leaves_quarantine(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    build = plane.write_build("echo", ECHO)
    await quarantine(plane, build)
    await plane.cells.unload(build.address.path)
    await eventually(lambda: has_cells(plane, 2))
    assert (await fetch_pool(plane)).quarantined == ()


async def test_a_build_is_unloaded_while_the_next_cell_of_its_own_is_put_off(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    build = plane.write_build("echo", ECHO)
    await quarantine(plane, build)
    for _ in range(5):  # the next start comes after 8.1 s, and the pool is to answer within 5 s
        await eventually(lambda: own_cell(plane, build))
        (victim,) = [cell.pid for cell in (await fetch_pool(plane)).cells if cell.own == build.address.path]
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda victim=victim: is_gone(plane, victim))
    await plane.cells.unload(build.address.path)
    assert (await fetch_pool(plane)).quarantined == ()
    await eventually(lambda: has_cells(plane, 2))


async def test_a_cell_that_hoards_is_ended_before_the_machine_has_no_memory(make_plane: MakePlane) -> None:
    plane = make_plane(cell_memory_mib=300)
    plane.start()
    bad = plane.write_build("bad", BAD)
    assert await provoke(plane, bad, "hoard") == ""

    async def count_restarts() -> dict[str, int]:
        return (await fetch_pool(plane)).restarts

    (reason,) = await eventually(count_restarts)  # HAProxy may see the end before the pool does
    assert reason in {"memory_exhausted", "hung", "died"}  # whichever is first
    assert await eventually(lambda: is_answering(plane, bad))


async def test_a_cell_above_its_ceiling_is_replaced_after_its_successor_serves(
    make_plane: MakePlane,
) -> None:
    plane = make_plane(cells=1, cell_memory_mib=256)
    plane.start()
    build = plane.write_build("bad", BAD)
    assert await provoke(plane, build, "x") == "well"
    (before,) = (await fetch_pool(plane)).cells
    wait_until(lambda: "cell.started" in plane.output)
    growing = asyncio.create_task(provoke(plane, build, "grow"))

    async def is_replaced() -> bool:
        cells = (await fetch_pool(plane)).cells
        return [cell.cell for cell in cells if cell.serving] not in ([], [before.cell])

    await eventually(is_replaced, 60)
    await growing
    assert sum((await fetch_pool(plane)).restarts.values()) == 1


async def test_a_cell_that_is_stopped_counts_as_hung(plane: Plane) -> None:
    (first, _) = plane.processes("workerd")
    os.kill(first, signal.SIGSTOP)
    await eventually(lambda: is_gone(plane, first))
    assert (await fetch_pool(plane)).restarts == {"hung": 1}


async def is_gone(plane: Plane, pid: int) -> bool:
    return pid not in {cell.pid for cell in (await fetch_pool(plane)).cells}


async def test_all_cells_are_replaced_by_order_and_no_stream_breaks(plane: Plane) -> None:
    build = plane.write_build("echo", ECHO)
    before = {cell.pid for cell in (await fetch_pool(plane)).cells}
    async with plane.open_stream(build.address.path) as stream:
        await stream.send(b"1")
        assert await stream.receive(1) == b"1"
        restarting = asyncio.create_task(plane.cells.restart())
        await eventually(lambda: has_cells(plane, 3))
        await stream.send(b"2")
        assert await stream.receive(1) == b"2"
        await stream.end()
        assert await stream.receive(1) == b""
    assert await restarting == 2
    pool = await fetch_pool(plane)
    assert not before & {cell.pid for cell in pool.cells}
    assert pool.restarts == {"order": 2}


async def test_a_cell_that_unloaded_many_builds_is_replaced(old_planes: tuple[Plane, Plane]) -> None:
    plane, _ = old_planes
    for number in range(3):
        build = plane.write_build(f"hello{number}", HELLO)
        await plane.get(build.address.path)
        await plane.cells.unload(build.address.path)

    async def is_replaced() -> bool:
        return (await fetch_pool(plane)).restarts == {"evictions": 1}

    await eventually(is_replaced, 60)


async def test_a_cell_that_unloaded_everything_gives_its_memory_back(old_planes: tuple[Plane, Plane]) -> None:
    _, plane = old_planes
    (before,) = (await fetch_pool(plane)).cells
    builds = [plane.write_build(f"hello{number}", HELLO) for number in range(80)]
    for build in builds:
        await plane.get(build.address.path)
    for build in builds[1:]:
        await plane.cells.unload(build.address.path)
    assert (await fetch_pool(plane)).cells[0].memory > before.memory * 2
    await plane.cells.unload(builds[0].address.path)  # it stays while it has one
    await eventually(lambda: is_gone(plane, before.pid), 60)
    pool = await fetch_pool(plane)
    assert pool.restarts == {"empty": 1}
    assert pool.cells[0].memory < before.memory * 1.5


async def test_an_idle_build_is_unloaded_and_loads_again(make_plane: MakePlane) -> None:
    plane = make_plane(idle_unload_seconds=1)
    plane.start()
    idle, busy = plane.write_build("hello", HELLO), plane.write_build("echo", ECHO)
    assert (await plane.get(idle.address.path)).text == "hello"
    async with plane.open_stream(busy.address.path) as stream:
        await stream.send(b"1")
        assert await stream.receive(1) == b"1"
        await eventually(lambda: is_loaded_alone(plane, busy))
        await stream.send(b"2")
        assert await stream.receive(1) == b"2"
    assert (await plane.get(idle.address.path)).text == "hello"


async def is_loaded_alone(plane: Plane, build: Build) -> bool:
    loaded = await plane.cells.fetch_loaded()
    return [each.path for builds in loaded.values() for each in builds] == [build.address.path]


@pytest.mark.parametrize("damage", ["{", '{"format": 2}'])
def test_a_damaged_record_of_the_quarantine_is_told_and_keeps_nothing_from_starting(
    make_plane: MakePlane, damage: str
) -> None:
    plane = make_plane()
    path: Path = plane.settings.workers_dir / "quarantine.json"
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    plane.start()
    assert "quarantine.unreadable" in plane.output
