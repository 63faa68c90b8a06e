"""Deploys and rollbacks, and what came of them where the manager was killed before it could answer."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping

from gridiron.model import Address
from gridiron.testing.probe import ProbeBundles
from soak.events import Events
from soak.history import Change, Fate
from soak.ledger import DRY_RUN, Ledger
from soak.manager import Acknowledged, Manager, Outcome, Refused, Unanswered
from soak.sight import Listed, Sight, find_own, judge_sight

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 15
"""How long a build may be stored and not registered when the manager is back that was killed meanwhile."""

SETTLE_SECONDS = 60
"""After so long without a list that tells, it cannot be told."""

STREAMLESS = 4
"""Every so-many-th version is called by request and response, the others by streams."""


class Changes:
    """Asks for changes, one name's one after the other or at once, and writes down what came of them."""

    def __init__(self, manager: Manager, bundles: ProbeBundles, ledger: Ledger, events: Events) -> None:
        self._manager = manager
        self._bundles = bundles
        self._ledger = ledger
        self._events = events
        self.asked = asyncio.Event()
        """Set for a moment whenever a change is asked for."""
        self._versions = dict.fromkeys(ledger.histories, 0)

    def take_version(self, name: str) -> str:
        """Give a version that this name never had."""
        self._versions[name] += 1
        return f"1.0.{self._versions[name]}"

    async def deploy(self, name: str, version: str, kind: str = "deploy") -> None:
        """Deploy a version, whose content is always the same."""
        change = Change(kind, name, version, time.monotonic())
        streams = int(version.rpartition(".")[2]) % STREAMLESS != 0
        bundle = await asyncio.to_thread(self._bundles.make, version, name, bidirectional=streams)
        body = {"source": bundle.as_uri(), "name": name, "version": version, "dry_run": kind == DRY_RUN}
        await self._make(change, "/activate", body)
        await asyncio.to_thread(shutil.rmtree, bundle, ignore_errors=True)  # hundreds would fill the disk

    async def roll_back(self, name: str, target: Address | None) -> None:
        """Make an earlier build's content active again; None: that which the manager chooses."""
        change = Change("rollback", name, target.version if target else None, time.monotonic())
        body = {"name": name} | ({"build_id": str(target)} if target else {})
        await self._make(change, "/rollback", body)

    async def _make(self, change: Change, path: str, body: Mapping[str, object]) -> None:
        """Ask for a change, and do not come back before it is known what came of it."""
        if change.kind != DRY_RUN:
            self._ledger.begin(change)
        self._events.note(f"{change.kind} {change.name} {change.version} …")
        self.asked.set()  # wakes whoever waits now
        self.asked.clear()
        outcome = await self._manager.post(path, body)
        self._events.note(f"{change.kind} {change.name} {change.version}: {outcome}")
        await self._conclude(change, outcome)

    async def _conclude(self, change: Change, outcome: Outcome) -> None:
        match outcome:
            case Acknowledged(body) if change.kind == DRY_RUN:
                self._ledger.acknowledged[DRY_RUN] += 1
            case Acknowledged(body):
                address = Address.parse_path(body["path"])
                if address is None:
                    raise ValueError(body)
                self._ledger.acknowledge(change, address, time.monotonic())
            case Refused(code=code):
                await self._settle(change, code)
            case Unanswered():
                await self._settle(change, None)

    async def _settle(self, change: Change, code: str | None) -> None:
        sight = await self._look(change)
        self._events.note(f"{change.kind} {change.name} {change.version} came to {sight}")
        self._ledger.settle(change, code, sight, time.monotonic())

    async def _look(self, change: Change) -> Sight:
        """Look at the builds of a change's name until they tell what came of it."""
        known = self._ledger.histories[change.name].build_ids
        deadline = time.monotonic() + SETTLE_SECONDS
        patient_until: float | None = None  # None: nothing was seen yet
        own: Listed | None = None
        while (now := time.monotonic()) < deadline:
            listed = await self._manager.fetch_builds(change.name)
            if listed is not None:
                patient_until = patient_until or now + PATIENCE_SECONDS
                own = find_own(change, listed, known)
                sight = judge_sight(own, listed, patient=now < patient_until)
                if sight is not None:
                    return sight
            await asyncio.sleep(LOOK_SECONDS)
        return Sight(Fate.UNTOLD, own.address if own else None)
