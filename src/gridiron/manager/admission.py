"""How many bundles come in at once: those that take long hold up others of their kind, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from gridiron.bundles.intake import Fetched, Intake, Wanted
from gridiron.bundles.limits import Report
from gridiron.bundles.source import HttpSource, S3Source
from gridiron.bundles.staging import Staged
from gridiron.errors import IntakeBusy
from gridiron.manager.tolerate import tolerating

AT_ONCE = 8
"""Of each kind. Each takes up to twice GRIDIRON_SOURCE_MIB of the disk, and a thread where it is fetched."""

PATIENCE = timedelta(seconds=30)
"""How long one waits for its turn: several dozen bundles that are quick come in meanwhile."""


class _Kind(Enum):
    UPLOADED = auto()  # a client sends it
    NEAR = auto()  # it is on this machine
    FAR = auto()  # its server may take all the time that there is


class Admission:
    """Lets so many bundles in at once, in order of arrival, each kind for itself.

    They have threads of their own: those of asyncio are few, and everything else that waits for the disk
    needs them.
    """

    def __init__(self, intake: Intake, at_once: int = AT_ONCE, patience: timedelta = PATIENCE) -> None:
        self._intake = intake
        self._at_once = at_once
        self._patience = patience
        self._places = {kind: asyncio.Semaphore(at_once) for kind in _Kind}
        self._threads = ThreadPoolExecutor(2 * at_once, "intake")

    @asynccontextmanager
    async def arrival(self, source: HttpSource | S3Source, report: Report) -> AsyncIterator[Fetched]:
        """Do as `Intake.fetch`, in a thread; what was fetched is dropped in the end.

        Raises IntakeBusy besides.
        """
        leave = _leaving(await self._enter(_Kind.FAR))
        fetching = self._threads.submit(self._intake.fetch, source, report)

        def drop(ended: Future[Fetched]) -> Future[None]:
            dropping = self._threads.submit(self._drop, ended)
            dropping.add_done_callback(leave)
            return dropping

        try:
            fetched = await asyncio.wrap_future(fetching)
        except BaseException:  # where waiting for it is cancelled, it goes on
            fetching.add_done_callback(drop)
            raise
        try:
            yield fetched
        finally:
            with tolerating("source.not_dropped"):  # the next start does it
                await asyncio.wrap_future(drop(fetching))

    async def take_in(self, wanted: Wanted, report: Report, fetched: Fetched | None) -> Staged:
        """Do as `Intake.take_in`, in a thread. Raises IntakeBusy besides."""
        places = await self._enter(_Kind.NEAR)
        taken = self._threads.submit(self._intake.take_in, wanted, report, fetched)
        taken.add_done_callback(_leaving(places))  # not where waiting for it is cancelled: it goes on
        return await asyncio.wrap_future(taken)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[None]:
        """Hold a place for an archive that a client sends. Raises IntakeBusy."""
        places = await self._enter(_Kind.UPLOADED)
        try:
            yield
        finally:
            places.release()

    def _drop(self, ended: Future[Fetched]) -> None:
        if not ended.cancelled() and ended.exception() is None:
            self._intake.drop(ended.result())

    async def _enter(self, kind: _Kind) -> asyncio.Semaphore:
        places = self._places[kind]
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await places.acquire()
        except TimeoutError:
            raise IntakeBusy(self._at_once, round(self._patience.total_seconds())) from None
        return places


def _leaving(places: asyncio.Semaphore) -> Callable[[Future[Any]], None]:
    """Give what a thread calls at its end to leave its place."""
    loop = asyncio.get_running_loop()

    def leave(_done: Future[Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(places.release)

    return leave
