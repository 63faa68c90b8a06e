"""The data plane as a whole: HAProxy and as many cells as there should be, kept running.

Which cells HAProxy should know stands in one place (`_serving`): a HAProxy that was started again gets all of
them. A cell that ended gets a successor under a new name; no name is used twice in a run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

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
"""How long a cell that is being replaced may go on answering. Restate asks a silent stream to end after one
minute and cuts it after another (its inactivity and abort timeouts)."""

NOTICE_LIMIT = timedelta(seconds=1)
"""How long it may take to notice that HAProxy's process has ended, after its socket refused a connection."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool runs, and how long it waits."""

    size: int  # cells
    cell: CellPlan
    proxy: ProxyPlan
    backoff: Backoff = field(default_factory=Backoff)
    drain_limit: timedelta = DRAIN_LIMIT


class Pool:
    """HAProxy and its cells. It runs once."""

    def __init__(self, plan: PoolPlan, on_output: OnOutput) -> None:
        self._plan = plan
        self._on_output = on_output
        self._tasks = asyncio.TaskGroup()
        self._proxy = Proxy(plan.proxy, on_output)
        self._proxy_changing = asyncio.Lock()  # held while HAProxy is started again, or told of a cell
        self._alive: dict[str, Cell] = {}  # every cell that runs
        self._serving: dict[str, Cell] = {}  # those that HAProxy sends requests to
        self._filling = asyncio.Lock()  # held while cells are added to those that serve
        self._names = (f"cell-{number}" for number in itertools.count(1))
        self._failures = 0  # cells that ended or did not start, in a row

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start HAProxy and the cells, call `on_ready` when all serve, and keep them running until cancelled.

        Raises an ExceptionGroup or a GridironError with what keeps it from that, such as ComponentFailed.
        Nothing is left running however this ends.
        """
        try:
            await self._proxy.start()
            async with asyncio.TaskGroup() as starting:
                for _ in range(self._plan.size):
                    starting.create_task(self._start_cell(), name="start a cell")
            async with self._tasks:
                for cell in list(self._alive.values()):
                    await self._admit(cell)
                self._tasks.create_task(self._keep_proxy(), name="supervise haproxy")
                on_ready()
        finally:
            await asyncio.gather(self._proxy.stop(), *(cell.stop() for cell in self._alive.values()))

    async def replace_cells(self) -> None:
        """Replace the cells that run another configuration than the one on disk. Safe to repeat.

        One by one: a new cell serves before the old one is drained, and the old one has ended before the next
        is begun. Raises ComponentFailed when a new cell does not start: those not replaced by then go on.
        """
        digest = fetch_digest(self._plan.cell.config)
        outdated = [cell for cell in self._serving.values() if cell.config_digest != digest]
        for cell in outdated:
            await self._replace(cell)
        if outdated:
            log.info("cells.replaced", cells=len(outdated))

    # -- cells -----------------------------------------------------------------------------------------------

    async def _start_cell(self) -> Cell:
        cell = await start_cell(self._plan.cell, next(self._names), self._on_output)
        self._alive[cell.name] = cell
        log.info("cell.started", cell=cell.name, pid=cell.pid)
        return cell

    async def _admit(self, cell: Cell) -> None:
        """Have requests sent to a cell, and watch it from now on."""
        self._serving[cell.name] = cell
        await self._tell_proxy(lambda: self._proxy.add_cell(cell.name))
        self._tasks.create_task(self._keep_cell(cell), name=f"supervise {cell.name}")

    async def _keep_cell(self, cell: Cell) -> None:
        """Wait for a cell's end, and put another in its place unless it was told to end."""
        returncode = await cell.wait()
        if self._serving.pop(cell.name, None) is None:
            return
        log.warning("cell.died", cell=cell.name, pid=cell.pid, reason=describe_end(returncode))
        self._failures = self._plan.backoff.failures_after(self._failures, cell.uptime)
        await self._dismiss(cell)
        await self._fill()

    async def _fill(self) -> None:
        """Start cells until there are enough, each after a delay that grows while they do not start."""
        async with self._filling:
            while len(self._serving) < self._plan.size:
                await asyncio.sleep(self._plan.backoff.delay(self._failures).total_seconds())
                try:
                    cell = await self._start_cell()
                except (ComponentFailed, StorageFailed) as error:
                    self._failures += 1
                    log.error("cell.not_started", reason=str(error))  # noqa: TRY400 - its sentence says it all
                    continue
                await self._admit(cell)

    async def _replace(self, old: Cell) -> None:
        async with self._filling:
            if old.name not in self._serving:  # it ended by itself: its successor is a new one
                return
            await self._admit(await self._start_cell())
            withdrawn = self._serving.pop(old.name, None)
        if withdrawn is None:
            return
        try:
            if not await self._proxy.drain_cell(old.name, self._plan.drain_limit):
                log.warning("cell.cut_off", cell=old.name, after=str(self._plan.drain_limit))
        except WorkersUnavailable as error:  # HAProxy has ended, and with it all that the cell was answering
            log.warning("cell.not_drained", cell=old.name, reason=str(error))
        await self._dismiss(old)

    async def _dismiss(self, cell: Cell) -> None:
        """End a cell, then have HAProxy forget it: that works once their connections are closed."""
        await cell.stop()
        await self._tell_proxy(lambda: self._proxy.remove_cell(cell.name))
        del self._alive[cell.name]

    # -- HAProxy ---------------------------------------------------------------------------------------------

    async def _tell_proxy(self, order: Callable[[], Awaitable[None]]) -> None:
        """Give HAProxy an order; where it has ended, its next start makes up for that."""
        async with self._proxy_changing:
            try:
                await order()
            except WorkersUnavailable:
                if not await self._has_proxy_ended():
                    raise

    async def _has_proxy_ended(self) -> bool:
        try:
            await asyncio.wait_for(self._proxy.wait(), NOTICE_LIMIT.total_seconds())
        except TimeoutError:
            return False
        return True

    async def _keep_proxy(self) -> None:
        """Start HAProxy again whenever it ends."""
        failures = 0
        while True:
            returncode = await self._proxy.wait()
            log.warning("haproxy.died", pid=self._proxy.pid, reason=describe_end(returncode))
            failures = self._plan.backoff.failures_after(failures, self._proxy.uptime)
            async with self._proxy_changing:
                while not await self._restart_proxy(failures):
                    failures += 1

    async def _restart_proxy(self, failures: int) -> bool:
        """Try to bring HAProxy back after a delay, with every cell that serves."""
        await asyncio.sleep(self._plan.backoff.delay(failures).total_seconds())
        try:
            await self._proxy.start()
            for name in list(self._serving):
                await self._proxy.add_cell(name)
        except (ComponentFailed, WorkersUnavailable) as error:
            log.error("haproxy.not_started", reason=str(error))  # noqa: TRY400 - its sentence says it all
            await self._proxy.stop()
            return False
        log.info("haproxy.started", pid=self._proxy.pid, cells=len(self._serving))
        return True


# -- the role ------------------------------------------------------------------------------------------------


async def run_workers(settings: Settings, toolchain: Toolchain) -> None:
    """Run the data plane until SIGTERM or SIGINT; SIGHUP has it take up a changed configuration.

    Raises DirectoryInUse when another process runs it in the same directory, what a broken toolchain, setting
    or template raises, and what `Pool.run` does. Nothing is left running however this ends.
    """
    plan = plan_pool(settings, toolchain)
    ensure_run_dir(settings.run_dir)
    with lock_directory(settings.run_dir):
        remove_sockets(settings.run_dir)
        raise_descriptor_limit()
        _ensure_bundles_dir(settings)
        await asyncio.to_thread(ensure_config, settings, toolchain)
        await _run_until_stopped(Pool(plan, print_output), settings, toolchain)


def plan_pool(settings: Settings, toolchain: Toolchain) -> PoolPlan:
    """Say what the settings ask for. Raises ToolMissing or ToolVersionWrong."""
    return PoolPlan(
        size=settings.cells or os.cpu_count() or 1,
        cell=CellPlan(toolchain.workerd().path, settings.workerd_config_path, settings.run_dir),
        proxy=ProxyPlan(toolchain.haproxy().path, haproxy_config_path(settings), settings.run_dir),
    )


def raise_descriptor_limit() -> None:
    """Let this process and its children have as many files open as the generated configuration counts on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptor_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptor_limit(), hard))


def print_output(component: str, line: str) -> None:
    """Hand on what HAProxy or a cell prints: the console output of the builds, most of all."""
    sys.stdout.write(f"{component} | {line}\n")
    sys.stdout.flush()


def _ensure_bundles_dir(settings: Settings) -> None:
    try:
        settings.bundles_dir.mkdir(parents=True, exist_ok=True)  # workerd does not start without it
    except OSError as error:
        raise StorageFailed("Making", str(settings.bundles_dir), error.strerror or str(error)) from error


async def _run_until_stopped(pool: Pool, settings: Settings, toolchain: Toolchain) -> None:
    ready, hung_up, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(pool.run(ready.set), name="pool"),
            group.create_task(
                _apply_changes(pool, ready, hung_up, lambda: ensure_config(settings, toolchain)),
                name="apply changes",
            ),
        ]
        await stopping.wait()
        for task in tasks:
            task.cancel()
    log.info("workers.stopped")


async def _apply_changes(
    pool: Pool, ready: asyncio.Event, hung_up: asyncio.Event, ensure: Callable[[], bool]
) -> None:
    """Render the configuration anew on each SIGHUP, and replace the cells that run another one.

    Somebody else may have rendered it before, so that nothing changes here: the cells' own digests tell. What
    goes wrong is logged, and the cells that there are go on with what they have.
    """
    await ready.wait()
    log.info("workers.ready")
    while True:
        await hung_up.wait()
        hung_up.clear()
        try:
            await asyncio.to_thread(ensure)
            await pool.replace_cells()
        except GridironError as error:
            log.error("config.not_applied", code=error.code, reason=str(error))  # noqa: TRY400 - it says it all
