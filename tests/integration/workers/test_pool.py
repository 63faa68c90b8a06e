from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx2
import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.model import Build
from gridiron.settings import shared_path
from gridiron.toolchain.programs import find_toolchain
from gridiron.workers.config import ensure_config
from gridiron.workers.haproxy import HaproxyAdmin
from gridiron.workers.sockets import HAPROXY_SOCKET
from tests.harness import wait_until
from tests.integration.workers.plane import Plane, eventually

HELLO = 'export default { fetch: () => new Response("hello") };'
ECHO = "export default { fetch: (request) => new Response(request.body) };"

MakePlane = Callable[..., Plane]


def cells_of(plane: Plane) -> HaproxyAdmin:
    return HaproxyAdmin(plane.run_dir / HAPROXY_SOCKET)


async def served(plane: Plane) -> list[str]:
    """The cells that HAProxy sends requests to; none while it is down."""
    try:
        return sorted(cell.name for cell in await cells_of(plane).fetch_cells() if cell.status == "UP")
    except WorkersUnavailable:
        return []


class Callers:
    """Requests without a pause, over both protocols and to several builds, none of which is sent again."""

    def __init__(self, plane: Plane, builds: list[Build]) -> None:
        self._plane = plane
        self._builds = builds
        self.answers: Counter[str] = Counter()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        await self.wait_for(20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        assert self._task is not None
        await self._task

    async def wait_for(self, more: int) -> None:
        enough = self.answers.total() + more

        async def is_enough() -> bool:
            return self.answers.total() >= enough

        await eventually(is_enough)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index in range(8):
                group.create_task(self._call(self._builds[index % len(self._builds)], http2=index % 2 == 0))

    async def _call(self, build: Build, *, http2: bool) -> None:
        async with self._plane.client(http1=not http2, http2=http2) as client:
            while not self._stopping:
                try:
                    response = await client.post(f"{build.address.path}/call", content=b"x" * 1000)
                    self.answers[f"{response.status_code} {response.text}"] += 1
                except httpx2.TransportError as error:
                    self.answers[repr(error)] += 1


async def test_a_cell_that_dies_gets_a_successor(plane: Plane) -> None:
    build = plane.write_build("hello", HELLO)
    assert await served(plane) == ["cell-1", "cell-2"]
    assert (await plane.get(build.address.path)).text == "hello"
    (cell,) = [name for name, builds in (await plane.cells.fetch_loaded()).items() if builds]
    victim = next(pid for pid in plane.processes("workerd") if f"{cell}.sock" in command_of(pid))
    os.kill(victim, signal.SIGKILL)

    async def is_replaced() -> bool:
        names = await served(plane)
        return cell not in names and len(names) == 2

    await eventually(is_replaced)
    assert await served(plane) == sorted({"cell-1", "cell-2", "cell-3"} - {cell})
    assert (await plane.get(build.address.path)).text == "hello"
    assert await plane.living_cells() == await served(plane)
    assert "cell.died" in plane.output


async def test_a_cell_that_dies_again_and_again_comes_back(make_plane: MakePlane) -> None:
    plane = make_plane(cells=1)
    plane.start()
    for number in range(1, 4):
        (victim,) = plane.processes("workerd")
        os.kill(victim, signal.SIGKILL)

        async def is_replaced(name: str = f"cell-{number + 1}") -> bool:
            return await served(plane) == [name]

        await eventually(is_replaced)
    assert plane.output.count("cell.died") == 3


async def test_requests_wait_for_the_successor_of_the_only_cell(make_plane: MakePlane) -> None:
    plane = make_plane(cells=1)
    plane.start()
    build = plane.write_build("hello", HELLO)
    (victim,) = plane.processes("workerd")
    os.kill(victim, signal.SIGKILL)

    async def is_gone() -> bool:
        return not await served(plane)

    await eventually(is_gone)
    async with plane.client() as client:  # all at once, so a single one
        answers = await asyncio.gather(*(client.get(build.address.path) for _ in range(20)))
    assert {answer.text for answer in answers} == {"hello"}


async def test_haproxy_that_dies_comes_back_with_every_cell(plane: Plane) -> None:
    build = plane.write_build("hello", HELLO)
    before = plane.processes("haproxy")
    os.kill(before[0], signal.SIGKILL)

    async def is_back() -> bool:
        return plane.processes("haproxy") not in ([], before) and len(await served(plane)) == 2

    await eventually(is_back)
    assert await served(plane) == ["cell-1", "cell-2"]
    assert (await plane.get(build.address.path)).text == "hello"


async def test_haproxy_that_comes_back_sends_builds_where_it_did(make_plane: MakePlane) -> None:
    plane = make_plane(cells=4)
    plane.start()
    before, (victim,) = await cells_of(plane).fetch_cells(), plane.processes("haproxy")
    os.kill(victim, signal.SIGKILL)

    async def is_back() -> bool:
        return plane.processes("haproxy") not in ([], [victim]) and len(await served(plane)) == 4

    await eventually(is_back)
    # in the same order: HAProxy numbers them as they come and hashes by that
    assert [cell.name for cell in await cells_of(plane).fetch_cells()] == [cell.name for cell in before]


async def test_haproxy_and_a_cell_that_die_together_both_come_back(plane: Plane) -> None:
    build = plane.write_build("hello", HELLO)
    for victim in (plane.processes("workerd")[0], plane.processes("haproxy")[0]):
        os.kill(victim, signal.SIGKILL)

    async def is_back() -> bool:
        return "cell-3" in (names := await served(plane)) and len(names) == 2

    await eventually(is_back)
    assert (await plane.get(build.address.path)).text == "hello"


def change_config(plane: Plane, text: str) -> None:
    """Let the template end with a text from now on."""
    template = plane.settings.workerd_template_path
    template.write_text(shared_path("config/workerd-template.capnp").read_text() + text)
    os.kill(plane.pid, signal.SIGHUP)


@pytest.fixture
def changeable(make_plane: MakePlane, tmp_path: Path) -> Plane:
    """A data plane with a template of its own."""
    template = tmp_path / "template.capnp"
    template.write_text(shared_path("config/workerd-template.capnp").read_text())
    plane = make_plane(workerd_template_path=template)
    plane.start()
    return plane


async def test_a_changed_configuration_replaces_the_cells_and_loses_no_call(changeable: Plane) -> None:
    plane = changeable
    builds = [plane.write_build(name, ECHO) for name in ("one", "two", "three")]
    before = plane.processes("workerd")
    async with Callers(plane, builds) as callers:
        change_config(plane, "# changed\n")

        async def is_replaced() -> bool:
            return await served(plane) == ["cell-3", "cell-4"]

        await eventually(is_replaced)
        await callers.wait_for(100)
    assert set(callers.answers) == {f"200 {'x' * 1000}"}
    await eventually(lambda: has_ended(plane, before))
    assert await plane.living_cells() == ["cell-3", "cell-4"]


async def has_ended(plane: Plane, pids: list[int]) -> bool:
    return not set(pids) & set(plane.processes("workerd"))


async def test_a_stream_goes_on_while_its_cell_is_being_replaced(changeable: Plane) -> None:
    plane = changeable
    build = plane.write_build("echo", ECHO)
    async with plane.open_stream(build.address.path) as stream:
        await stream.send(b"1")
        assert await stream.receive(1) == b"1"
        change_config(plane, "# changed\n")

        async def is_draining() -> bool:
            return "DRAIN" in {cell.status for cell in await cells_of(plane).fetch_cells()}

        await eventually(is_draining)
        await stream.send(b"2")
        assert await stream.receive(1) == b"2"
        await stream.end()
        assert await stream.receive(1) == b""
    await eventually(lambda: is_served_by(plane, ["cell-3", "cell-4"]))


async def is_served_by(plane: Plane, cells: list[str]) -> bool:
    return sorted(cell.name for cell in await cells_of(plane).fetch_cells()) == cells


async def test_a_configuration_that_another_process_rendered_is_taken_up(changeable: Plane) -> None:
    plane = changeable
    with plane.settings.workerd_template_path.open("a") as template:
        template.write("# changed\n")
    assert await asyncio.to_thread(ensure_config, plane.settings, find_toolchain(plane.settings))
    assert await served(plane) == ["cell-1", "cell-2"]
    os.kill(plane.pid, signal.SIGHUP)
    await eventually(lambda: is_served_by(plane, ["cell-3", "cell-4"]))


async def test_an_unchanged_configuration_replaces_nothing(plane: Plane) -> None:
    before = plane.processes("workerd")
    build = plane.write_build("hello", HELLO)  # a deployment changes no configuration
    os.kill(plane.pid, signal.SIGHUP)
    for _ in range(5):
        assert (await plane.get(build.address.path)).text == "hello"
    os.kill(plane.pid, signal.SIGHUP)
    await asyncio.to_thread(plane.stop)
    assert "cells.replaced" not in plane.output
    assert plane.output.count("cell.started") == len(before) == 2


@pytest.mark.parametrize(
    ("text", "code"), [("{{ nothing }}", "template_invalid"), ("this is no Cap'n Proto", "component_failed")]
)
async def test_a_broken_configuration_is_told_and_changes_nothing(
    changeable: Plane, text: str, code: str
) -> None:
    plane = changeable
    build = plane.write_build("hello", HELLO)
    before = plane.processes("workerd")
    change_config(plane, text)
    await asyncio.to_thread(wait_until, lambda: f'"code": "{code}"' in plane.output, 20)
    assert plane.processes("workerd") == before
    assert (await plane.get(build.address.path)).text == "hello"
    change_config(plane, "# mended\n")

    async def is_taken_up() -> bool:
        return len(await served(plane)) == 2 and not set(before) & set(plane.processes("workerd"))

    await eventually(is_taken_up)


def test_the_workers_leave_nothing_when_they_are_stopped(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    assert len(plane.processes("workerd")) == 2
    assert len(plane.processes("haproxy")) == 1
    assert plane.run_dir.stat().st_mode & 0o777 == 0o700
    assert plane.stop() == 0


async def test_the_workers_stop_soon_although_streams_are_open(plane: Plane) -> None:
    build = plane.write_build("echo", ECHO)
    async with plane.open_stream(build.address.path) as stream:
        await stream.send(b"1")
        assert await stream.receive(1) == b"1"
        await asyncio.wait_for(asyncio.to_thread(plane.stop), 5)


def test_the_workers_leave_no_process_when_they_are_killed_and_start_again(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    assert plane.stop(signal.SIGKILL) == -signal.SIGKILL
    plane.start()
    plane.stop()


def test_the_workers_can_be_stopped_while_they_start(make_plane: MakePlane) -> None:
    plane = make_plane(cells=4)
    process = plane.launch()
    lock = plane.run_dir / "lock"  # an haproxy that was there before only told its version
    wait_until(lambda: lock.exists() and plane.processes("haproxy"))
    plane.stop()
    assert process.returncode == 0


def test_a_second_data_plane_in_the_same_directory_is_refused(make_plane: MakePlane) -> None:
    plane, second = make_plane(), make_plane()
    plane.start()
    second.settings = plane.settings
    assert second.launch().wait(10) == 1
    assert "directory_in_use" in second.output
    assert httpx2.get(f"{plane.url}/-/health").status_code == 200


def test_a_taken_port_is_told(make_plane: MakePlane) -> None:
    plane = make_plane()
    plane.start()
    second = make_plane(workers_port=plane.settings.workers_port)
    assert second.launch().wait(20) == 1
    assert "component_failed" in second.output
    assert f"127.0.0.1:{plane.settings.workers_port}" in second.output


def test_a_configuration_that_workerd_refuses_is_told_at_the_start(
    make_plane: MakePlane, tmp_path: Path
) -> None:
    template = tmp_path / "template.capnp"
    template.write_text("this is no Cap'n Proto")
    plane = make_plane(workerd_template_path=template)
    assert plane.launch().wait(20) == 1
    assert "component_failed" in plane.output
    assert "Parse error" in plane.output


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
