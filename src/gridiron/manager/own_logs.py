"""What builds print on this node: what is in their logs on its disk, and what is newest in its cells."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from gridiron.errors import WorkersUnavailable
from gridiron.manager.api import LogList
from gridiron.manager.context import Context
from gridiron.model import name_build
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
"""Between two signs of life where nothing is printed."""

POOL = "workers"
"""Stands for all cells where the pool does not answer."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What was printed since the last look, nothing as a sign of life; and up to where that is."""

    events: tuple[LogEvent, ...]
    place: Place


class _Asking:
    """The questions to the workers about one build: what one of those who wait asks does for all of them."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.began = -math.inf  # the last question
        self.silent: tuple[str, ...] = ()  # its answer


class OwnLogs:
    """Reads what builds print here. The workers write that down, the newest of it when they are asked to.

    A build is named by its path, and need not be there: what was printed may be.
    """

    def __init__(self, context: Context) -> None:
        settings = context.settings
        self._context = context
        self._node = None if settings.cluster is None else settings.node_name
        self._files = open_logs(settings)
        self._closing = asyncio.Event()
        self._asking: WeakValueDictionary[str, _Asking] = WeakValueDictionary()  # by path

    async def fetch(self, path: str, wanted: Wanted, limit: int) -> LogList:
        """Give the newest events that are wanted. Raises StorageFailed."""
        silent = await self._collect(path)
        excerpt = await self._read(path, wanted, limit)
        return LogList(events=excerpt.events, silent=silent)

    async def follow(
        self, path: str, wanted: Wanted, limit: int, place: Place | None = None
    ) -> AsyncGenerator[Printed, None]:
        """Give at once the newest events that are wanted, or those behind a place; then what is printed.

        It ends when the manager stops. Raises StorageFailed.
        """
        began, printed = False, -math.inf
        said = time.monotonic()
        while not self._closing.is_set():
            if time.monotonic() - printed > FLOWING_SECONDS:
                await self._collect(path)
            excerpt = await self._read(path, wanted, limit if place is None else AT_ONCE, place)
            place = excerpt.place
            if excerpt.events or not began or time.monotonic() - said > BEAT_SECONDS:
                yield Printed(excerpt.events, place)
                began, said = True, time.monotonic()
                printed = said if excerpt.events else printed
            await self._pause(POLL_SECONDS if time.monotonic() - printed > FLOWING_SECONDS else FLOW_SECONDS)

    def close(self) -> None:
        """End all that is followed. Safe to repeat."""
        self._closing.set()

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

    async def _read(self, path: str, wanted: Wanted, limit: int, place: Place | None = None) -> Excerpt:
        if self._files is None:
            return Excerpt((), {})
        excerpt = await asyncio.to_thread(self._files.read, name_build(path), wanted, limit, place)
        if self._node is None:
            return excerpt
        named = (event.model_copy(update={"node": self._node}) for event in excerpt.events)
        return Excerpt(tuple(named), excerpt.place)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
