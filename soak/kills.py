"""Processes of a node that are killed at random."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from gridiron.testing.processes import descendants, fetch_program
from soak.events import Events
from soak.ledger import Ledger
from soak.pauses import pause

PROGRAMS: Mapping[str, str] = {
    "gridiron manager": "manager",
    "restate-server": "restate",
    "haproxy": "haproxy",
    "workerd": "cell",
    "gridiron workers": "workers",  # and with it HAProxy and every cell
}
"""Program to the kind of process that it is."""

AIMED = 0.5  # of the kills: while a change is being made, which few others would meet
AIM_SECONDS = 0.3  # within so long after it was asked for: that is how long most of them take here


@dataclass(frozen=True, slots=True)
class Killer:
    """Kills processes of one node, each kind as often as another."""

    node: int  # the process above all others, which goes on
    every_seconds: float  # 0: nothing is killed
    asked: asyncio.Event  # set for a moment whenever a change is asked for
    ledger: Ledger
    events: Events
    random: Random

    async def run(self, stop: asyncio.Event) -> None:
        """Kill one process every so many seconds until `stop` is set."""
        if self.every_seconds == 0:
            return
        await pause(stop, self.every_seconds)
        while not stop.is_set():
            if self.random.random() < AIMED:
                await self._aim()
            self._kill()
            await pause(stop, self.every_seconds)

    async def _aim(self) -> None:
        """Wait until a change is asked for, no longer than between kills, and then for a moment of it."""
        try:
            await asyncio.wait_for(self.asked.wait(), self.every_seconds)
        except TimeoutError:
            return
        await asyncio.sleep(self.random.uniform(0, AIM_SECONDS))

    def _kill(self) -> None:
        victims = find_victims(self.node)
        if not victims:
            return
        kind = self.random.choice(sorted(victims))
        pid = self.random.choice(victims[kind])
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it has just ended
            return
        self.ledger.kills[kind] += 1
        self.events.note(f"killed {kind}, process {pid}")


def find_victims(node: int) -> Mapping[str, list[int]]:
    """Find the processes of each kind that run below one."""
    found = defaultdict(list)
    for pid in descendants(node):
        kind = PROGRAMS.get(fetch_program(pid))
        if kind is not None:
            found[kind].append(pid)
    return found
