"""One cell: a workerd process, with a socket for callers and one for orders."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from gridiron.errors import StorageFailed, WorkersUnavailable
from gridiron.process.child import Child, Command
from gridiron.workers.config import fetch_digest
from gridiron.workers.control import Control, ask_once
from gridiron.workers.haproxy import Server
from gridiron.workers.memory import fetch_memory
from gridiron.workers.sockets import control_socket, data_socket
from gridiron.workers.start import start_serving
from gridiron.workers.watchdog import Limits, Reading, Reason

STOP_GRACE = timedelta(seconds=1)
"""How long a cell that is told to end may take before it is killed. It was drained before, if possible."""

NICENESS = 10
"""Of a cell that serves one quarantined build: what that does to the processors is no neighbour's concern."""

OnOutput = Callable[[str, str], None]
"""Gets each line that a component prints: the component's name, the line."""


@dataclass(frozen=True, slots=True)
class CellPlan:
    """What every cell of a pool is started with."""

    workerd: Path
    config: Path
    run_dir: Path  # of the sockets

    def fetch_generation(self) -> str:
        """Name the configuration and the workerd that are on disk now. Raises StorageFailed."""
        try:
            found = self.workerd.stat()
        except OSError as error:
            raise StorageFailed("Reading", str(self.workerd), error.strerror or str(error)) from error
        return f"{fetch_digest(self.config)} {found.st_size} {found.st_mtime_ns}"

    def command(self, name: str, niceness: int) -> Command:
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
        return Command(name, arguments, cwd=self.run_dir, niceness=niceness)


@dataclass(frozen=True, slots=True)
class Purpose:
    """Which builds a cell serves, and what it may do."""

    limits: Limits
    own: str | None = None  # key of the quarantined build that it is for; None: all the others


class Cell:
    """A cell that serves. `start_cell` makes one."""

    def __init__(self, name: str, child: Child, run_dir: Path, purpose: Purpose, generation: str) -> None:
        self.name = name
        self.purpose = purpose
        self.generation = generation
        """Of the configuration and the workerd that it was started with; see `fetch_generation`."""
        self.dismissed = False
        """It was told to end."""
        self.condemned: Reason | None = None
        """Why it was killed."""
        self.said: Mapping[str, Any] = {"builds": [], "failed": [], "evictions": 0, "refused": {}}
        """What it answered last."""
        self.loaded: Mapping[str, Mapping[str, Any]] = {}
        """The builds that it had loaded then, by path."""
        self.failed: frozenset[str] = frozenset()
        """The builds that it could not load as their scripts failed, by path."""
        self._child = child
        self._run_dir = run_dir
        self._control = Control(run_dir / control_socket(name))
        self._asking: asyncio.Task[dict[str, Any] | None] | None = None
        self._silence = timedelta(0)
        self._started = time.monotonic()
        self._first_memory = self.memory

    @property
    def server(self) -> Server:
        """What HAProxy knows it as."""
        return Server(self.name, own=self.purpose.own is not None)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._child.returncode is not None

    @property
    def uptime(self) -> timedelta:
        """How long it has served."""
        return timedelta(seconds=time.monotonic() - self._started)

    @property
    def memory(self) -> int:
        """The bytes that it has in memory; 0 when it has ended."""
        return fetch_memory(self.pid) or 0

    async def watch(self, interval: timedelta) -> Reading | None:
        """Ask it how it is, and see after an interval what it has said; None when it has ended.

        What it has not answered by then is waited for the next time. Its silence is counted in intervals, so
        that it is not blamed where this process itself was held up for longer.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._control.ask("GET", "/builds"), name=f"ask {self.name}")
        await asyncio.sleep(interval.total_seconds())
        self._silence += interval if self._silence else 2 * interval  # since its last answer
        if self._asking.done():
            asking, self._asking = self._asking, None
            try:
                answer = asking.result()
            except WorkersUnavailable:  # it is asked again
                return self._reading()
            if answer is None:
                return None
            self._silence = timedelta(0)
            self._note(answer)
        return self._reading()

    async def look(self) -> None:
        """Ask it what it has loaded; nothing changes where it has ended. Raises WorkersUnavailable."""
        answer = await self._control.ask("GET", "/builds")
        if answer is not None:
            self._note(answer)

    def _note(self, answer: Mapping[str, Any]) -> None:
        self.loaded = {build["path"]: build for build in answer["builds"]}
        self.failed = frozenset(answer["failed"])
        self.said = answer

    async def unload(self, path: str) -> None:
        """Unload a build that answers nothing now. Safe to repeat. Raises WorkersUnavailable."""
        await self._control.ask("DELETE", f"/builds{path}?idle")

    async def read_logs(self, cursors: Mapping[str, str | None]) -> Mapping[str, Any]:
        """Read what builds have printed since their cursors, by path, as far as there is room for that.

        None stands for a log that cannot be read; a cell that has ended has none. Raises WorkersUnavailable.
        """
        answer = await self._control.ask("POST", "/logs", body={"cursors": cursors})
        return {} if answer is None else answer["logs"]

    async def wait(self) -> int:
        """Wait for its end; give its return code, negative for a signal. Safe to repeat."""
        return await self._child.wait()

    def kill(self, reason: Reason) -> None:
        """End it at once. Safe to repeat."""
        self.condemned = reason
        self._child.send_signal(signal.SIGKILL)

    async def stop(self, grace: timedelta = STOP_GRACE) -> None:
        """End it: SIGTERM, SIGKILL after the grace; and remove its sockets. Safe to repeat."""
        self.dismissed = True
        await self._child.stop(grace)
        _remove_sockets(self._run_dir, self.name)

    async def close(self) -> None:
        """Let go of its control socket: it is asked nothing more. Safe to repeat."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._control.close()

    def _reading(self) -> Reading:
        return Reading(
            silence=self._silence,
            uptime=self.uptime,
            memory=self.memory,
            first_memory=self._first_memory,
            evictions=self.said["evictions"],
            loaded=len(self.loaded),
        )


async def start_cell(plan: CellPlan, name: str, purpose: Purpose, on_output: OnOutput) -> Cell:
    """Start a cell and wait until it answers on its control socket.

    Raises ComponentFailed with its last lines when it does not, StorageFailed when there is no configuration;
    nothing is left of it then.
    """
    generation = plan.fetch_generation()
    socket = plan.run_dir / control_socket(name)

    async def serves() -> bool:
        try:
            return await ask_once(socket, "GET", "/health") is not None
        except WorkersUnavailable:  # not yet
            return False

    command = plan.command(name, niceness=0 if purpose.own is None else NICENESS)
    try:
        child = await start_serving(command, lambda line: on_output(name, line), serves)
    except BaseException:
        _remove_sockets(plan.run_dir, name)
        raise
    return Cell(name, child, plan.run_dir, purpose, generation)


def _remove_sockets(run_dir: Path, name: str) -> None:
    for socket in (data_socket(name), control_socket(name)):
        (run_dir / socket).unlink(missing_ok=True)
