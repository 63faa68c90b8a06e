from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers.logs import LogEntry, LogPage, parse_log

ENTRY = {"order": 0, "time": 1_790_000_000_123, "kind": "log", "level": "warn", "message": "careful"}


def test_a_page_of_a_log() -> None:
    more = {"handler": "Greeter/greet", "invocation": "inv_1", "outcome": "ok", "milliseconds": 12}
    answer = {"cursor": "a_1_2", "missed": 3, "entries": [ENTRY, {**ENTRY, "kind": "outcome", **more}]}
    time = datetime(2026, 9, 21, 14, 13, 20, 123_000, tzinfo=UTC)
    assert parse_log("cell-1", answer) == LogPage(
        "a_1_2",
        3,
        (
            LogEntry(time, "log", "warn", "careful"),
            LogEntry(
                time, "outcome", "warn", "careful", "Greeter/greet", "inv_1", "ok", timedelta(milliseconds=12)
            ),
        ),
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"cursor": None, "missed": 0, "entries": None},
        {"cursor": None, "missed": "many", "entries": []},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "kind": "other"}]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "level": "loud"}]},
        {"cursor": None, "missed": 0, "entries": [{**ENTRY, "time": 1e300}]},
    ],
)
def test_what_is_no_page_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(WorkersUnavailable, match="cell-1"):
        parse_log("cell-1", answer)
