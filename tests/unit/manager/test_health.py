"""What readiness says of what was seen, and that nothing that hangs holds it up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from gridiron.manager import health as health_module
from gridiron.manager import looks
from gridiron.manager.api import Component, Health
from gridiron.manager.health import STALE_AFTER, HealthChecker, Seen, Watched
from gridiron.manager.looks import FINE, judge_loop, judge_pool
from gridiron.manager.own_thread import OwnThread
from gridiron.workers.status import PoolStatus
from tests.unit.manager.conftest import Manager, make_cell

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
BROKEN = Seen(False, "no room")


@dataclass
class Clock:
    seconds: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)


@dataclass
class Subject:
    """A component whose state the test sets; it does not answer while that is None."""

    name: str
    seen: Seen | None = FINE
    required: bool = True
    looks: int = 0

    async def look(self) -> Seen:
        self.looks += 1
        if self.seen is None:
            await asyncio.Event().wait()
        return self.seen or FINE

    async def turn(self, seen: Seen | None) -> None:
        """Change what is seen, and wait until what was seen then has been taken up."""
        self.seen, begun = seen, self.looks
        await until(lambda: self.looks >= begun + 2)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "INTERVAL", timedelta(milliseconds=2))
    monkeypatch.setattr(health_module, "LIMIT", timedelta(milliseconds=50))


@asynccontextmanager
async def watching(clock: Clock, *subjects: Subject) -> AsyncIterator[HealthChecker]:
    watched = [Watched(each.name, each.look, each.required) for each in subjects]
    checker = HealthChecker(watched, now=clock.now, clock=lambda: clock.seconds)
    task = asyncio.create_task(checker.watch())
    try:
        yield checker
    finally:
        task.cancel()
        await asyncio.wait({task})


def component(
    name: str, seen: Seen, since: float, age: float | None = 0.0, *, required: bool = True
) -> Component:
    at = START + timedelta(seconds=since)
    return Component(
        name=name, ready=seen.ready, required=required, reason=seen.reason, since=at, age_seconds=age
    )


async def test_it_is_starting_until_each_component_was_looked_at() -> None:
    disk, loop = Subject("disk"), Subject("loop", None, required=False)
    watched = [Watched(each.name, each.look, each.required) for each in (disk, loop)]
    unseen = Seen(False, "not looked at yet")
    assert HealthChecker(watched, now=Clock().now).read() == Health(
        ready=False,
        reason="starting",
        since=START,
        components=(
            component("disk", unseen, 0, None),
            component("loop", unseen, 0, None, required=False),
        ),
    )


async def test_a_turn_and_its_reason_are_told_with_their_time() -> None:
    clock, disk, cells = Clock(), Subject("disk"), Subject("cells", Seen(True, "1 of 2 serve"))
    async with watching(clock, disk, cells) as checker:
        await until(lambda: checker.read().ready)
        assert checker.read() == Health(
            ready=True,
            reason="",
            since=START,
            components=(component("disk", FINE, 0), component("cells", Seen(True, "1 of 2 serve"), 0)),
        )
        clock.seconds = 3
        await disk.turn(BROKEN)
        await cells.turn(FINE)  # which is no turn: it was ready before
        clock.seconds = 4
        await asyncio.gather(disk.turn(BROKEN), cells.turn(FINE))
        assert checker.read() == Health(
            ready=False,
            reason="disk: no room",
            since=START + timedelta(seconds=3),
            components=(component("disk", BROKEN, 3), component("cells", FINE, 0)),
        )
        await disk.turn(FINE)
        assert (checker.read().ready, checker.read().since) == (True, START + timedelta(seconds=4))


async def test_what_is_not_required_is_shown_and_no_more() -> None:
    clock, store = Clock(), Subject("object store", BROKEN, required=False)
    async with watching(clock, Subject("disk"), store) as checker:
        await until(lambda: store.looks > 1)
        health = checker.read()
    assert (health.ready, [each.ready for each in health.components]) == (True, [True, False])


async def test_one_that_hangs_holds_up_no_other() -> None:
    clock, disk, restate = Clock(), Subject("disk"), Subject("restate")
    async with watching(clock, disk, restate) as checker:
        await until(lambda: checker.read().ready)
        await restate.turn(None)
        await disk.turn(BROKEN)
        assert checker.read().reason == "disk: no room; restate: no answer within 0 s"
        assert checker.find("restate") == Seen(False, "no answer within 0 s", certain=False)
        await restate.turn(FINE)
        assert checker.read().reason == "disk: no room"


async def test_what_was_seen_too_long_ago_counts_as_nothing() -> None:
    clock, disk = Clock(), Subject("disk")
    async with watching(clock, disk) as checker:
        await until(lambda: checker.read().ready)
    clock.seconds = STALE_AFTER.total_seconds()
    assert checker.read().ready
    clock.seconds += 1
    health = checker.read()
    assert (health.ready, health.reason) == (False, "disk: not looked at for 6 s")
    assert health.components[0].since == START


async def test_it_says_that_it_is_stopping_from_then_on() -> None:
    clock, disk = Clock(), Subject("disk")
    async with watching(clock, disk) as checker:
        await until(lambda: checker.read().ready)
        clock.seconds = 2
        checker.stop()
        clock.seconds = 3
        checker.stop()
        health = checker.read()
    assert (health.ready, health.reason, health.since) == (False, "stopping", START + timedelta(seconds=2))


@contextmanager
def hanging_disk() -> Iterator[tuple[OwnThread[Seen], threading.Event, list[str]]]:
    comes_back, begun = threading.Event(), list[str]()

    def look() -> Seen:
        begun.append(threading.current_thread().name)
        comes_back.wait()
        return FINE

    try:
        yield OwnThread(look), comes_back, begun
    finally:
        comes_back.set()


async def test_a_disk_that_hangs_takes_one_thread_however_often_it_is_looked_at() -> None:
    with hanging_disk() as (look, comes_back, begun):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(look(), 0.005)
        assert len(begun) == 1
        comes_back.set()
        await until(lambda: look._under_way is not None and look._under_way.done())
        assert await look() == FINE
        assert len(begun) == 2


@pytest.mark.parametrize(
    ("pool", "seen"),
    [
        (PoolStatus(), Seen(False, "the workers do not run")),
        (PoolStatus(size=2), Seen(False, "0 of 2 serve")),
        (
            PoolStatus(size=1, cells=(make_cell("a", "/b/1-1"), make_cell("c", serving=False))),
            Seen(False, "0 of 1 serve"),
        ),
        (
            PoolStatus(size=2, cells=(make_cell("a"), make_cell("b", serving=False))),
            Seen(True, "1 of 2 serve"),
        ),
        (PoolStatus(size=1, cells=(make_cell("a"), make_cell("b"))), FINE),  # one is being replaced
    ],
)
def test_one_cell_for_all_builds_is_enough(pool: PoolStatus, seen: Seen) -> None:
    assert judge_pool(pool) == seen


def test_a_loop_may_take_its_time_and_not_all_of_it() -> None:
    assert judge_loop(150, pause=30) == FINE
    assert judge_loop(151, pause=30) == Seen(False, "no round has gone through for 151 s")


async def test_probes_may_send_head_and_nothing_is_kept_of_their_answers(manager: Manager) -> None:
    async with manager.serve() as client:
        for path in ("/health/live", "/health/ready"):
            for method in ("GET", "HEAD"):
                answer = await client.request(method, path)
                assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert paths["/health/ready"].keys() == {"get"}


async def test_an_object_store_whose_address_is_no_url_is_told_of() -> None:
    async with httpx2.AsyncClient() as client:
        seen = await looks._look_at_store(client, "http://minio:abc")
    assert seen == Seen(False, "GRIDIRON_S3_ENDPOINT is no URL")
