"""Brings what builds print from their cells onto the disk, where it outlives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from gridiron.errors import StorageFailed, WorkersUnavailable
from gridiron.model import name_build
from gridiron.workers.cell import Cell
from gridiron.workers.control import ANSWER_LIMIT
from gridiron.workers.log_files import LogFiles
from gridiron.workers.logs import LogEvent, LogPage, Source, parse_log
from gridiron.workers.taps import Tap, choose_ready, move_on, plan_reads

log = structlog.get_logger()

INTERVAL = timedelta(milliseconds=500)
"""Between two looks at a cell. What it printed since the last one goes with it when it is killed."""

FORGET = timedelta(seconds=10)
"""How long a cursor is kept of a build that the cell does not name: what it has loaded is known later."""

TIDY_INTERVAL = timedelta(seconds=10)
LAST_WORDS = timedelta(milliseconds=500)
"""How long a cell that is about to end may take to tell what is left, and the disk to take it."""

ASKED_LIMIT = timedelta(seconds=1)
"""How long a cell and the disk may take where somebody waits; after that, the cell is named as silent."""

HANGS = timedelta(seconds=10)
"""How long a write takes, at least, that somebody should know of. It goes on, and all others wait for it."""

_Events = Mapping[str, Sequence[LogEvent]]
"""What is to be written, by build."""

_Writing = asyncio.Future[Mapping[str, StorageFailed]]
"""A write that goes on, to its end whatever is cancelled, and then the builds whose log failed."""


@dataclass(slots=True)
class _Known:
    """What is known of the logs in one cell."""

    taps: dict[str, Tap] = field(default_factory=dict)  # by path
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # a cursor goes one way


class Collector:
    """Reads the logs out of cells, and writes what is new into files; nobody else does either."""

    def __init__(self, files: LogFiles | None) -> None:
        """Without files, nothing is collected."""
        self._files = files
        self._known: dict[str, _Known] = {}  # by cell
        self._thread = ThreadPoolExecutor(1, "logs")  # its own: a disk that hangs takes no other
        self._writing: _Writing | None = None  # the last write
        self._failing: AbstractSet[str] = frozenset()  # builds whose logs the disk does not take

    async def keep(self, cell: Cell) -> None:
        """Collect what a cell's builds print, as it comes, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL.total_seconds())
            known, now = self._know(cell), time.monotonic()
            with suppress(WorkersUnavailable, TimeoutError):  # the watchdog finds out what that means
                async with asyncio.timeout(ANSWER_LIMIT.total_seconds()):
                    await self._read(cell, plan_reads(known.taps, cell.loaded, cell.failed, now))
            for path in [path for path in known.taps if path not in cell.loaded and path not in cell.failed]:
                if now - known.taps[path].read_at > FORGET.total_seconds():
                    del known.taps[path]

    async def collect(self, cell: Cell, path: str) -> bool:
        """Collect what a build has printed in a cell until now; False when that is not done in time.

        Of a build that prints more than anybody reads, that may be nothing yet.
        """
        ready = choose_ready(self._know(cell).taps, (path,), time.monotonic())
        try:
            async with asyncio.timeout(ASKED_LIMIT.total_seconds()):
                await self._read(cell, ready)
        except (WorkersUnavailable, TimeoutError):
            return False
        return True

    async def finish(self, cell: Cell) -> None:
        """Collect what is left in a cell that is about to end, as far as is done soon. Safe to repeat."""
        if self._files is None:
            return
        with suppress(WorkersUnavailable, TimeoutError):
            async with asyncio.timeout(LAST_WORDS.total_seconds()):
                await cell.look()
                left = {*cell.loaded, *cell.failed}
                while left and (read := await self._read(cell, tuple(left))):
                    left -= read

    async def tell(self, cell: Cell, message: str) -> None:
        """Write into the logs of the builds that a cell was answering for, when it said so last.

        Not where the disk is busy with something else for long.
        """
        now = datetime.now(UTC)
        builds = [name_build(path) for path, build in cell.loaded.items() if build["in_flight"]]
        told = {build: (_describe_end(Source(build, cell.name), now, message),) for build in builds}
        if self._files is None or not told:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS.total_seconds()):
                await asyncio.shield(await self._begin_write(self._files, told))

    def forget(self, cell: Cell) -> None:
        """Let go of what is known of a cell that has ended. Safe to repeat."""
        self._known.pop(cell.name, None)

    def _know(self, cell: Cell) -> _Known:
        return self._known.setdefault(cell.name, _Known())

    async def _read(self, cell: Cell, paths: Sequence[str]) -> AbstractSet[str]:
        """Read the logs of builds and write down what is new; give those that the cell had room for.

        Where this is cancelled, what is being written goes on, and the next read waits for it. Raises
        WorkersUnavailable.
        """
        if not paths or self._files is None:
            return frozenset()
        known, writing = self._know(cell), None
        await known.reading.acquire()
        try:
            answer = await cell.read_logs({path: known.taps.get(path, Tap()).cursor for path in paths})
            pages = {path: _parse(cell, path, each) for path, each in answer.items() if path in paths}
            events = {name_build(path): page.events for path, page in pages.items() if page and page.events}
            if events:
                writing = await self._begin_write(self._files, events)
                writing.add_done_callback(lambda done: _settle(known, pages, done))
            else:
                _move_on(known, pages)
        finally:
            if writing is None:
                known.reading.release()
        if writing is not None:
            await asyncio.shield(writing)
        return pages.keys()

    async def _begin_write(self, files: LogFiles, events: _Events) -> _Writing:
        """Have events of builds, by id, written by the thread, as soon as it has nothing else to do.

        So nothing piles up before a disk that hangs: who is cancelled meanwhile has written nothing.
        """
        while self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing})
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(HANGS.total_seconds(), _tell_of_hanging, tuple(events))
        self._writing = loop.run_in_executor(self._thread, _append, files, events)
        self._writing.add_done_callback(lambda done: self._note(events, alarm, done))
        return self._writing

    def _note(self, events: _Events, alarm: asyncio.TimerHandle, done: _Writing) -> None:
        """Say whose events the disk did not take, once for each until it does."""
        alarm.cancel()
        failed = done.result()
        for build_id in failed.keys() - self._failing:
            log.error("logs.not_written", build_id=build_id, reason=str(failed[build_id]))
        self._failing = (self._failing - events.keys()) | failed.keys()

    async def tidy(self, bundles_dir: Path, limit: int) -> None:
        """Remove what is kept of builds that are gone, and what is too much, ever again until cancelled."""
        failing = False
        while self._files is not None:
            try:
                for build_id in await asyncio.to_thread(self._files.tidy, bundles_dir, limit):
                    log.info("logs.removed", build_id=build_id)
                failing = False
            except StorageFailed as error:
                if not failing:
                    log.error("logs.not_tidied", reason=str(error))  # noqa: TRY400 - its sentence says it all
                failing = True
            await asyncio.sleep(TIDY_INTERVAL.total_seconds())


def _append(files: LogFiles, events: _Events) -> Mapping[str, StorageFailed]:
    failed = {}
    for build_id, each in events.items():
        try:
            files.append(build_id, each)
        except StorageFailed as error:  # some of it may be there, and comes twice then
            failed[build_id] = error
    return failed


def _tell_of_hanging(build_ids: Sequence[str]) -> None:
    log.error("logs.hang", build_ids=build_ids, seconds=HANGS.total_seconds())


def _settle(known: _Known, pages: Mapping[str, LogPage | None], done: _Writing) -> None:
    """Take up what came of a write, and let the next read begin."""
    try:
        failed = done.result()
        _move_on(known, {path: None if name_build(path) in failed else page for path, page in pages.items()})
    finally:
        known.reading.release()


def _move_on(known: _Known, pages: Mapping[str, LogPage | None]) -> None:
    """Move taps on by what was read, and written down; None: it is read again later."""
    now = time.monotonic()
    known.taps |= {path: move_on(known.taps.get(path, Tap()), page, now) for path, page in pages.items()}


def _describe_end(source: Source, now: datetime, message: str) -> LogEvent:
    return LogEvent(
        time=now,
        kind="exception",
        level="error",
        message=message,
        build_id=source.build_id,
        cell=source.cell,
    )


def _parse(cell: Cell, path: str, answer: Mapping[str, Any] | None) -> LogPage | None:
    """Read what a cell gave of a log; None where it could not, as the build meddles with it."""
    if answer is None:
        log.warning("logs.unreadable", build_id=name_build(path), cell=cell.name)
        return None
    try:
        return parse_log(Source(name_build(path), cell.name), answer, datetime.now(UTC))
    except WorkersUnavailable as error:
        log.warning("logs.unreadable", build_id=name_build(path), cell=cell.name, reason=error.reason)
        return None
