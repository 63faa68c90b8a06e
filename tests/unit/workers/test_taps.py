from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gridiron.workers.logs import LogEvent, LogPage
from gridiron.workers.taps import LONGEST_PAUSE_SECONDS, PACE, Tap, choose_ready, move_on, plan_reads

NOW = 1000.0


def loaded(in_flight: int = 0, idle_seconds: float = 3600) -> dict[str, Any]:
    return {"in_flight": in_flight, "idle_seconds": idle_seconds}


def page(cursor: str = "b", *messages: str) -> LogPage:
    events = (
        LogEvent(
            time=datetime(2026, 11, 1, tzinfo=UTC),
            kind="log",
            level="info",
            message=message,
            build_id="b",
            cell="cell-1",
        )
        for message in messages
    )
    return LogPage(cursor, tuple(events))


def test_what_is_used_is_read_and_what_is_not_when_its_time_has_come() -> None:
    builds = {
        "/answering": loaded(in_flight=1),
        "/just-used": loaded(idle_seconds=1),
        "/idle": loaded(),
        "/idle-for-long": loaded(),
        "/never-read": loaded(),
    }
    just_now = Tap("a", read_at=NOW - 0.5, pause=1)
    taps = dict.fromkeys(builds, just_now) | {"/idle-for-long": Tap("a", read_at=NOW - 60, pause=60)}
    del taps["/never-read"]
    assert plan_reads(taps, builds, {"/failed"}, NOW) == (
        "/failed",
        "/never-read",
        "/idle-for-long",
        "/answering",
        "/just-used",
    )


def test_an_idle_build_is_read_ever_more_rarely_until_it_prints() -> None:
    tap, now, pauses = Tap(), NOW, []
    for waited in (0.5, 0.5, 0.5, 1, 2, 4, 8, 16, 32, 60):
        now += waited
        tap = move_on(tap, page(), now)
        pauses.append(tap.pause)
    assert pauses == [1, 1, 1, 2, 4, 8, 16, 32, 60, 60]
    assert move_on(tap, page("c", "x"), NOW) == Tap("c", NOW, 1, NOW + 1 / PACE)


def test_a_flood_waits_until_its_share_of_the_time_is_over() -> None:
    tap = move_on(Tap(), page("b", "x" * PACE, "x" * PACE), NOW)
    builds = {"/flood": loaded(in_flight=1)}
    assert plan_reads({"/flood": tap}, builds, (), NOW + 1.9) == ()
    assert plan_reads({"/flood": tap}, builds, (), NOW + 2) == ("/flood",)
    assert choose_ready({"/flood": tap}, ("/flood", "/other"), NOW) == ("/other",)


def test_a_log_that_cannot_be_read_keeps_its_cursor_and_is_left_alone_for_a_while() -> None:
    tap = move_on(Tap("a", 0, 1, 0), None, NOW)
    assert tap == Tap("a", NOW, LONGEST_PAUSE_SECONDS, NOW + LONGEST_PAUSE_SECONDS)
