"""A whole node out of its roles: what `gridiron up` runs, as a supervisor such as runit would.

    restate    the journal and the routing
    workers    HAProxy and the cells
    manager    the HTTP API and the sweep

Each role is a process of its own (`gridiron restate`, `gridiron workers`, `gridiron manager`), so any may
die without the others. They start in this order, each when the one before really serves, and stop in the
opposite one. In a cluster they start side by side: Restate serves when enough nodes are there, and the
managers see to it that it becomes a cluster.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import ClassVar, TextIO

import httpx2
import structlog

from gridiron.access.tls import plan_trust, trust_only
from gridiron.access.tokens import TOKEN_VARIABLE
from gridiron.egress import is_loopback
from gridiron.errors import ComponentFailed, PortTaken, RestateRejected, RestateUnavailable, SettingsInvalid
from gridiron.identity.store import IdentityStore
from gridiron.manager.stopping import END_LIMIT
from gridiron.membership import check_membership, marked_directories
from gridiron.process.backoff import Backoff
from gridiron.process.child import Child, Command, start_child
from gridiron.process.events import FORCE_COLOR, configure_logging, is_coloured, is_event, render_foreign
from gridiron.process.lines import LineWriter
from gridiron.process.lock import lock_directory
from gridiron.restate.admin import RestateAdmin
from gridiron.settings import Settings, find_changes, variable_name
from gridiron.toolchain.programs import Toolchain, find_toolchain

log = structlog.get_logger()

NODE = "node"
"""Stands for the process that runs the roles."""

START_LIMIT = timedelta(seconds=60)
"""How long a role may take until it serves; Restate replaying a large log is the slowest. In a cluster it
may take for ever, as other nodes may come much later."""

TELL_INTERVAL = timedelta(seconds=15)
"""Between two lines about a role that does not serve yet."""

PROBE_LIMIT = timedelta(seconds=5)
PROBE_INTERVAL = timedelta(milliseconds=50)
WATCH_INTERVAL = timedelta(seconds=1)
LAST_LINES = 20
"""Lines of a role's output that are shown when it does not start."""

Say = Callable[[str, str], None]
"""Prints one line of one role: its name, the line."""


@dataclass(frozen=True, slots=True)
class Role:
    """One process of a node."""

    name: str
    serves: Callable[[Settings, httpx2.AsyncClient], Awaitable[bool]]
    stop_grace: timedelta  # these three together stay below the ten seconds that a stop may take


@dataclass(slots=True)
class Running:
    """A role that was started: its process, which changes when it is started again."""

    role: Role
    child: Child
    last_lines: deque[str]


async def _restate_serves(settings: Settings, client: httpx2.AsyncClient) -> bool:
    try:
        await RestateAdmin(settings.restate_admin_url, client).check()
    except (RestateUnavailable, RestateRejected):  # not yet
        return False
    return True


async def _workers_serve(settings: Settings, client: httpx2.AsyncClient) -> bool:
    return await _answers_ok(settings.workers_url + "/-/health", client)


async def _manager_serves(settings: Settings, client: httpx2.AsyncClient) -> bool:
    url = settings.manager_url + "/health/ready"
    if settings.tls_cert is None:
        return await _answers_ok(url, client)
    context, limit = trust_only(settings.tls_cert), PROBE_LIMIT.total_seconds()
    async with httpx2.AsyncClient(timeout=limit, trust_env=False, verify=context) as trusting:
        return await _answers_ok(url, trusting)


async def _answers_ok(url: str, client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get(url)).status_code == 200
    except httpx2.TransportError:  # not yet
        return False


ROLES = (
    Role("restate", _restate_serves, timedelta(seconds=3)),
    Role("workers", _workers_serve, timedelta(seconds=2)),
    Role("manager", _manager_serves, END_LIMIT + timedelta(milliseconds=500)),
)

HANG_UP = ("workers", "manager")
"""Roles that read their settings anew on SIGHUP; Restate would end."""


def plan_command(role: Role, settings: Settings) -> Command:
    """Say how a role is started: a verb of this program, the settings in its environment.

    Settings that are live it reads for itself, from where this process did, so that it can do so again.
    """
    inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    colour = {FORCE_COLOR: "1"} if is_coloured(sys.stdout) else {}
    environment = {**inherited, **settings.environment(live=False), **colour, "PYTHONUNBUFFERED": "1"}
    return Command(role.name, (sys.executable, "-P", "-m", "gridiron", role.name), environment=environment)


def check_ports(settings: Settings) -> None:
    """Raise PortTaken for the first port of the node that another program listens on.

    Raises SettingsInvalid when two roles are to listen on one.
    """
    ports = settings.ports._asdict()
    hosts = {purpose: getattr(settings, f"{purpose}_host") for purpose in ports}
    if settings.cluster is not None:
        ports["peer"], hosts["peer"] = settings.used_peer_port, str(settings.cluster.address)
    if len(set(ports.values())) < len(ports):
        listed = ", ".join(f"{purpose} {port}" for purpose, port in ports.items())
        raise SettingsInvalid("the ports", f"each has to be another one, and they are {listed}")
    for purpose, port in ports.items():
        host = hosts[purpose]
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise PortTaken(port, purpose, variable_name(f"{purpose}_port")) from error


def check_programs(toolchain: Toolchain) -> None:
    """Raise ToolMissing or ToolVersionWrong for the first program that a role would not find."""
    toolchain.restate_server()
    toolchain.workerd()
    toolchain.haproxy()
    toolchain.sdk_cores()


class Node:
    """The roles of one node, supervised."""

    def __init__(self, settings: Settings, say: Say, backoff: Backoff | None = None) -> None:
        self._settings = settings
        self._say = say
        self._backoff = backoff or Backoff()
        self._running: list[Running] = []

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Start every role, call `on_ready` when all serve, and keep them running until cancelled.

        Raises ComponentFailed when a role does not start. Nothing is left running however this ends.
        """
        try:
            limit = PROBE_LIMIT.total_seconds()
            asked = self._settings
            verify = plan_trust(asked.restate_admin_url, asked.workers_url, asked.manager_url)
            # one client for all: making one costs more than asking
            async with httpx2.AsyncClient(timeout=limit, trust_env=False, verify=verify) as client:
                alone = self._settings.cluster is None
                for role in ROLES:
                    running = await self._start(role)
                    if alone:
                        await self._await_service(running, client, START_LIMIT)
                for running in () if alone else self._running:
                    await self._await_service(running, client, None)
            on_ready()
            async with asyncio.TaskGroup() as group:
                for running in self._running:
                    group.create_task(self._keep_running(running), name=f"supervise {running.role.name}")
                group.create_task(self._watch_config(), name="watch workerd config")
                group.create_task(self._watch_identity(), name="watch identity")
        finally:
            await self._stop_all()

    async def _start(self, role: Role) -> Running:
        """Start a role for the first time."""
        lines: deque[str] = deque(maxlen=LAST_LINES)
        running = Running(role, await self._start_child(role, lines), lines)
        self._running.append(running)
        return running

    async def _await_service(
        self, running: Running, client: httpx2.AsyncClient, limit: timedelta | None
    ) -> None:
        """Wait until a role serves, and say now and then that it does not yet. Raises ComponentFailed."""
        role = running.role
        told = time.monotonic()
        try:
            async with asyncio.timeout(None if limit is None else limit.total_seconds()):
                while not await role.serves(self._settings, client):
                    if running.child.returncode is not None:
                        await running.child.wait()  # for its last words
                        raise ComponentFailed(role.name, _died(running))
                    if time.monotonic() - told > TELL_INTERVAL.total_seconds():
                        told = time.monotonic()
                        log.info("role.awaited", name=role.name)
                    await asyncio.sleep(PROBE_INTERVAL.total_seconds())
        except TimeoutError as error:
            after = f"{START_LIMIT.total_seconds():.0f} s"
            problem = f"it does not serve after {after}{_quoted(running.last_lines)}"
            raise ComponentFailed(role.name, problem) from error

    async def _start_child(self, role: Role, last_lines: deque[str]) -> Child:
        def on_line(line: str) -> None:
            last_lines.append(line)
            self._say(role.name, line)

        return await start_child(plan_command(role, self._settings), on_line)

    async def _keep_running(self, running: Running) -> None:
        """Start a role again whenever it ends, with a delay that grows while it keeps ending."""
        failures, began = 0, time.monotonic()
        while True:
            returncode = await running.child.wait()
            uptime = timedelta(seconds=time.monotonic() - began)
            failures = self._backoff.failures_after(failures, uptime)
            delay = self._backoff.delay(failures).total_seconds()
            how = describe_returncode(returncode)
            log.warning("role.ended", name=running.role.name, how=how, again_in_seconds=round(delay, 1))
            await asyncio.sleep(delay)
            began = time.monotonic()
            running.child = await self._start_child(running.role, running.last_lines)

    async def _watch_config(self) -> None:
        """Have the workers take up their generated configuration whenever its text changes."""
        path = self._settings.workerd_config_path
        async for _ in _changes(path):
            log.info("config.changed", path=str(path))
            self._find("workers").child.send_signal(signal.SIGHUP)

    async def _watch_identity(self) -> None:
        """Start Restate again whenever there is another key for it: it reads its key when it starts."""
        path = IdentityStore.of(self._settings).next_key
        async for there in _changes(path):
            if there:
                log.info("identity.key_made", path=str(path))
                restate = self._find("restate")
                await restate.child.stop(restate.role.stop_grace)

    def take_up(self, written: Settings) -> None:
        """Have the roles read their settings anew, and say which of those that are `written` have to wait."""
        if waiting := find_changes(self._settings, written).restart:
            log.warning("settings.need_restart", changed=list(waiting))
        for running in self._running:  # one that is not there yet reads them when it starts
            if running.role.name in HANG_UP:
                running.child.send_signal(signal.SIGHUP)

    def _find(self, name: str) -> Running:
        return next(running for running in self._running if running.role.name == name)

    async def _stop_all(self) -> None:
        for running in reversed(self._running):
            await running.child.stop(running.role.stop_grace)
            log.info("role.stopped", name=running.role.name)


def describe_returncode(returncode: int) -> str:
    """Say how a process ended: `exit code 1`, `SIGKILL`."""
    return signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"


def _died(running: Running) -> str:
    returncode = running.child.returncode
    how = "it ended" if returncode is None else f"it ended ({describe_returncode(returncode)})"
    return how + _quoted(running.last_lines)


def _quoted(lines: deque[str]) -> str:
    return "; its last lines:\n  " + "\n  ".join(lines) + "\n" if lines else " and said nothing"


async def _changes(path: Path) -> AsyncIterator[bool]:
    """Tell of each change of a file: whether it is there now."""
    seen = _digest(path)
    while True:
        await asyncio.sleep(WATCH_INTERVAL.total_seconds())
        if (now := _digest(path)) != seen:
            seen = now
            yield now is not None


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


class Printer:
    """Prints the lines of all roles: with their names before them, coloured on a terminal; or as JSON."""

    COLOURS: ClassVar[Mapping[str, int]] = {"restate": 35, "workers": 33, "manager": 36, NODE: 32}  # ANSI

    def __init__(self, stream: TextIO, *, in_json: bool = False) -> None:
        self._writer = LineWriter(stream)
        self._coloured = is_coloured(stream)
        self._in_json = in_json

    def __call__(self, role: str, line: str) -> None:
        """Print one line."""
        self._writer.write(self._render(role, line))

    def _render(self, role: str, line: str) -> str:
        if self._in_json:
            return line if is_event(line) else render_foreign(role, line)
        name = f"{role:<8}"
        if self._coloured:
            name = f"\x1b[{self.COLOURS[role]}m{name}\x1b[0m"
        return f"{name}| {line}"


class _NodeStream(StringIO):
    """Takes what the node itself logs to a printer, line by line."""

    def __init__(self, printer: Printer) -> None:
        super().__init__()
        self._printer = printer

    def flush(self) -> None:
        """Print what was written. Safe to repeat."""
        for line in self.getvalue().splitlines():
            self._printer(NODE, line)
        self.seek(0)
        self.truncate()


def describe_ready(settings: Settings, seconds: float) -> str:
    """Make the line that `gridiron up` prints when the node serves."""
    urls = "  ".join(f"{name} {url}" for name, url in urls_of(settings).items())
    return f"ready in {seconds:.1f} s  {urls}"


def urls_of(settings: Settings) -> Mapping[str, str]:
    """Give the URLs of a node, by what answers there."""
    return {
        "manager": settings.manager_url,
        "ingress": settings.ingress_url,
        "restate": settings.restate_admin_url,
        "workers": settings.workers_url,
    }


def open_roots(settings: Settings) -> Settings:
    """Let the admin's bundles come from everywhere on this machine, where nobody else can ask for that.

    A node in the foreground runs for the user who started it. Where its manager listens on more than
    loopback, or the setting says something, that stays.
    """
    if not is_loopback(settings.manager_host):
        return settings
    return settings.model_copy(update={"source_anywhere": True})


def _resolve(settings: Settings) -> Settings:
    """Give settings as a node in the foreground has them."""
    log_format = "json" if settings.log_format == "json" else "text"
    return open_roots(settings).model_copy(update={"log_format": log_format})


async def run_node(load: Callable[[], Settings], stream: TextIO = sys.stdout) -> None:
    """Run a node in the foreground until SIGINT or SIGTERM; SIGHUP has it `load` its settings anew.

    What it needs is installed by then (`ensure_toolchain`). Raises DirectoryInUse, PortTaken, ToolMissing,
    SettingsInvalid, ClusterTableMissing, ToolVersionWrong or ComponentFailed when it cannot start.
    """
    began = time.monotonic()
    settings = _resolve(load())
    check_membership(settings, *marked_directories(settings))
    in_json = settings.log_format == "json"
    printer = Printer(stream, in_json=in_json)
    configure_logging(NODE, settings, _NodeStream(printer))
    with lock_directory(settings.data_dir):
        check_ports(settings)
        check_programs(find_toolchain(settings))
        node = Node(settings, printer)
        work = asyncio.current_task()
        loop = asyncio.get_running_loop()
        stopping = False

        def stop() -> None:  # once: a second Ctrl-C must not cut the orderly stop short
            nonlocal stopping
            if not stopping and work is not None:
                stopping = True
                work.cancel()

        def take_up() -> None:
            try:
                written = _resolve(load())
                taken_up = settings.model_copy(update={"log_level": written.log_level})
                configure_logging(NODE, taken_up, _NodeStream(printer))
                node.take_up(written)
            except SettingsInvalid as error:
                log.error("settings.not_reloaded", code=error.code, reason=str(error))  # noqa: TRY400 - it says it all

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, take_up)

        def on_ready() -> None:
            seconds = time.monotonic() - began
            if in_json:
                log.info("node.ready", seconds=round(seconds, 1), **urls_of(settings))
            else:  # the line that whoever started it waits for
                print(describe_ready(settings, seconds), file=stream, flush=True)

        try:
            await node.run(on_ready)
        except asyncio.CancelledError:
            if not stopping:
                raise
