"""The data plane as a whole: HAProxy and as many cells as there should be, kept running.

Which cells HAProxy should know stands in one place (`_serving`); a HAProxy that was started again gets all of
them, and a cell that ended gets a successor under a new name. Names are never used twice in a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

import structlog

from gridiron.errors import ComponentFailed, GridironError, StorageFailed, WorkersUnavailable
from gridiron.process.backoff import Backoff
from gridiron.process.lock import lock_directory
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain
from gridiron.workers.cell import Cell, CellPlan, OnOutput, start_cell
from gridiron.workers.config import descriptor_limit, ensure_config, fetch_digest, haproxy_config_path
from gridiron.workers.proxy import Proxy, ProxyPlan
from gridiron.workers.sockets import ensure_run_dir, remove_sockets
from gridiron.workers.start import describe_end

log = structlog.get_logger()

DRAIN_LIMIT = timedelta(minutes=2)
"""How long a cell that is being replaced may go on answering. Restate asks a stream that is silent to end after
one minute, and cuts it after another."""

NOTICE_LIMIT = timedelta(seconds=1)
"""How long after HAProxy's sockets its process may be seen to have ended."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool runs, and how long it waits."""

    size: int  # cells
    cell: CellPlan
    proxy: ProxyPlan
    backoff: Backoff = field(default_factory=Backoff)
    drain_limit: timedelta = DRAIN_LIMIT


class Pool:
    """HAProxy and its cells."""

    def __init__(self, plan: PoolPlan, on_output: OnOutput) -> None:
        self._plan = plan
        self._on_output = on_output
        self._proxy = Proxy(plan.proxy, on_output)
        self._proxy_changing = asyncio.Lock()  # held while HAProxy is started again or told of a cell
        self._alive: dict[str, Cell] = {}  # every cell that runs
        self._serving: dict[str, Cell] = {}  # those that HAProxy sends requests to
        self._filling = asyncio.Lock()  # held while cells are started
        self._names = (f"cell-{number}" for number in itertools.count(1))
        self._failures = 0  # cells that ended, or did not start, in a row
        self._tasks: asyncio.TaskGroup | None = None
        self._digest = ""  # of the configuration that every cell runs

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> NoReturn:
        """Start HAProxy and the cells, call `on_ready` when all serve, keep them running until cancelled.

        Raises ComponentFailed when one of them does not start. Nothing is left running however this ends.
        """
        try:
            await self._start()
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._keep_proxy(), name="supervise haproxy")
                for cell in self._serving.values():
                    self._watch(cell)
                on_ready()
        finally:
            await self._stop()
        raise RuntimeError("the supervision of HAProxy ended by itself")

    async def replace_cells(self) -> None:
        """Replace every cell by one with the configuration that is on disk now, where that has changed.

        One by one: the new one serves before the old one is drained, and the old one has ended before the
        next is begun. Safe to repeat. Raises ComponentFailed when a new cell does not start; the rest stay as
        they are then, and the next call goes on from there.
        """
        digest = fetch_digest(self._plan.cell.config)
        if digest == self._digest:
            return
        log.info("cells.replacing", cells=len(self._serving))
        for old in list(self._serving.values()):
            await self._replace(old)
        self._digest = digest
        log.info("cells.replaced", cells=len(self._serving))

    # -- starting and stopping -------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._digest = fetch_digest(self._plan.cell.config)
        await self._proxy.start()
        try:
            async with asyncio.TaskGroup() as starting:
                for _ in range(self._plan.size):
                    starting.create_task(self._start_cell(), name="start a cell")
        except* ComponentFailed as failures:
            failure = failures.exceptions[0]
        else:
            failure = None
        if failure is not None:
            raise failure
        for cell in self._alive.values():
            await self._admit(cell)
