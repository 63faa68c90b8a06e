from __future__ import annotations

from datetime import timedelta

import pytest

from gridiron.errors import BuildNotFound
from gridiron.manager import logs as logs_module
from gridiron.manager.api import LogEnd, LogEvent, LogList, PruneRequest
from gridiron.manager.logs import Beat, merge, render_event
from gridiron.testing.workers import KEPT_ENTRIES, FakeCells
from gridiron.workers.logs import LogEntry, LogPage
from tests.unit.manager.conftest import NOW, Manager, make_settings

SECOND = timedelta(seconds=1)


def entry(message: str, after: timedelta = timedelta(0)) -> LogEntry:
    return LogEntry(NOW + after, "log", "info", message, "demo/run", "inv_1")


def event(message: str, cell: str = "cell-1", after: timedelta = timedelta(0), build: str = "b") -> LogEvent:
    return LogEvent(
        time=NOW + after,
        kind="log",
        level="info",
        message=message,
        build_id=build,
        cell=cell,
        handler="demo/run",
        invocation_id="inv_1",
        outcome=None,
        duration_ms=None,
    )


def test_cells_are_merged_by_time_and_each_keeps_its_order() -> None:
    pages = {
        "cell-1": LogPage("x", 0, (entry("a"), entry("b"), entry("e", 2 * SECOND))),
        "cell-2": None,
        "cell-3": LogPage("x", 0, (entry("c"), entry("d", SECOND))),
    }
    assert merge("b", pages, NOW) == (
        event("a"),
        event("b"),
        event("c", "cell-3"),
        event("d", "cell-3", SECOND),
        event("e", after=2 * SECOND),
    )


@pytest.mark.parametrize(
    ("missed", "message"),
    [
        (1, "1 entry was left out: more was printed than is kept"),
        (12, "12 entries were left out: more was printed than is kept"),
    ],
)
def test_what_was_missed_is_told_before_what_came_after_it(missed: int, message: str) -> None:
    gap = event(message).model_copy(
        update={"kind": "gap", "level": "warn", "handler": None, "invocation_id": None}
    )
    assert merge("b", {"cell-1": LogPage("x", missed, (entry("a"),))}, NOW + SECOND) == (gap, event("a"))
    assert merge("b", {"cell-1": LogPage("x", missed, ())}, NOW) == (gap,)


def test_an_outcome_has_its_duration_in_milliseconds() -> None:
    outcome = LogEntry(NOW, "outcome", "info", "", "demo/run", "inv_1", "ok", timedelta(microseconds=1500))
    (merged,) = merge("b", {"cell-1": LogPage("x", 0, (outcome,))}, NOW)
    assert (merged.outcome, merged.duration_ms) == ("ok", 1.5)


def test_server_sent_events() -> None:
    shown = event("two\nlines")
    assert render_event(shown) == f"data: {shown.model_dump_json()}\n\n"
    assert "\n" not in shown.model_dump_json()
    assert render_event(Beat()) == ":\n\n"
    end = LogEnd(build_id="b", reason="over")
    assert render_event(end) == f"event: end\ndata: {end.model_dump_json()}\n\n"


async def test_a_log_names_the_cells_that_are_silent(tmp_path: object) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path), cells=FakeCells("cell-1", "cell-2"))  # type: ignore[arg-type]
    build = await manager.activate()
    manager.cells.log(build.path, entry("a"))
    shown = event("a", build=build.build_id)
    assert await manager.logs.fetch(build.build_id) == LogList(events=(shown,), silent=())
    manager.cells.silence("cell-2")
    assert await manager.logs.fetch(build.build_id) == LogList(events=(shown,), silent=("cell-2",))


async def test_nothing_is_read_of_what_there_is_not(manager: Manager) -> None:
    (manager.settings.bundles_dir / "damaged").mkdir()
    for build_id in ("demo-1-1", "damaged"):
        with pytest.raises(BuildNotFound):
            await manager.logs.fetch(build_id)
        with pytest.raises(BuildNotFound):
            await manager.logs.follow(build_id)


async def test_who_follows_gets_what_is_kept_and_then_each_thing_once(manager: Manager) -> None:
    build = await manager.activate()
    manager.cells.log(build.path, entry("a"), entry("b"))
    followed = await manager.logs.follow(build.build_id)
    assert [await anext(followed) for _ in range(2)] == [
        event("a", build=build.build_id),
        event("b", build=build.build_id),
    ]
    manager.cells.silence()  # it is asked again until it answers
    manager.cells.log(build.path, *(entry(str(n)) for n in range(KEPT_ENTRIES + 1)))
    manager.cells.wake()
    gap = await anext(followed)
    assert isinstance(gap, LogEvent)
    assert (gap.kind, gap.message[:7]) == ("gap", "1 entry")
    assert await anext(followed) == event("1", build=build.build_id)


async def test_who_follows_gets_signs_of_life_and_hears_of_the_end(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "BEAT_SECONDS", 0.0)
    build = await manager.activate()
    followed = await manager.logs.follow(build.build_id)
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
    followed = await manager.logs.follow(build.build_id)
    manager.logs.close()
    assert [more async for more in followed] == []
