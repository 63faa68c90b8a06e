"""Brings what builds print from their cells onto the disk, where it outlives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from gridiron.errors import StorageFailed, WorkersUnavailable
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
LAST_WORDS = timedelta(milliseconds=300)
"""How long a cell that is about to end may take to tell what is left."""

ASKED_LIMIT = timedelta(seconds=1)
"""How long a cell may take where somebody waits for what is new; one that takes longer is named as silent."""


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
        self._failing: AbstractSet[str] = frozenset()  # builds whose logs the disk does not take

    async def keep(self, cell: Cell) -> None:
        """Collect what a cell's builds print, as it comes, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL.total_seconds())
            known, now = self._know(cell), time.monotonic()
            await self._read(cell, plan_reads(known.taps, cell.loaded, cell.failed, now), ANSWER_LIMIT)
            for path in [path for path in known.taps if path not in cell.loaded and path not in cell.failed]:
                if now - known.taps[path].read_at > FORGET.total_seconds():
                    del known.taps[path]

    async def collect(self, cell: Cell, path: str) -> bool:
        """Collect what a build has printed in a cell until now; False when the cell does not say in time.

        Of a build that prints more than anybody reads, that may be nothing yet.
        """
        ready = choose_ready(self._know(cell).taps, (path,), time.monotonic())
        return await self._read(cell, ready, ASKED_LIMIT) is not None

    async def finish(self, cell: Cell) -> None:
        """Collect what is left in a cell that is about to end, as far as it says so soon. Safe to repeat."""
        if self._files is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS.total_seconds()):
                await cell.look()
        except (WorkersUnavailable, TimeoutError):
            return
        left = {*cell.loaded, *cell.failed}
        deadline = time.monotonic() + LAST_WORDS.total_seconds()
        while left and (limit := deadline - time.monotonic()) > 0:
            read = await self._read(cell, tuple(left), timedelta(seconds=limit))
            if not read:
                return
            left -= read

    async def tell(self, cell: Cell, message: str) -> None:
        """Write into the logs of the builds that a cell was answering for, when it said so last."""
        if self._files is None:
            return
        now = datetime.now(UTC)
        builds = [name_build(path) for path, build in cell.loaded.items() if build["in_flight"]]
        told = {build: _describe_end(Source(build, cell.name), now, message) for build in builds}
        await self._write_down(self._files, {build: (event,) for build, event in told.items()})

    def forget(self, cell: Cell) -> None:
        """Let go of what is known of a cell that has ended. Safe to repeat."""
        self._known.pop(cell.name, None)

    def _know(self, cell: Cell) -> _Known:
        return self._known.setdefault(cell.name, _Known())

    async def _read(self, cell: Cell, paths: Sequence[str], limit: timedelta) -> AbstractSet[str] | None:
        """Read the logs of builds and write down what is new; give those that the cell had room for.

        None where it does not answer in time.
        """
        if not paths or self._files is None:
            return frozenset()
        known = self._know(cell)
        async with known.reading:
            cursors = {path: known.taps.get(path, Tap()).cursor for path in paths}
            try:
                async with asyncio.timeout(limit.total_seconds()):
                    answer = await cell.read_logs(cursors)
            except (WorkersUnavailable, TimeoutError):  # the watchdog finds out what that means
                return None
            pages = {path: _parse(cell, path, each) for path, each in answer.items() if path in cursors}
            await self._write(self._files, known, pages)
        return pages.keys()

    async def _write(self, files: LogFiles, known: _Known, pages: Mapping[str, LogPage | None]) -> None:
        """Write pages down, and move the taps on; what the disk does not take is read again later."""
        now = time.monotonic()
        before = {path: known.taps.get(path, Tap()) for path in pages}
        # before it is written: where this is cancelled, a thread goes on with that
        known.taps |= {path: move_on(before[path], page, now) for path, page in pages.items()}
        printed = {path: page.events for path, page in pages.items() if page is not None and page.events}
        events = {name_build(path): each for path, each in printed.items()}
        failed = await self._write_down(files, events)  # some of it may be there, and comes twice then
        known.taps |= {path: move_on(before[path], None, now) for path in printed if name_build(path) in failed}

    async def _write_down(self, files: LogFiles, events: Mapping[str, Sequence[LogEvent]]) -> AbstractSet[str]:
        """Write events of builds, by id, into their logs; give those whose events the disk does not take."""
        failed = await asyncio.to_thread(_append, files, events) if events else {}
        for build_id in failed.keys() - self._failing:
            log.error("logs.not_written", build_id=build_id, reason=str(failed[build_id]))
        self._failing = (self._failing - events.keys()) | failed.keys()
        return failed.keys()

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


def _append(files: LogFiles, events: Mapping[str, Sequence[LogEvent]]) -> Mapping[str, StorageFailed]:
    failed = {}
    for build_id, each in events.items():
        try:
            files.append(build_id, each)
        except StorageFailed as error:
            failed[build_id] = error
    return failed


def _describe_end(source: Source, now: datetime, message: str) -> LogEvent:
    return LogEvent(
        time=now,
        kind="exception",
        level="error",
        message=message,
        build_id=source.build_id,
        cell=source.cell,
    )


def name_build(path: str) -> str:
    """Give the id of the build that is served at a path."""
    return path.removeprefix("/").replace("/", "-", 1)


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
