"""What builds print, as cells tell it: values, and how they are read out of a cell's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from gridiron.errors import WorkersUnavailable

Kind = Literal["log", "exception", "outcome"]
Level = Literal["debug", "info", "log", "warn", "error"]
KINDS, LEVELS = frozenset(get_args(Kind)), frozenset(get_args(Level))


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that a build printed, threw without catching it, or came to."""

    time: datetime
    kind: Kind
    level: Level
    message: str  # up to 16 Ki characters
    handler: str | None = None  # `Service/handler`, or `GET /path`; None: it was in no request
    invocation_id: str | None = None
    outcome: str | None = None  # of the kind `outcome`
    duration: timedelta | None = None  # the same


@dataclass(frozen=True, slots=True)
class LogPage:
    """What a cell has kept of a build's entries since a cursor, oldest first."""

    cursor: str | None  # to ask on with; None: the cell has nothing of the build
    missed: int  # entries since the cursor that were not kept, as later ones took their place
    entries: tuple[LogEntry, ...]


def parse_log(cell: str, answer: Mapping[str, Any]) -> LogPage:
    """Read a cell's answer to `GET /logs/…`. Raises WorkersUnavailable when it is none."""
    try:
        entries = tuple(_parse_entry(each) for each in answer["entries"])
        return LogPage(answer["cursor"], int(answer["missed"]), entries)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise WorkersUnavailable(cell, f"it answered {answer!r:.200}") from error


def _parse_entry(each: Mapping[str, Any]) -> LogEntry:
    kind, level = each["kind"], each["level"]
    if kind not in KINDS or level not in LEVELS:
        raise ValueError(f"{kind} {level}")
    milliseconds = each.get("milliseconds")
    return LogEntry(
        time=datetime.fromtimestamp(each["time"] / 1000, UTC),
        kind=kind,
        level=level,
        message=str(each["message"]),
        handler=each.get("handler"),
        invocation_id=each.get("invocation"),
        outcome=each.get("outcome"),
        duration=None if milliseconds is None else timedelta(milliseconds=milliseconds),
    )
