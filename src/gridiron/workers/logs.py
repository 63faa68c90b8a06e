"""What builds print, as cells tell it: values, and how they are read out of a cell's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from gridiron.errors import WorkersUnavailable
from gridiron.model import Value

Level = Literal["debug", "info", "log", "warn", "error"]
SEVERITIES: Mapping[str, int] = {"debug": 0, "info": 1, "log": 1, "warn": 2, "error": 3}
"""How grave a level is. `console.log` and `console.info` are the same."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogEvent(Value):
    """One thing that a build printed, threw without catching it, or came to."""

    time: datetime
    kind: Literal["log", "exception", "outcome", "gap"] = Field(
        description="`outcome`: how one attempt at an invocation, or another request, ended. `gap`: entries "
        "are missing here, as more was printed than is kept."
    )
    level: Level
    message: str = Field(description="As the console prints it, objects as JSON; cut after 16 Ki characters.")
    build_id: str
    node: str | None = Field(default=None, description="Where it was printed; None: the node is alone.")
    cell: str
    handler: str | None = Field(
        default=None, description="`Service/handler`, or `GET /path`; None: not printed in a request."
    )
    invocation_id: str | None = None
    outcome: str | None = Field(
        default=None,
        description="Of an outcome: `ok`; `failed`, for good; `retrying`: Restate tries it again; "
        "`suspended`: it waits; `exception`; `cancelled`: its client has gone.",
    )
    duration_ms: float | None = Field(default=None, description="Of an outcome.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody wants to see."""

    level: Level = "debug"  # and what is graver
    since: datetime | None = None

    def takes(self, event: LogEvent) -> bool:
        """Tell whether an event is one of them. What says that others are missing always is."""
        grave = event.kind == "gap" or SEVERITIES[event.level] >= SEVERITIES[self.level]
        return grave and (self.since is None or event.time >= self.since)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an event comes from."""

    build_id: str
    cell: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """What a cell has kept of a build's events since a cursor, oldest first; a gap stands for some."""

    cursor: str | None  # to ask on with; None: the cell has nothing of the build
    events: tuple[LogEvent, ...]


def parse_log(source: Source, answer: Mapping[str, Any], now: datetime) -> LogPage:
    """Read what a cell gives of a build's log. Raises WorkersUnavailable when it is none.

    `now` is the time of a gap that nothing follows, and the latest of any event: a build can meddle with what
    is kept of it, so nothing that an answer says is taken to be possible.
    """
    try:
        events = tuple(_parse_event(source, each, now) for each in answer["entries"])
        missed = int(answer["missed"])
        cursor = answer["cursor"] if answer["cursor"] is None else str(answer["cursor"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:  # ValueError: pydantic
        raise WorkersUnavailable(source.cell, f"it answered {answer!r:.200}") from error
    if missed:
        time = events[0].time if events else now
        what = f"{count_entries(missed)} left out: more was printed than is kept"
        events = (make_gap(source, time, what), *events)
    return LogPage(cursor, events)


def count_entries(count: int) -> str:
    """Begin a sentence about so many entries."""
    return "1 entry was" if count == 1 else f"{count} entries were"


def make_gap(source: Source, time: datetime, message: str) -> LogEvent:
    """Say in a log that something is missing there."""
    return LogEvent(
        time=time, kind="gap", level="warn", message=message, build_id=source.build_id, cell=source.cell
    )


def order_events(events: Iterable[LogEvent], limit: int) -> tuple[LogEvent, ...]:
    """Give the newest `limit` events, oldest first; those of one time in the order in which they come."""
    ordered = sorted(events, key=lambda event: event.time)
    return tuple(ordered[max(0, len(ordered) - limit) :])


def _parse_event(source: Source, each: Mapping[str, Any], now: datetime) -> LogEvent:
    latest = (now - EPOCH) / timedelta(milliseconds=1)
    return LogEvent(
        time=EPOCH + timedelta(milliseconds=min(max(each["time"], 0), latest)),
        kind=each["kind"],
        level=each["level"],
        message=_mend(each["message"]),
        build_id=source.build_id,
        cell=source.cell,
        handler=_mend(each.get("handler")),
        invocation_id=_mend(each.get("invocation")),
        outcome=_mend(each.get("outcome")),
        duration_ms=each.get("milliseconds"),
    )


def _mend(value: object) -> Any:  # noqa: ANN401 - LogEvent says what may be where
    """Put a question mark for each half of a pair that UTF-16 has alone: no other encoding can write it."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
