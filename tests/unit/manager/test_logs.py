from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.errors import BuildNotFound
from gridiron.manager import own_logs
from gridiron.manager.api import LogEnd, LogList, PruneRequest
from gridiron.manager.logs import Beat, render_news
from gridiron.manager.observe import Look
from gridiron.testing.workers import FakeCells
from gridiron.workers.logs import LogEvent, Wanted
from tests.unit.manager.conftest import NOW, Manager, make_settings

SECOND = timedelta(seconds=1)


def event(message: str, after: timedelta = timedelta(0), build: str = "b") -> LogEvent:
    return LogEvent(
        time=NOW + after,
        kind="log",
        level="info",
        message=message,
        build_id=build,
        cell="cell-1",
        handler="demo/run",
        invocation_id="inv_1",
    )


def test_server_sent_events() -> None:
    shown = event("two\nlines")
    assert render_news((shown, shown)) == f"data: {shown.model_dump_json()}\n\n" * 2
    assert "\n" not in shown.model_dump_json()
    assert render_news(Beat()) == ":\n\n"
    end = LogEnd(build_id="b", reason="over")
    assert render_news(end) == f"event: end\ndata: {end.model_dump_json()}\n\n"


async def test_a_log_is_what_was_written_and_what_is_newest(manager: Manager) -> None:
    build = await manager.activate()
    events = [event(message, number * SECOND, build.build_id) for number, message in enumerate("abc")]
    manager.cells.log(build.path, *events[:2])
    assert await manager.logs.fetch(build.build_id, Wanted(), 10) == LogList(
        events=tuple(events[:2]), silent=()
    )
    manager.cells.log(build.path, events[2])
    newest = await manager.logs.fetch(build.build_id, Wanted(since=NOW + SECOND), 1)
    assert newest == LogList(events=(events[2],), silent=())
    again = manager.restart()
    assert (await again.logs.fetch(build.build_id, Wanted(), 10)).events == tuple(events)


async def test_a_log_names_the_cells_that_are_silent(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path), cells=FakeCells("cell-1", "cell-2"))
    build = await manager.activate()
    shown = event("a", build=build.build_id)
    manager.cells.log(build.path, shown)
    manager.cells.silence("cell-2")
    assert await manager.logs.fetch(build.build_id, Wanted(), 10) == LogList(
        events=(shown,), silent=("cell-2",)
    )


async def test_where_nothing_is_kept_nothing_is_shown(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, logs_mib=0))
    build = await manager.activate()
    manager.cells.log(build.path, event("a", build=build.build_id))
    assert await manager.logs.fetch(build.build_id, Wanted(), 10) == LogList(events=(), silent=())


async def test_nothing_is_read_of_what_there_is_not(manager: Manager) -> None:
    (manager.settings.bundles_dir / "damaged").mkdir()
    for build_id in ("demo-1-1", "damaged"):
        with pytest.raises(BuildNotFound):
            await manager.logs.fetch(build_id, Wanted(), 10)
        with pytest.raises(BuildNotFound):
            await manager.logs.follow(build_id, Wanted(), 10)


async def test_who_follows_gets_the_newest_and_then_each_thing_once(manager: Manager) -> None:
    build = await manager.activate()
    a, b, c = (event(message, build=build.build_id) for message in "abc")
    manager.cells.log(build.path, a, b)
    followed = await manager.logs.follow(build.build_id, Wanted(), 1)
    assert await anext(followed) == (b,)
    manager.cells.silence()  # it is asked again until it answers
    manager.cells.log(build.path, c)
    manager.cells.wake()
    assert await anext(followed) == (c,)


async def test_many_who_ask_at_once_ask_the_cells_together(manager: Manager) -> None:
    build = await manager.activate()
    clients, arrived, asked = 50, 0, 0
    all_arrived = asyncio.Event()
    look, collect = manager.observer.look, manager.cells.collect_log

    async def arrive() -> Look:
        nonlocal arrived
        seen = await look()
        arrived += 1
        if arrived == clients:
            all_arrived.set()
        return seen

    async def count(path: str) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        await all_arrived.wait()
        return await collect(path)

    manager.observer.look = arrive  # type: ignore[method-assign]
    manager.cells.collect_log = count  # type: ignore[method-assign]
    shown = event("a", build=build.build_id)
    manager.cells.log(build.path, shown)
    fetches = (manager.logs.fetch(build.build_id, Wanted(), 10) for _ in range(clients))
    assert {each.events for each in await asyncio.gather(*fetches)} == {(shown,)}
    assert asked == 2  # once for the first, and once for all who came while that was under way


async def test_who_follows_gets_signs_of_life_and_hears_of_the_end(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_logs, "BEAT_SECONDS", 0.0)
    build = await manager.activate()
    followed = await manager.logs.follow(build.build_id, Wanted(), 10)
    assert await anext(followed) == Beat()
    manager.restate.down = "away"  # what is unknown is no end
    assert await anext(followed) == Beat()
    manager.restate.down = None
    await manager.loop.prune(PruneRequest(build_id=build.build_id, force=True))
    end = await anext(followed)
    assert end == LogEnd(build_id=build.build_id, reason=str(BuildNotFound(build.build_id)))
    assert [more async for more in followed] == []


async def test_a_manager_that_stops_ends_what_is_followed(manager: Manager) -> None:
    build = await manager.activate()
    followed = await manager.logs.follow(build.build_id, Wanted(), 10)
    manager.logs.close()
    end = LogEnd(build_id=build.build_id, reason="The manager is stopping.", again=True)
    assert [more async for more in followed] == [end]
