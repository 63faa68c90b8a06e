"""What builds print, on its way onto the disk."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gridiron.model import Build
from gridiron.workers.log_files import open_logs
from gridiron.workers.logs import LogEvent, Wanted
from gridiron.workers.sockets import POOL_SOCKET
from tests.integration.workers.plane import Plane, eventually, running

HELLO = """
    const search = (request) => new URL(request.url).search;
    export default { fetch(request) { console.log("hello", search(request)); return new Response(); } };
"""


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    with running(tmp_path_factory.mktemp("plane"), cells=1, logs_build_mib=1) as plane:
        yield plane


def read(plane: Plane, build: Build) -> tuple[LogEvent, ...]:
    logs = open_logs(plane.settings)
    assert logs is not None
    return logs.read(build.build_id, Wanted(), 10_000).events


def messages(plane: Plane, build: Build) -> list[str]:
    return [event.message for event in read(plane, build) if event.kind != "outcome"]


async def await_messages(plane: Plane, build: Build, count: int = 1) -> list[str]:
    async def found() -> list[str]:
        said = messages(plane, build)
        return said if len(said) >= count else []

    return await eventually(found)


async def test_it_is_written_without_anybody_asking(shared_plane: Plane) -> None:
    build = shared_plane.write_build("hello", HELLO)
    for number in range(2):
        await shared_plane.get(f"{build.address.path}/?{number}")
        assert len(await await_messages(shared_plane, build, number + 1)) == number + 1
    assert messages(shared_plane, build) == ["hello ?0", "hello ?1"]


async def test_what_comes_after_the_answer_and_what_keeps_a_bundle_from_loading(shared_plane: Plane) -> None:
    late = """
        export default { fetch() {
          setTimeout(() => { console.log("late"); Promise.reject(new Error("lost")); }, 2500);
          return new Response();
        } };
    """
    build = shared_plane.write_build("late", late)
    stillborn = shared_plane.write_build("stillborn", "throw new Error('no luck'); export default {};")
    await shared_plane.get(build.address.path)
    await shared_plane.get(stillborn.address.path)
    said = await await_messages(shared_plane, build, 2)
    assert [line.split("\n")[0] for line in said] == ["late", "Error: lost"]
    assert await await_messages(shared_plane, stillborn) == ["Error: no luck\n  at index.js:1:7"]


async def test_a_flood_is_cut_and_takes_no_more_than_it_may(shared_plane: Plane) -> None:
    flood = """
        export default { async fetch() {
          for (let n = 0; n < 60; n++) {
            for (let line = 0; line < 300; line++) console.log("x".repeat(1000));
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
          console.log("over");
          return new Response();
        } };
    """
    build = shared_plane.write_build("flood", flood)
    await shared_plane.get(build.address.path)

    async def when_over() -> list[str]:
        said = messages(shared_plane, build)
        return said if "over" in said else []

    said = await eventually(when_over)
    cut = [line for line in said if line.endswith("left out: more was printed than is kept")]
    assert cut
    assert sum(int(line.split()[0]) for line in cut) + len(said) - len(cut) <= 60 * 300 + 1
    size = sum(path.stat().st_size for path in (shared_plane.settings.logs_dir / build.build_id).iterdir())
    assert size < 1_200_000


async def test_a_build_that_meddles_with_its_log_spoils_its_own_only(shared_plane: Plane) -> None:
    hostile = """
        const push = Array.prototype.push;
        Array.prototype.push = function (entry) {
          if (entry?.message === "now") this[this.length] = { message: "x".repeat(8e6), when: () => 1 };
          return push.call(this, entry);
        };
        export default { fetch() { console.log("now"); return new Response(); } };
    """
    build, other = shared_plane.write_build("hostile", hostile), shared_plane.write_build("other", HELLO)
    await shared_plane.get(build.address.path)
    await shared_plane.get(other.address.path)
    assert await await_messages(shared_plane, other) == ["hello "]

    async def is_told() -> bool:
        return "logs.unreadable" in shared_plane.output

    await eventually(is_told)


@pytest.mark.parametrize(
    "put",
    [
        "entry.time = 1e20",
        "entry.more = 1n",
        "for (let n = 0, o = entry; n < 3000; n++) o = o.message = { length: 1 }",
        "for (let n = 0, o = entry.more = []; n < 3000; n++) o = o[0] = []",
    ],
)
async def test_what_nobody_can_read_keeps_the_cell_and_its_neighbours(shared_plane: Plane, put: str) -> None:
    hostile = f"""
        const push = Array.prototype.push;
        Array.prototype.push = function (entry) {{
          if (entry?.message === "now") {{ {put}; }}
          return push.call(this, entry);
        }};
        export default {{ fetch() {{ console.log("now"); return new Response(); }} }};
    """
    build, other = shared_plane.write_build("deep", hostile), shared_plane.write_build("beside", HELLO)
    (cell,) = shared_plane.processes("workerd")
    await shared_plane.get(build.address.path)
    # the cell is asked for both at once
    await shared_plane.cells.collect_log(build.address.path)
    await shared_plane.get(other.address.path)
    assert await await_messages(shared_plane, other) == ["hello "]
    assert shared_plane.processes("workerd") == [cell]


async def test_a_build_that_sets_its_clock_does_not_set_that_of_its_log(shared_plane: Plane) -> None:
    clock = """
        Date.now = Math.max = () => 1e20;
        export default { fetch() { console.log("x"); return new Response(); } };
    """
    build = shared_plane.write_build("clock", clock)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await shared_plane.get(build.address.path)
    assert await await_messages(shared_plane, build) == ["x"]
    assert all(before < event.time <= datetime.now(UTC) for event in read(shared_plane, build))


async def test_a_log_outlives_its_cell_and_says_how_that_ended(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(cells=1)
    plane.start()
    hanging = """
        export default { async fetch() {
          console.log("called");
          await new Promise((resolve) => setTimeout(resolve, 60_000));
        } };
    """
    build = plane.write_build("hanging", hanging)
    calling = asyncio.create_task(plane.get(build.address.path))
    await await_messages(plane, build)
    (cell,) = plane.processes("workerd")
    os.kill(cell, signal.SIGKILL)
    await calling
    said = await await_messages(plane, build, 2)
    assert said == ["called", "cell-1 ended (killed), and with it what it was answering"]


async def test_a_cell_gets_its_successor_while_the_disk_hangs(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane(cells=1)
    plane.start()
    hanging = """
        export default { async fetch(request) {
          if (request.url.endsWith("quick")) return new Response("here");
          for (let line = 0; line < 10; line++) console.log("x".repeat(16_000));
          await new Promise((resolve) => setTimeout(resolve, 60_000));
        } };
    """
    build = plane.write_build("hanging", hanging)
    directory = plane.settings.logs_dir / build.build_id
    directory.mkdir(parents=True)
    pipe = directory / "lines-1.jsonl"
    os.mkfifo(pipe)  # a write waits when it is full
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as end:
        calling = asyncio.create_task(plane.get(build.address.path))

        async def is_full() -> bool:
            return int.from_bytes(fcntl.ioctl(end, termios.FIONREAD, bytes(4)), sys.byteorder) >= 65_536

        async def is_served() -> bool:
            return (await plane.get(f"{build.address.path}/quick")).text == "here"

        await eventually(is_full)
        (cell,) = plane.processes("workerd")
        os.kill(cell, signal.SIGKILL)
        await calling
        try:
            await eventually(is_served, 10)
            await plane.cells.unload(build.address.path)
        finally:
            pipe.unlink()
            os.set_blocking(end.fileno(), True)
            assert len(end.read()) > 160_000  # all, and so the write has ended


async def test_a_build_is_unloaded_although_nobody_can_write_down_its_log(plane: Plane) -> None:
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" HTTP")[0])
        status = "500 Internal Server Error" if asked[-1].startswith("POST /logs") else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        await writer.drain()
        writer.close()

    build = plane.write_build("stays", HELLO)
    await plane.get(build.address.path)
    (plane.run_dir / POOL_SOCKET).unlink()
    async with await asyncio.start_unix_server(answer, plane.run_dir / POOL_SOCKET):
        await plane.cells.unload(build.address.path)
        assert f"POST /logs{build.address.path}" in asked
        assert not any((await plane.cells.fetch_loaded()).values())


async def test_what_was_printed_last_is_there_when_the_workers_have_stopped(plane: Plane) -> None:
    build = plane.write_build("last", HELLO)
    await plane.get(f"{build.address.path}/?words")
    plane.stop()
    assert messages(plane, build) == ["hello ?words"]
