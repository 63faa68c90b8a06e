"""HAProxy as a process, in front of the cells."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gridiron.errors import WorkersUnavailable
from gridiron.process.child import Child, Command
from gridiron.workers.cell import OnOutput
from gridiron.workers.haproxy import CellStatus, HaproxyAdmin, Server
from gridiron.workers.sockets import HAPROXY_SOCKET, QUARANTINE_MAP
from gridiron.workers.start import start_serving

NAME = "haproxy"

STOP_GRACE = timedelta(seconds=1)
"""How long HAProxy may take to end; on SIGTERM it cuts every connection and ends at once."""


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
    """HAProxy, which can be started again after its end. It knows no cell when it starts."""

    def __init__(self, plan: ProxyPlan, on_output: OnOutput) -> None:
        self._plan = plan
        self._on_output = on_output
        self._admin = HaproxyAdmin(plan.run_dir / HAPROXY_SOCKET)
        self._child: Child | None = None
        self._routes: dict[str, str] = {}  # of builds to cells of their own; HAProxy gets them at its start
        self._started = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Its process id; None before its first start."""
        return None if self._child is None else self._child.pid

    @property
    def uptime(self) -> timedelta:
        """How long ago it was started."""
        return timedelta(seconds=time.monotonic() - self._started)

    async def start(self) -> None:
        """Start HAProxy and wait until it answers on its admin socket. Raises ComponentFailed."""
        self._started = time.monotonic()
        routes = "".join(f"{key} {cell}\n" for key, cell in self._routes.items())
        (self._plan.run_dir / QUARANTINE_MAP).write_text(routes)
        self._child = await start_serving(
            self._plan.command(), lambda line: self._on_output(NAME, line), self._answers
        )

    async def wait(self) -> int:
        """Wait for its end; give its return code, negative for a signal. It must have been started."""
        if self._child is None:
            raise RuntimeError("HAProxy was not started")
        return await self._child.wait()

    async def stop(self) -> None:
        """End it, and remove its files. Safe to repeat."""
        if self._child is not None:
            await self._child.stop(STOP_GRACE)
        for file in (HAPROXY_SOCKET, QUARANTINE_MAP):
            (self._plan.run_dir / file).unlink(missing_ok=True)

    async def add_cell(self, server: Server) -> None:
        """Send requests to a cell from now on. Safe to repeat. Raises WorkersUnavailable, ProxyRefused."""
        await self._admin.add(server)

    async def drain_cell(self, server: Server, limit: timedelta) -> bool:
        """Send a cell nothing new and wait for what it is answering; False when that lasts beyond the limit.

        Safe to repeat. Raises WorkersUnavailable, ProxyRefused.
        """
        return await self._admin.drain(server, limit)

    async def remove_cell(self, server: Server) -> None:
        """Forget a cell, and cut what it is still answering. Safe to repeat.

        Raises WorkersUnavailable, ProxyRefused.
        """
        await self._admin.delete(server)

    async def route(self, key: str, cell: str) -> None:
        """Send a build's requests to a cell of its own, which need not be there yet: they fail until it is.

        HAProxy knows it after its next start too. Safe to repeat. Raises WorkersUnavailable, ProxyRefused.
        """
        self._routes[key] = cell
        await self._admin.route(key, cell)

    async def unroute(self, key: str) -> None:
        """Send a build's requests to the shared cells again. Safe to repeat.

        Raises WorkersUnavailable, ProxyRefused.
        """
        self._routes.pop(key, None)
        await self._admin.unroute(key)

    async def fetch_cells(self) -> tuple[CellStatus, ...]:
        """Give the cells that HAProxy knows. Raises WorkersUnavailable, ProxyRefused."""
        return await self._admin.fetch_cells()

    async def _answers(self) -> bool:
        try:
            await self._admin.fetch_cells()
        except WorkersUnavailable:  # not yet
            return False
        return True
