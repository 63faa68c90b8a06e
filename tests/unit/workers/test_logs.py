from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers.logs import LogEvent, LogPage, Source, Wanted, parse_log

ENTRY = {"order": 0, "time": 1_790_000_000_123, "kind": "log", "level": "warn", "message": "careful"}
TIME = datetime(2026, 9, 21, 14, 13, 20, 123_000, tzinfo=UTC)
NOW = TIME + timedelta(hours=1)
SOURCE = Source("greeter-1.0.0-1", "cell-1")
EVENT = LogEvent(
    time=TIME, kind="log", level="warn", message="careful", build_id="greeter-1.0.0-1", cell="cell-1"
)


def parse(*entries: dict[str, Any], missed: int = 0) -> tuple[LogEvent, ...]:
    return parse_log(SOURCE, {"cursor": "a", "missed": missed, "entries": entries}, NOW).events


def test_a_page_of_a_log() -> None:
    more = {"handler": "Greeter/greet", "invocation": "inv_1", "outcome": "ok", "milliseconds": 1.5}
    answer = {"cursor": "a_1_2", "missed": 0, "entries": [ENTRY, {**ENTRY, "kind": "outcome", **more}]}
    outcome = EVENT.model_copy(
        update={
            "kind": "outcome",
            "handler": "Greeter/greet",
            "invocation_id": "inv_1",
            "outcome": "ok",
            "duration_ms": 1.5,
        }
    )
    assert parse_log(SOURCE, answer, NOW) == LogPage("a_1_2", (EVENT, outcome))


@pytest.mark.parametrize(
    ("missed", "message"),
    [
        (1, "1 entry was left out: more was printed than is kept"),
        (12, "12 entries were left out: more was printed than is kept"),
    ],
)
def test_what_was_missed_is_told_before_what_came_after_it(missed: int, message: str) -> None:
    gap = EVENT.model_copy(update={"kind": "gap", "message": message})
    assert parse(ENTRY, missed=missed) == (gap, EVENT)
    assert parse(missed=missed) == (gap.model_copy(update={"time": NOW}),)


def test_half_of_a_pair_of_utf_16_can_be_written() -> None:
    half = "a \ud800 b"
    (event,) = parse({**ENTRY, "message": half, "handler": half, "invocation": half, "outcome": half})
    written = LogEvent.model_validate_json(event.model_dump_json())
    assert {written.message, written.handler, written.invocation_id, written.outcome} == {"a ? b"}


@pytest.mark.parametrize(
    ("milliseconds", "time"),
    [(1e20, NOW), (10**400, NOW), (-1e300, datetime(1970, 1, 1, tzinfo=UTC)), (ENTRY["time"], TIME)],
)
def test_no_event_has_a_time_that_cannot_be(milliseconds: float, time: datetime) -> None:
    assert [event.time for event in parse({**ENTRY, "time": milliseconds})] == [time]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"cursor": None, "missed": 0, "entries": None},
        {"cursor": None, "missed": "many", "entries": []},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "kind": "other"}]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "level": "loud"}]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "time": None}]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "kind": "\ud800"}]},
        {"cursor": None, "missed": 0, "entries": ["text"]},
        {"cursor": None, "missed": 0, "entries": [[]]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "handler": {"an": "object"}}]},
    ],
)
def test_what_is_no_page_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(WorkersUnavailable, match="cell-1"):
        parse_log(SOURCE, answer, NOW)


@pytest.mark.parametrize(
    ("wanted", "levels"),
    [
        (Wanted(), ["debug", "info", "log", "warn", "error"]),
        (Wanted("log"), ["info", "log", "warn", "error"]),
        (Wanted("error"), ["error"]),
        (Wanted(since=TIME), ["debug", "info", "log", "warn", "error"]),
        (Wanted(since=NOW), []),
    ],
)
def test_what_is_wanted_is_grave_and_new_enough(wanted: Wanted, levels: list[str]) -> None:
    events = parse(*({**ENTRY, "level": level} for level in ("debug", "info", "log", "warn", "error")))
    assert [event.level for event in events if wanted.takes(event)] == levels


def test_a_gap_is_always_wanted() -> None:
    assert Wanted("error").takes(parse(missed=1)[0])
