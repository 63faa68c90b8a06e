"""Readiness: what was last seen of each component, so that whoever asks is answered at once.

Each component is looked at by a task of its own, once a second and for a limited time, so that one that hangs
holds up neither the others nor an answer. What was seen too long ago counts as nothing: where the looks
themselves stop, or the event loop is late, the node is not ready and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from gridiron.manager.api import Component, Health

log = structlog.get_logger()

INTERVAL = timedelta(seconds=1)
"""From one look to the next."""

LIMIT = timedelta(seconds=3)
"""How long a component may take to answer. With the interval, what hangs is seen within four seconds."""

STALE_AFTER = timedelta(seconds=5)
"""Without an interval and a limit having led to a look: the looks are not made any more, or not in time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a component has shown."""

    ready: bool
    reason: str = ""  # in a few words and with nothing secret, as everybody may read it
    certain: bool = True  # False: what is not ready may be so only for who looked


Look = Callable[[], Awaitable[Seen]]


@dataclass(frozen=True, slots=True)
class Watched:
    """One component, and how it is looked at."""

    name: str
    look: Look
    required: bool = True  # whether the node is not ready without it


@dataclass(frozen=True, slots=True)
class _Note:
    seen: Seen
    since: datetime
    looked_at: float


class HealthChecker:
    """What is known of some components. `watch` keeps it up to date, `read` tells it without any I/O."""

    def __init__(
        self,
        watched: Iterable[Watched],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = tuple(watched)
        self._now = now
        self._clock = clock
        self._notes: dict[str, _Note] = {}
        self._started_at = now()
        self._stopping_since: datetime | None = None

    async def watch(self) -> None:
        """Look at the components until cancelled."""
        async with asyncio.TaskGroup() as group:
            for each in self._watched:
                group.create_task(self._watch(each), name=f"look at {each.name}")

    def stop(self) -> None:
        """Tell everybody from now on that the process is stopping. Safe to repeat."""
        self._stopping_since = self._stopping_since or self._now()

    def read(self) -> Health:
        """Give what was seen last."""
        components = tuple(self._describe(each) for each in self._watched)
        if self._stopping_since is not None:
            return _judge(components, "stopping", self._stopping_since)
        if any(each.required and each.name not in self._notes for each in self._watched):
            return _judge(components, "starting", self._started_at)
        needed = [component for component in components if component.required]
        missing = [component for component in needed if not component.ready]
        if missing:
            reason = "; ".join(f"{component.name}: {component.reason}" for component in missing)
            return _judge(components, reason, min(component.since for component in missing))
        return _judge(components, "", max((each.since for each in needed), default=self._started_at))

    def find(self, name: str) -> Seen | None:
        """Give what a component was last seen to be; None where that was too long ago, or never."""
        note = self._notes.get(name)
        if note is None or self._clock() - note.looked_at > STALE_AFTER.total_seconds():
            return None
        return note.seen

    async def _watch(self, watched: Watched) -> None:
        while True:
            began = self._clock()
            self._note(watched.name, await _look_in_time(watched.look))
            await asyncio.sleep(INTERVAL.total_seconds() - (self._clock() - began))

    def _note(self, name: str, seen: Seen) -> None:
        before = self._notes.get(name)
        if before is not None and before.seen.ready is seen.ready:
            since = before.since
        else:
            since = self._now()
            _tell_turn(name, seen, is_first=before is None)
        self._notes[name] = _Note(seen, since, self._clock())

    def _describe(self, watched: Watched) -> Component:
        note = self._notes.get(watched.name)
        if note is None:
            seen, since, age = Seen(False, "not looked at yet"), self._started_at, None
        else:
            seen, since, age = note.seen, note.since, self._clock() - note.looked_at
        if age is not None and age > STALE_AFTER.total_seconds():
            since = self._now() - timedelta(seconds=age)
            seen = Seen(False, f"not looked at for {age:.0f} s")
        return Component(
            name=watched.name,
            ready=seen.ready,
            required=watched.required,
            reason=seen.reason,
            since=since,
            age_seconds=age if age is None else round(age, 3),
        )


def _tell_turn(name: str, seen: Seen, *, is_first: bool) -> None:
    if not seen.ready:
        log.warning("component.unready", component=name, reason=seen.reason)
    elif not is_first:  # a start is expected to go well
        log.info("component.ready", component=name)


async def _look_in_time(look: Look) -> Seen:
    try:
        async with asyncio.timeout(LIMIT.total_seconds()):  # Python 3.11's wait_for may lose a cancellation
            return await look()
    except TimeoutError:
        # maybe the others are well, and this process, or its machine, is too slow to hear them
        return Seen(False, f"no answer within {LIMIT.total_seconds():.0f} s", certain=False)


def _judge(components: tuple[Component, ...], reason: str, since: datetime) -> Health:
    return Health(ready=not reason, reason=reason, since=since, components=components)
