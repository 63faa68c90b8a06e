"""The data plane as a whole: HAProxy and as many cells as there should be, watched and kept running.

A cell that ended gets a successor under a new name; no name is used twice in a run.

Cells come in groups: one group serves all builds, and each build that is suspected or in quarantine has a
group of its own. Suspected are those that were in flight when a cell died and have not answered much yet: by
themselves they show whether it was their doing, and nobody else is there when it happens again.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from gridiron.errors import ComponentFailed, ProxyRefused, StorageFailed, WorkersUnavailable
from gridiron.process.backoff import Backoff
from gridiron.workers.cell import Cell, CellPlan, OnOutput, Purpose, start_cell
from gridiron.workers.collector import Collector
from gridiron.workers.culprits import PROVEN, WINDOW
from gridiron.workers.memory import fetch_oom_kills
from gridiron.workers.proxy import NAME as HAPROXY
from gridiron.workers.proxy import Proxy, ProxyPlan
from gridiron.workers.quarantine import MOST_QUARANTINED, Quarantine, Quarantined
from gridiron.workers.start import describe_end
from gridiron.workers.status import ProxyCounts
from gridiron.workers.suspicion import Suspicion
from gridiron.workers.traffic import Traffic
from gridiron.workers.watchdog import KILLS, Limits, Reason, judge

log = structlog.get_logger()

DRAIN_LIMIT = timedelta(minutes=2)
"""How long a cell that is being replaced may go on answering. Restate asks a silent stream to end after one
minute and cuts it after another (its inactivity and abort timeouts)."""

WATCH_INTERVAL = timedelta(milliseconds=500)
"""How often a cell is looked at. An unbounded loop that allocates fills about a gigabyte in this time."""

COUNT_LIMIT = timedelta(milliseconds=200)
"""How long HAProxy may take to say what it has counted; it takes a millisecond."""

START_BROKEN = timedelta(seconds=2)
"""A cell that ends sooner than this is taken to be broken, and its next start is put off more and more."""

NOWHERE = "none"
"""The cell of a quarantined build whose own cell does not serve yet: its requests fail, and are retried."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool runs, and how long it waits."""

    size: int  # cells for all builds
    cell: CellPlan
    proxy: ProxyPlan
    limits: Limits  # of such a cell
    quarantine_limits: Limits  # of the cell of a quarantined build
    idle_limit: timedelta | None = None  # a build without a request for so long is unloaded
    backoff: Backoff = field(default_factory=lambda: Backoff(reset_after=START_BROKEN))
    drain_limit: timedelta = DRAIN_LIMIT


@dataclass(slots=True)
class Group:
    """Cells that serve the same builds."""

    purpose: Purpose
    size: int
    failures: int = 0  # cells that ended or did not start, in a row
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while cells are added to it


class Pool:
    """HAProxy and its cells. It runs once."""

    def __init__(
        self, plan: PoolPlan, quarantine: Quarantine, collector: Collector, on_output: OnOutput
    ) -> None:
        self.quarantine = quarantine
        self.restarts: Counter[Reason] = Counter()
        """Cells that were replaced, by reason."""
        self.traffic = Traffic()
        """What the cells have answered."""
        self._plan = plan
        self._collector = collector
        self._on_output = on_output
        self._suspicion = Suspicion()
        self._oom_kills = fetch_oom_kills()
        self._tasks = asyncio.TaskGroup()
        self._proxy = Proxy(plan.proxy, plan.backoff, self._read_output)
        self._replacing = asyncio.Lock()  # held while cells are replaced one by one
        self._alive: dict[str, Cell] = {}  # every cell that runs
        self._serving: dict[str, Cell] = {}  # those that HAProxy sends requests to
        self._groups = {None: Group(Purpose(plan.limits), plan.size)} | {
            key: self._plan_group(key, plan.quarantine_limits) for key in quarantine.builds
        }
        self._names = (f"cell-{number}" for number in itertools.count(1))

    @property
    def cells(self) -> Iterable[Cell]:
        """Every cell that runs, those that are being replaced included."""
        return tuple(self._alive.values())

    @property
    def size(self) -> int:
        """How many cells there are to be for all builds."""
        return self._plan.size

    async def fetch_proxy(self) -> ProxyCounts | None:
        """Give what HAProxy has counted since its start; None where it does not say so at once."""
        try:
            async with asyncio.timeout(COUNT_LIMIT.total_seconds()):
                return await self._proxy.fetch_counts()
        except (TimeoutError, WorkersUnavailable, ProxyRefused):
            return None

    def is_serving(self, cell: Cell) -> bool:
        """Tell whether HAProxy sends requests to a cell."""
        return cell.name in self._serving

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start HAProxy and the cells, call `on_ready` when all serve, and keep them running until cancelled.

        Raises an ExceptionGroup or a GridironError with what keeps it from that, such as ComponentFailed.
        Nothing is left running however this ends.
        """
        try:
            await self._proxy.start()
            for key in self.quarantine.builds:
                await self._proxy.route(key, NOWHERE)
            async with asyncio.TaskGroup() as starting:
                for group in self._groups.values():
                    for _ in range(group.size):
                        starting.create_task(self._start_cell(group), name="start a cell")
            async with self._tasks:
                for cell in self.cells:
                    await self._admit(cell)
                self._tasks.create_task(self._proxy.keep(), name="supervise haproxy")
                on_ready()
        finally:
            await asyncio.gather(self._proxy.stop(), *(cell.stop() for cell in self.cells))

    async def replace_cells(self, reason: Reason) -> int:
        """Replace the cells one by one: all of them by order, else those of another configuration or workerd.

        A new cell serves before the old one is drained, and the old one has ended before the next is begun.
        Gives how many there were. Safe to repeat. Raises ComponentFailed when a new cell does not start:
        those not replaced by then go on.
        """
        async with self._replacing:
            generation = self._plan.cell.fetch_generation()
            outdated = [
                cell
                for cell in self._serving.values()
                if reason is Reason.ORDER or cell.generation != generation
            ]
            for cell in outdated:
                await self._replace(cell, reason)
        if outdated:
            log.info("cells.replaced", cells=len(outdated), reason=reason)
        return len(outdated)

    async def release(self, key: str) -> bool:
        """Have a build served by the cells of all again; False when it was not in quarantine.

        Raises StorageFailed when that cannot be written down.
        """
        was_quarantined = self.quarantine.remove(key)
        self._suspicion.forget(key)
        group = self._groups.pop(key, None)
        if group is None:
            return was_quarantined
        await self._proxy.unroute(key)
        log.info("build.released", path=f"/{key}")
        async with group.filling:  # a cell that is just being started for it is known then
            for cell in [each for each in self._serving.values() if each.purpose is group.purpose]:
                self._tasks.create_task(self._retire(cell), name=f"retire {cell.name}")
        return was_quarantined

    async def collect_log(self, key: str) -> tuple[str, ...]:
        """Have what a build has printed until now written into its log; name the cells that do not answer."""
        path = f"/{key}"
        cells = [cell for cell in self.cells if cell.purpose.own in {None, key}]
        cells = [cell for cell in cells if path in cell.loaded or path in cell.failed] or cells
        answered = await asyncio.gather(*(self._collector.collect(cell, path) for cell in cells))
        return tuple(cell.name for cell, told in zip(cells, answered, strict=True) if not told)

    # -- cells -----------------------------------------------------------------------------------------------

    def _plan_group(self, key: str, limits: Limits) -> Group:
        return Group(Purpose(limits, own=key), size=1)

    async def _start_cell(self, group: Group) -> Cell:
        cell = await start_cell(self._plan.cell, next(self._names), group.purpose, self._on_output)
        self._alive[cell.name] = cell
        log.info("cell.started", cell=cell.name, pid=cell.pid, own=cell.purpose.own)
        return cell

    async def _admit(self, cell: Cell) -> None:
        """Have requests sent to a cell, and watch it from now on."""
        self._serving[cell.name] = cell
        await self._proxy.add_cell(cell.server)
        if cell.purpose.own is not None:
            await self._proxy.route(cell.purpose.own, cell.name)
        self._tasks.create_task(self._keep_cell(cell), name=f"supervise {cell.name}")

    async def _keep_cell(self, cell: Cell) -> None:
        """Wait for a cell's end, and put another in its place unless it was told to end."""
        looking = {
            self._tasks.create_task(self._watch_cell(cell), name=f"watch {cell.name}"),
            self._tasks.create_task(self._collector.keep(cell), name=f"collect from {cell.name}"),
        }
        try:
            returncode = await cell.wait()
        finally:
            for task in looking:
                task.cancel()
            await asyncio.wait(looking)
            await self._collector.finish(cell)  # where this is cancelled, it still runs
            await cell.close()
            self._collector.forget(cell)
        if cell.dismissed:
            return
        ended_at = asyncio.get_running_loop().time() - WATCH_INTERVAL.total_seconds()
        self._serving.pop(cell.name, None)
        reason = cell.condemned or self._explain_end(returncode)
        how = describe_end(returncode)
        log.warning("cell.died", cell=cell.name, pid=cell.pid, why=reason, reason=how, own=cell.purpose.own)
        self.restarts[reason] += 1
        self._tasks.create_task(self._count_cuts(cell.name, ended_at), name=f"count the end of {cell.name}")
        end = f"{cell.name} ended ({reason}), and with it what it was answering"
        self._tasks.create_task(self._collector.tell(cell, end), name=f"tell of the end of {cell.name}")
        cleared = asyncio.Event()
        group = self._groups.get(cell.purpose.own)
        if group is not None:
            group.failures = self._plan.backoff.failures_after(group.failures, cell.uptime)
            self._tasks.create_task(self._fill(group, cleared), name="fill the place of a cell")
        await self._dismiss(cell)  # first: HAProxy goes on trying a dead cell
        if reason is not Reason.KILLED and cell.purpose.own not in self.quarantine.builds:
            await self._investigate(cell, ended_at, reason)  # before another cell meets the same build
        cleared.set()

    async def _count_cuts(self, cell: str, ended_at: float) -> None:
        for key in await self._suspicion.await_cuts(cell, ended_at):
            self.traffic.cut(f"/{key}")

    def _explain_end(self, returncode: int) -> Reason:
        """Tell a cell that somebody killed from one that ended for reasons of its own.

        The kernel kills as people do when memory has run out, but counts it.
        """
        before, self._oom_kills = self._oom_kills, fetch_oom_kills()
        was_killed = returncode == -signal.SIGKILL and self._oom_kills is not None
        return Reason.KILLED if was_killed and self._oom_kills == before else Reason.DIED

    async def _watch_cell(self, cell: Cell) -> None:
        """Look at a cell again and again until it ends, and have it go when it has to."""
        limits = cell.purpose.limits
        replacing = False
        while not cell.dismissed:
            reading = await cell.watch(WATCH_INTERVAL)
            if reading is None or cell.dismissed:
                return
            if not reading.silence:
                self.traffic.see(cell.name, cell.said)
            reason = judge(reading, limits)
            if reason in KILLS:
                if not reading.silence:
                    await self._collector.finish(cell)
                cell.kill(reason)
                return
            if reason is not None and not replacing and cell.name in self._serving:
                replacing = True
                self._tasks.create_task(self._replace_watched(cell, reason), name=f"replace {cell.name}")
            self._suspicion.trust(
                path.removeprefix("/") for path, build in cell.loaded.items() if build["answered"] >= PROVEN
            )
            if not reading.silence and self._plan.idle_limit is not None:
                await self._unload_idle(cell, self._plan.idle_limit)

    async def _unload_idle(self, cell: Cell, limit: timedelta) -> None:
        for path, build in cell.loaded.items():
            if build["in_flight"] == 0 and build["idle_seconds"] > limit.total_seconds():
                collected = await self._collector.collect(cell, path)
                try:
                    await cell.unload(path)
                except WorkersUnavailable as error:  # the next look at the cell tells what that means
                    log.warning("build.not_unloaded", path=path, reason=str(error))
                    return
                if not collected:  # that took its time, and the cell is to be looked at
                    return

    async def _replace_watched(self, cell: Cell, reason: Reason) -> None:
        try:
            async with self._replacing:
                await self._replace(cell, reason)
        except (ComponentFailed, StorageFailed) as error:
            log.error("cell.not_replaced", cell=cell.name, reason=str(error))  # noqa: TRY400 - it says it all

    async def _fill(self, group: Group, cleared: asyncio.Event | None = None) -> None:
        """Start cells until there are enough, each after a delay that grows while they do not start.

        None is sent a request before it is cleared up which builds must not come to it.
        """
        while self._lacks_cells(group):
            await asyncio.sleep(self._plan.backoff.delay(group.failures).total_seconds())
            async with group.filling:  # not for the delay: who releases the build waits for this
                if not self._lacks_cells(group):
                    return
                try:
                    cell = await self._start_cell(group)
                except (ComponentFailed, StorageFailed) as error:
                    group.failures += 1
                    log.error("cell.not_started", reason=str(error))  # noqa: TRY400 - its sentence says it all
                    continue
                if cleared is not None:
                    await cleared.wait()
                if group in self._groups.values():
                    await self._admit(cell)
                else:  # what it was for has been released, or put into quarantine
                    await self._dismiss(cell)

    def _lacks_cells(self, group: Group) -> bool:
        """Tell whether a group is still there and has too few cells."""
        serving = sum(1 for cell in self._serving.values() if cell.purpose is group.purpose)
        return serving < group.size and group in self._groups.values()

    async def _replace(self, old: Cell, reason: Reason) -> None:
        group = self._groups.get(old.purpose.own)
        if group is None:  # its build was released
            return
        async with group.filling:
            if old.name not in self._serving:  # it ended by itself: its successor is a new one
                return
            await self._admit(await self._start_cell(group))
        self.restarts[reason] += 1
        log.info("cell.replaced", cell=old.name, why=reason)
        await self._retire(old)

    async def _retire(self, cell: Cell) -> None:
        """Send a cell nothing new, wait for what it is answering, and end it."""
        if self._serving.pop(cell.name, None) is None:
            return
        try:
            if not await self._proxy.drain_cell(cell.server, self._plan.drain_limit):
                log.warning("cell.cut_off", cell=cell.name, after=str(self._plan.drain_limit))
        except WorkersUnavailable as error:  # HAProxy has ended, and with it all that the cell was answering
            log.warning("cell.not_drained", cell=cell.name, reason=str(error))
        await self._dismiss(cell)

    async def _dismiss(self, cell: Cell) -> None:
        """End a cell, then have HAProxy forget it: that works once their connections are closed."""
        if not cell.has_ended:
            await self._collector.finish(cell)
        await cell.stop()
        await self._proxy.remove_cell(cell.server)
        self._alive.pop(cell.name, None)
        self.traffic.forget(cell.name)

    # -- builds that bring cells down ------------------------------------------------------------------------

    async def _investigate(self, cell: Cell, ended_at: float, reason: Reason) -> None:
        """Find the builds that may have brought a cell down, and keep them from doing so to others again."""
        verdict = await self._suspicion.investigate(cell.name, cell.purpose.own, ended_at)
        if verdict.culprit is not None:
            await self._quarantine(verdict.culprit, reason)
        for key in verdict.unproven:
            await self._suspect(key)

    async def _suspect(self, key: str) -> None:
        """Have a build served by a cell of its own until it has done no harm for a while."""
        if not self._may_isolate(key):
            return
        log.warning("build.suspected", path=f"/{key}")
        group = self._plan_group(key, self._plan.limits)
        self._tasks.create_task(self._trust_again(key, group), name=f"trust {key} again")
        await self._isolate(key, group)

    async def _trust_again(self, key: str, group: Group) -> None:
        await asyncio.sleep(WINDOW.total_seconds())
        if self._groups.get(key) is group:
            await self.release(key)

    async def _quarantine(self, key: str, reason: Reason) -> None:
        """Put a build into quarantine: it is served by a cell of its own from now on."""
        if key not in self._groups and not self._may_isolate(key):
            return
        log.warning("build.quarantined", path=f"/{key}", why=reason)
        try:
            self.quarantine.add(Quarantined(key=key, since=datetime.now(UTC), reason=reason))
        except StorageFailed as error:  # it holds as long as this process runs
            log.error("quarantine.not_stored", path=f"/{key}", reason=str(error))  # noqa: TRY400 - it says it all
        await self._isolate(key, self._plan_group(key, self._plan.quarantine_limits))

    def _may_isolate(self, key: str) -> bool:
        if key in self._groups or not self.quarantine.is_stored(key):
            return False
        if len(self._groups) <= MOST_QUARANTINED:  # one of the groups is everybody's
            return True
        log.error("build.not_quarantined", path=f"/{key}", reason=f"{MOST_QUARANTINED} builds are already")
        return False

    async def _isolate(self, key: str, group: Group) -> None:
        """Send a build's requests nowhere until it has a cell of its own."""
        self._groups[key] = group
        await self._proxy.route(key, NOWHERE)
        self._tasks.create_task(self._fill(group), name=f"fill the place of {key}")

    def _read_output(self, component: str, line: str) -> None:
        if component != HAPROXY or not self._suspicion.read(line):
            self._on_output(component, line)
