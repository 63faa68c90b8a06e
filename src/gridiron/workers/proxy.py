"""HAProxy as a process, in front of the cells, kept running and told again what it knew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from gridiron.errors import ComponentFailed, WorkersUnavailable
from gridiron.process.backoff import Backoff
from gridiron.process.child import Child, Command
from gridiron.workers.cell import OnOutput
from gridiron.workers.haproxy import CellStatus, HaproxyAdmin, Server
from gridiron.workers.sockets import HAPROXY_SOCKET, QUARANTINE_MAP
from gridiron.workers.start import describe_end, start_serving
from gridiron.workers.status import ProxyCounts

log = structlog.get_logger()

NAME = "haproxy"

STOP_GRACE = timedelta(seconds=1)
"""How long HAProxy may take to end; on SIGTERM it cuts every connection and ends at once."""

NOTICE_LIMIT = timedelta(seconds=1)
"""How long it may take to notice that HAProxy's process has ended, after its socket refused a connection."""


@dataclass(frozen=True, slots=True)
class ProxyPlan:
    """What HAProxy is started with."""

    haproxy: Path
    config: Path
    run_dir: Path  # of the sockets

    def command(self) -> Command:
        """Say how HAProxy is started: in the foreground, in the directory of the sockets."""
        return Command(NAME, (str(self.haproxy), "-db", "-f", str(self.config)), cwd=self.run_dir)


class Proxy:
    """HAProxy, which can be started again after its end, and then learns again of its cells and routes.

    An order to a HAProxy that has just ended is not lost: its next start makes up for it.
    """

    def __init__(self, plan: ProxyPlan, backoff: Backoff, on_output: OnOutput) -> None:
        self._plan = plan
        self._backoff = backoff
        self._on_output = on_output
        self._admin = HaproxyAdmin(plan.run_dir / HAPROXY_SOCKET)
        self._child: Child | None = None
        self._changing = asyncio.Lock()  # held while HAProxy is started again, or told of something
        # cells that are sent requests, in order: HAProxy numbers them as they come and hashes by that
        self._servers: dict[Server, None] = {}
        self._routes: dict[str, str] = {}  # of builds to cells of their own
        self._started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id; None before its first start."""
        return None if self._child is None else self._child.pid

    async def start(self) -> None:
        """Start HAProxy with what it is to know. Raises ComponentFailed, WorkersUnavailable, ProxyRefused."""
        self._started = time.monotonic()
        routes = "".join(f"{key} {cell}\n" for key, cell in self._routes.items())
        (self._plan.run_dir / QUARANTINE_MAP).write_text(routes)
        self._child = await start_serving(
            self._plan.command(), lambda line: self._on_output(NAME, line), self._answers
        )
        for server in tuple(self._servers):
            await self._admin.add(server)

    async def keep(self) -> None:
        """Start HAProxy again whenever it ends, after delays that grow while it does not start."""
        failures = 0
        while True:
            returncode = await self._wait()
            log.warning("haproxy.died", pid=self.pid, reason=describe_end(returncode))
            uptime = timedelta(seconds=time.monotonic() - self._started)
            failures = self._backoff.failures_after(failures, uptime)
            async with self._changing:
                while not await self._restart(failures):
                    failures += 1

    async def stop(self) -> None:
        """End it, and remove its files. Safe to repeat."""
        if self._child is not None:
            await self._child.stop(STOP_GRACE)
        for file in (HAPROXY_SOCKET, QUARANTINE_MAP):
            (self._plan.run_dir / file).unlink(missing_ok=True)

    async def add_cell(self, server: Server) -> None:
        """Send requests to a cell from now on. Safe to repeat. Raises WorkersUnavailable, ProxyRefused."""
        self._servers[server] = None
        await self._tell(lambda: self._admin.add(server))

    async def drain_cell(self, server: Server, limit: timedelta) -> bool:
        """Send a cell nothing new and wait for what it is answering; False when that lasts beyond the limit.

        Safe to repeat. Raises WorkersUnavailable, also where HAProxy has ended, and ProxyRefused.
        """
        self._servers.pop(server, None)
        return await self._admin.drain(server, limit)

    async def remove_cell(self, server: Server) -> None:
        """Forget a cell, and cut what it is still answering. Safe to repeat.

        Raises WorkersUnavailable, ProxyRefused.
        """
        self._servers.pop(server, None)
        await self._tell(lambda: self._admin.delete(server))

    async def route(self, key: str, cell: str) -> None:
        """Send a build's requests to a cell of its own, which need not be there yet: they fail until it is.

        Safe to repeat. Raises WorkersUnavailable, ProxyRefused.
        """
        self._routes[key] = cell
        await self._tell(lambda: self._admin.route(key, cell))

    async def unroute(self, key: str) -> None:
        """Send a build's requests to the shared cells again. Safe to repeat.

        Raises WorkersUnavailable, ProxyRefused.
        """
        self._routes.pop(key, None)
        await self._tell(lambda: self._admin.unroute(key))

    async def fetch_cells(self) -> tuple[CellStatus, ...]:
        """Give the cells that HAProxy knows. Raises WorkersUnavailable, ProxyRefused."""
        return await self._admin.fetch_cells()

    async def fetch_counts(self) -> ProxyCounts:
        """Give what HAProxy has counted since its start. Raises WorkersUnavailable, ProxyRefused."""
        return await self._admin.fetch_counts()

    async def _wait(self) -> int:
        if self._child is None:
            raise RuntimeError("HAProxy was not started")
        return await self._child.wait()

    async def _restart(self, failures: int) -> bool:
        await asyncio.sleep(self._backoff.delay(failures).total_seconds())
        try:
            await self.start()
        except (ComponentFailed, WorkersUnavailable) as error:
            log.error("haproxy.not_started", reason=str(error))  # noqa: TRY400 - its sentence says it all
            await self.stop()
            return False
        log.info("haproxy.started", pid=self.pid, cells=len(self._servers))
        return True

    async def _tell(self, order: Callable[[], Awaitable[None]]) -> None:
        async with self._changing:
            try:
                await order()
            except WorkersUnavailable:
                if not await self._has_ended():
                    raise

    async def _has_ended(self) -> bool:
        try:
            async with asyncio.timeout(NOTICE_LIMIT.total_seconds()):
                await self._wait()
        except TimeoutError:
            return False
        return True

    async def _answers(self) -> bool:
        try:
            await self._admin.fetch_cells()
        except WorkersUnavailable:  # not yet
            return False
        return True
