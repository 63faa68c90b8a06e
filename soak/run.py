"""A soak from its first deploy to the last process of the node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import httpx2

from gridiron.cli.demo.subject import Subject
from gridiron.testing.login import AdminToken
from gridiron.testing.probe import ProbeBundles
from gridiron.testing.processes import descendants, fetch_program
from soak.changes import Changes
from soak.events import Events
from soak.inspection import Inspector, NotSeen
from soak.kills import Killer
from soak.ledger import Fault, Finding, Ledger
from soak.load import ATTEMPT_SECONDS, Line, call_without_pause
from soak.manager import REQUEST_SECONDS, Manager
from soak.operations import Desk, Operator
from soak.verdict import judge

NAMES = ("alder", "beech", "cedar", "dogwood")
RETAIN = 2
REPORT_SECONDS = 60
TRACEBACK = "Traceback (most recent call last)"
"""What only Python prints: a part of Gridiron failed in a way that it did not foresee."""

ANSWER_SECONDS = 90
"""How long everything may take to be answered when nothing is killed any more."""

CONVERGE_SECONDS = 60
"""How long the node may then take to drain and prune all that nothing needs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a soak does."""

    seconds: float
    kill_every_seconds: float  # 0: nothing is killed
    seed: int


@dataclass(frozen=True, slots=True)
class Clients:
    """The node's HTTP APIs."""

    manager: Manager
    ingress: httpx2.AsyncClient
    inspector: Inspector


class Soak:
    """One soak of one node, which runs. What it finds stands in the ledger."""

    def __init__(self, plan: Plan, node: Subject, bundles: ProbeBundles, events: Events) -> None:
        self.ledger = Ledger(NAMES, RETAIN)
        self._plan = plan
        self._node = node
        self._bundles = bundles
        self._events = events

    async def run(self, report: Callable[[Ledger], None]) -> None:
        """Strain the node, and see what is left; `report` is called once a minute."""
        async with self._clients() as clients:
            changes = Changes(clients.manager, self._bundles, self.ledger, self._events)
            for name in NAMES:  # what is called has to be there
                await changes.deploy(name, changes.take_version(name))
            async with _repeatedly(lambda: report(self.ledger)):
                await self._strain(clients, changes)
            self.ledger.findings += await self._inspect(clients)

    async def stop(self) -> None:
        """Stop the node; a process that it leaves is a leak, and its log has no traceback in it."""
        pids = descendants(self._node.pid) if self._node.pid else []
        await asyncio.to_thread(self._node.stop)
        for pid in pids:
            if program := fetch_program(pid):
                self.ledger.note(Fault.LEAK, f"process {pid} ({program}) outlives the node")
        for number, line in enumerate(self._node.log.splitlines(), start=1):
            if TRACEBACK in line:
                self.ledger.note(Fault.CRASH, f"line {number} of the node's log: {line:.200}")

    @asynccontextmanager
    async def _clients(self) -> AsyncIterator[Clients]:
        settings = self._node.settings
        async with (
            httpx2.AsyncClient(
                base_url=settings.manager_url,
                timeout=REQUEST_SECONDS,
                trust_env=False,
                auth=AdminToken(settings),
            ) as manager,
            httpx2.AsyncClient(
                base_url=settings.ingress_url, timeout=ATTEMPT_SECONDS, trust_env=False
            ) as ingress,
            httpx2.AsyncClient(timeout=ATTEMPT_SECONDS, trust_env=False) as other,
        ):
            yield Clients(Manager(manager), ingress, Inspector(settings, NAMES, other))

    async def _strain(self, clients: Clients, changes: Changes) -> None:
        """Call, operate and kill for as long as planned; then wait until all is answered."""
        stop, ledger, events = asyncio.Event(), self.ledger, self._events
        # one for each, so that what one of them draws does not hang on how quick the others are
        calling, operating, killing = (Random(f"{self._plan.seed} {part}") for part in range(3))
        desk = Desk(clients.manager, changes, ledger, events, operating)
        line = Line(clients.ingress, ledger, events, calling)
        node, every = self._node.pid or 0, self._plan.kill_every_seconds
        killer = Killer(node, every, changes.asked, ledger, events, killing)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(call_without_pause(line, NAMES, stop), name="load"),
                group.create_task(Operator(desk).run(stop), name="operations"),
                group.create_task(killer.run(stop), name="kills"),
            ]
            await asyncio.wait(tasks, timeout=self._plan.seconds, return_when=asyncio.FIRST_EXCEPTION)
            stop.set()
            events.note("stopping: nothing new is called, asked for or killed")
            _, late = await asyncio.wait(tasks, timeout=ANSWER_SECONDS)
            for task in late:
                task.cancel()
        ledger.give_up(time.monotonic())

    async def _inspect(self, clients: Clients) -> tuple[Finding, ...]:
        """Look at the node until nothing is wrong, or the time is over."""
        deadline = time.monotonic() + CONVERGE_SECONDS
        while True:
            try:
                findings = judge(self.ledger, await clients.inspector.fetch_remains(clients.manager))
            except NotSeen as error:
                findings = (Finding(Fault.UNSEEN, str(error)),)
            if not findings or time.monotonic() > deadline:
                return findings
            await asyncio.sleep(1)


@asynccontextmanager
async def _repeatedly(act: Callable[[], None]) -> AsyncIterator[None]:
    """Do something once a minute beside what happens inside."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            act()

    task = asyncio.create_task(repeat(), name="report")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
