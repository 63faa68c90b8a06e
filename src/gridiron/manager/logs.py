"""What builds print, for clients: the entries of all cells in the order of their times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridiron.errors import BuildNotFound, StorageFailed, WorkersUnavailable
from gridiron.lifecycle.plan import find_status
from gridiron.manager.api import LogEnd, LogEvent, LogList
from gridiron.manager.context import Context
from gridiron.manager.observe import Observer
from gridiron.model import State
from gridiron.workers.logs import LogEntry, LogPage

POLL_SECONDS = 0.15
"""Between two looks at the cells for somebody who follows: too short to be noticed, and a look is cheap."""

BEAT_SECONDS = 10.0
"""Between two signs of life where nothing is printed; the build is looked for as often."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing was printed for a while."""


class Logs:
    """Reads what builds print. It is kept in the cells, for as long as a build is loaded there."""

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer
        self._closing = asyncio.Event()

    async def fetch(self, build_id: str) -> LogList:
        """Read what is kept. Raises BuildNotFound, StorageFailed, WorkersUnavailable."""
        pages = await self._context.cells.fetch_log(await self._find_path(build_id), {})
        return LogList(
            events=merge(build_id, pages, self._context.now()),
            silent=tuple(sorted(cell for cell, page in pages.items() if page is None)),
        )

    async def follow(self, build_id: str) -> AsyncIterator[LogEvent | Beat | LogEnd]:
        """Follow a build: what is kept, then what is printed, each as soon as it is seen.

        It ends when the build is retired or gone, with a LogEnd, or when the manager stops, without. Raises
        BuildNotFound, StorageFailed, before anything is given.
        """
        return self._follow(build_id, await self._find_path(build_id))

    def close(self) -> None:
        """End all that is followed. Safe to repeat."""
        self._closing.set()

    async def _follow(self, build_id: str, path: str) -> AsyncIterator[LogEvent | Beat | LogEnd]:
        cursors: dict[str, str] = {}
        said = time.monotonic()
        while not self._closing.is_set():
            for event in await self._fetch_news(build_id, path, cursors):
                yield event
                said = time.monotonic()
            if time.monotonic() - said > BEAT_SECONDS:
                reason = await self._find_end(build_id)
                if reason is not None:
                    yield LogEnd(build_id=build_id, reason=reason)
                    return
                yield Beat()
                said = time.monotonic()
            await self._pause()

    async def _fetch_news(self, build_id: str, path: str, cursors: dict[str, str]) -> tuple[LogEvent, ...]:
        """Read what is new, and move the cursors on; nothing while the cells cannot be read."""
        try:
            pages = await self._context.cells.fetch_log(path, cursors)
        except WorkersUnavailable:  # it is asked again
            return ()
        for cell, page in pages.items():
            if page is not None and page.cursor is not None:
                cursors[cell] = page.cursor
        return merge(build_id, pages, self._context.now())

    async def _find_end(self, build_id: str) -> str | None:
        """Say why a build will print nothing more; None while it may, or where that is unknown."""
        try:
            status = find_status((await self._observer.look()).statuses, build_id)
        except BuildNotFound as error:
            return str(error)
        except StorageFailed:
            return None
        return f"{build_id} is retired." if status.state is State.RETIRED else None

    async def _find_path(self, build_id: str) -> str:
        path = find_status((await self._observer.look()).statuses, build_id).path
        if path is None:
            raise BuildNotFound(build_id)
        return path

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), POLL_SECONDS)
        except TimeoutError:
            return


def merge(build_id: str, pages: Mapping[str, LogPage | None], now: datetime) -> tuple[LogEvent, ...]:
    """Put the entries of all cells into one order: by time, those of a cell as they came."""
    events: list[LogEvent] = []
    for cell, page in pages.items():
        if page is None:
            continue
        if page.missed:
            first = page.entries[0].time if page.entries else now
            events.append(_describe(build_id, cell, _gap(page.missed, first), kind="gap"))
        events += [_describe(build_id, cell, entry) for entry in page.entries]
    return tuple(sorted(events, key=lambda event: event.time))


def render_event(event: LogEvent | Beat | LogEnd) -> str:
    """Write an event as HTML's server-sent events have it."""
    match event:
        case LogEvent():
            return f"data: {event.model_dump_json()}\n\n"
        case Beat():
            return ":\n\n"
        case LogEnd():
            return f"event: end\ndata: {event.model_dump_json()}\n\n"


def _gap(missed: int, first: datetime) -> LogEntry:
    were = "1 entry was" if missed == 1 else f"{missed} entries were"
    message = f"{were} left out: more was printed than is kept"
    return LogEntry(time=first, kind="log", level="warn", message=message)


def _describe(build_id: str, cell: str, entry: LogEntry, kind: str | None = None) -> LogEvent:
    milliseconds = None if entry.duration is None else entry.duration / timedelta(milliseconds=1)
    return LogEvent.model_validate(
        {
            "time": entry.time,
            "kind": kind or entry.kind,
            "level": entry.level,
            "message": entry.message,
            "build_id": build_id,
            "cell": cell,
            "handler": entry.handler,
            "invocation_id": entry.invocation_id,
            "outcome": entry.outcome,
            "duration_ms": milliseconds,
        }
    )
