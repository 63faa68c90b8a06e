"""One cell: a workerd process, with a socket for callers and one for orders."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gridiron.errors import WorkersUnavailable
from gridiron.process.child import Child, Command
from gridiron.workers.config import fetch_digest
from gridiron.workers.control import ask_cell
from gridiron.workers.sockets import control_socket, data_socket
from gridiron.workers.start import start_serving

STOP_GRACE = timedelta(seconds=1)
"""How long a cell that is told to end may take before it is killed. It was drained before, if possible."""

OnOutput = Callable[[str, str], None]
"""Gets each line that a component prints: the component's name, the line."""


@dataclass(frozen=True, slots=True)
class CellPlan:
    """What every cell of a pool is started with."""

    workerd: Path
    config: Path
    run_dir: Path  # of the sockets

    def command(self, name: str) -> Command:
        """Say how the cell of a name is started. Its sockets' paths are relative, so that they are short."""
        arguments = (
            str(self.workerd),
            "serve",
            str(self.config),
            "--experimental",  # for the worker loader
            "--socket-addr",
            f"data=unix:{data_socket(name)}",
            "--socket-addr",
            f"control=unix:{control_socket(name)}",
        )
        return Command(name, arguments, cwd=self.run_dir)


class Cell:
    """A cell that serves. `start_cell` makes one."""

    def __init__(self, name: str, child: Child, run_dir: Path, config_digest: str) -> None:
        self.name = name
        self.config_digest = config_digest
        """The sha256 of the configuration that it was started with."""
        self._child = child
        self._run_dir = run_dir
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def uptime(self) -> timedelta:
        """How long it has served."""
        return timedelta(seconds=time.monotonic() - self._started)

    async def wait(self) -> int:
        """Wait for its end; give its return code, negative for a signal. Safe to repeat."""
        return await self._child.wait()

    async def stop(self, grace: timedelta = STOP_GRACE) -> None:
        """End it: SIGTERM, SIGKILL after the grace; and remove its sockets. Safe to repeat."""
        await self._child.stop(grace)
        _remove_sockets(self._run_dir, self.name)


async def start_cell(plan: CellPlan, name: str, on_output: OnOutput) -> Cell:
    """Start a cell and wait until it answers on its control socket.

    Raises ComponentFailed with its last lines when it does not, StorageFailed when there is no configuration;
    nothing is left of it then.
    """
    digest = fetch_digest(plan.config)
    socket = plan.run_dir / control_socket(name)

    async def serves() -> bool:
        try:
            return await ask_cell(socket, "GET", "/health") is not None
        except WorkersUnavailable:  # not yet
            return False

    try:
        child = await start_serving(plan.command(name), lambda line: on_output(name, line), serves)
    except BaseException:
        _remove_sockets(plan.run_dir, name)
        raise
    return Cell(name, child, plan.run_dir, digest)


def _remove_sockets(run_dir: Path, name: str) -> None:
    for socket in (data_socket(name), control_socket(name)):
        (run_dir / socket).unlink(missing_ok=True)
