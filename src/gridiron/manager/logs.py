"""What builds print, for clients: what is in their logs, and what is newest."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gridiron.errors import BuildNotFound, StorageFailed, WorkersUnavailable
from gridiron.lifecycle.plan import find_status
from gridiron.manager.api import LogEnd, LogList
from gridiron.manager.context import Context
from gridiron.manager.observe import Observer
from gridiron.model import State
from gridiron.workers.log_files import Excerpt, Place, open_logs
from gridiron.workers.logs import LogEvent, Wanted

POLL_SECONDS = 0.25
"""Between two looks for somebody who follows: hardly noticed, and cheap enough."""

FLOW_SECONDS, FLOWING_SECONDS = 0.5, 0.75
"""Between two looks while something is printed, and how long after that. Nobody is asked for what is newest:
the workers write down twice a second what comes of a build that does something."""

AT_ONCE = 2000
"""Events that are read at once for somebody who follows: who is so slow that more come misses some."""

BEAT_SECONDS = 10.0
"""Between two signs of life where nothing is printed; the build is looked for as often."""

POOL = "workers"
"""Stands for all cells where the pool does not answer."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing was printed for a while."""


News = tuple[LogEvent, ...] | Beat | LogEnd
"""What somebody who follows is told at once: to send each event by itself costs more than all else."""


class _Asking:
    """The questions to the workers about one build: what one of those who wait asks does for all of them."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.began = -math.inf  # the last question
        self.silent: tuple[str, ...] = ()  # its answer


class Logs:
    """Reads what builds print. The workers write that down, the newest of it when they are asked to."""

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer
        self._files = open_logs(context.settings)
        self._closing = asyncio.Event()
        self._asking: WeakValueDictionary[str, _Asking] = WeakValueDictionary()  # by path

    async def fetch(self, build_id: str, wanted: Wanted, limit: int) -> LogList:
        """Give the newest events that are wanted. Raises BuildNotFound, StorageFailed."""
        silent = await self._collect(await self._find_path(build_id))
        excerpt = await self._read(build_id, wanted, limit)
        return LogList(events=excerpt.events, silent=silent)

    async def follow(self, build_id: str, wanted: Wanted, limit: int) -> AsyncIterator[News]:
        """Follow a build: the newest events that are wanted, then what is printed, as soon as it is seen.

        It ends with a LogEnd, when the build is retired or gone, or when the manager stops. Raises
        BuildNotFound, StorageFailed, before anything is given.
        """
        return self._follow(build_id, await self._find_path(build_id), wanted, limit)

    def close(self) -> None:
        """End all that is followed. Safe to repeat."""
        self._closing.set()

    async def _follow(self, build_id: str, path: str, wanted: Wanted, limit: int) -> AsyncIterator[News]:
        place: Place | None = None
        said, printed = time.monotonic(), -math.inf
        while not self._closing.is_set():
            if time.monotonic() - printed > FLOWING_SECONDS:
                await self._collect(path)
            try:
                excerpt = await self._read(build_id, wanted, limit if place is None else AT_ONCE, place)
            except StorageFailed as error:
                yield LogEnd(build_id=build_id, reason=str(error))
                return
            place = excerpt.place
            if excerpt.events:
                yield excerpt.events
                said = printed = time.monotonic()
            if time.monotonic() - said > BEAT_SECONDS:
                reason = await self._find_end(build_id)
                if reason is not None:
                    yield LogEnd(build_id=build_id, reason=reason)
                    return
                yield Beat()
                said = time.monotonic()
            await self._pause(POLL_SECONDS if time.monotonic() - printed > FLOWING_SECONDS else FLOW_SECONDS)
        yield LogEnd(build_id=build_id, reason="The manager is stopping.", again=True)

    async def _collect(self, path: str) -> tuple[str, ...]:
        """Have the workers write down what is new; name the cells that do not answer."""
        if self._files is None:
            return ()
        began = time.monotonic()
        asking = self._asking.setdefault(path, _Asking())
        async with asking.turn:
            if asking.began < began:
                asking.began = time.monotonic()
                asking.silent = await self._ask(path)
            return asking.silent

    async def _ask(self, path: str) -> tuple[str, ...]:
        try:
            return await self._context.cells.collect_log(path)
        except WorkersUnavailable:  # what was written down before is of use without it
            return (POOL,)

    async def _read(self, build_id: str, wanted: Wanted, limit: int, place: Place | None = None) -> Excerpt:
        if self._files is None:
            return Excerpt((), {})
        return await asyncio.to_thread(self._files.read, build_id, wanted, limit, place)

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

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


def render_news(news: News) -> str:
    """Write news as HTML's server-sent events have it."""
    match news:
        case tuple():
            return "".join(f"data: {event.model_dump_json()}\n\n" for event in news)
        case Beat():
            return ":\n\n"
        case LogEnd():
            return f"event: end\ndata: {news.model_dump_json()}\n\n"
