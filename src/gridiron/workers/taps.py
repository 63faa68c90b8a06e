"""When the logs of builds are read out of a cell: pure functions of what was read and what the cell is doing.

A build that is used is read at each look; one that is not, ever more rarely, as a timer of it may print; one
that prints more than anybody reads, not before its share of the time is over. So what reading costs is
bounded, whatever builds print and however many are idle.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from gridiron.workers.logs import LogPage

RECENT_SECONDS = 2.0
"""A build that was used so long ago may have printed since it was read: a cell says what it does rarely."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
"""Between two reads of a build that is not used, twice as long as before where it had printed nothing."""

PACE = 128 * 1024
"""Characters a second that are read of a build in a cell, on and on. Its isolate keeps twice that, so nothing
of less is lost."""


@dataclass(frozen=True, slots=True)
class Tap:
    """How far the log of a build in a cell was read, and when. Times are of a monotonic clock, in seconds."""

    cursor: str | None = None
    read_at: float = -inf
    pause: float = 0.0
    paced_until: float = -inf


def plan_reads(
    taps: Mapping[str, Tap], loaded: Mapping[str, Mapping[str, Any]], failed: Iterable[str], now: float
) -> tuple[str, ...]:
    """Say which builds are to be read, by their paths: those first that were not for the longest time.

    `loaded` and `failed` are what the cell said last of the builds that it has, and that it could not load.
    """
    used = {
        path for path, build in loaded.items() if build["in_flight"] or build["idle_seconds"] < RECENT_SECONDS
    }
    due = [
        path
        for path in {*loaded, *failed}
        if path in used or now >= (tap := taps.get(path, Tap())).read_at + tap.pause
    ]
    return choose_ready(taps, due, now)


def choose_ready(taps: Mapping[str, Tap], paths: Collection[str], now: float) -> tuple[str, ...]:
    """Leave out builds whose last read was so large that they wait; the others by how long ago theirs was."""
    ready = [path for path in paths if taps.get(path, Tap()).paced_until <= now]
    return tuple(sorted(ready, key=lambda path: (taps.get(path, Tap()).read_at, path)))


def move_on(tap: Tap, page: LogPage | None, now: float) -> Tap:
    """Say how a tap is after a read; None stands for a log that could not be read."""
    if page is None:
        return replace(tap, read_at=now, pause=LONGEST_PAUSE_SECONDS, paced_until=now + LONGEST_PAUSE_SECONDS)
    size = sum(len(event.message) for event in page.events)
    quiet = tap.cursor is not None and not page.events
    pause = min(max(2 * (now - tap.read_at), FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
    return Tap(page.cursor, now, pause if quiet else FIRST_PAUSE_SECONDS, now + size / PACE)
