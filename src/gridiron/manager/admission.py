"""How many bundles come in at once: those that take long hold up others of their kind, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import Enum, auto

from gridiron.bundles.intake import Intake, Wanted
from gridiron.bundles.limits import Report
from gridiron.bundles.source import HttpSource, S3Source, parse_source
from gridiron.bundles.staging import Staged
from gridiron.errors import IntakeBusy

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

    async def take_in(self, wanted: Wanted, report: Report) -> Staged:
        """Do as `Intake.take_in`, in a thread. Raises IntakeBusy besides."""
        is_far = isinstance(parse_source(wanted.source), HttpSource | S3Source)
        places = await self._enter(_Kind.FAR if is_far else _Kind.NEAR)
        loop = asyncio.get_running_loop()

        def leave(_taken: Future[Staged]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(places.release)

        taken = self._threads.submit(self._intake.take_in, wanted, report)
        taken.add_done_callback(leave)  # not where waiting for it is cancelled: the thread goes on
        return await asyncio.wrap_future(taken)

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[None]:
        """Hold a place for an archive that a client sends. Raises IntakeBusy."""
        places = await self._enter(_Kind.UPLOADED)
        try:
            yield
        finally:
            places.release()

    async def _enter(self, kind: _Kind) -> asyncio.Semaphore:
        places = self._places[kind]
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                await places.acquire()
        except TimeoutError:
            raise IntakeBusy(self._at_once, round(self._patience.total_seconds())) from None
        return places
