"""What operators do to a node, at random: deploys, rollbacks, prunes, of several names at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random

from gridiron.model import State
from soak.changes import Changes
from soak.events import Events
from soak.ledger import DRY_RUN, Ledger
from soak.manager import Acknowledged, Manager, Refused
from soak.pauses import pause

PAUSE_SECONDS = (0.5, 1.5)  # from one round to the next
SEVERAL = 0.2  # of the rounds: several names at once
PRUNE_ALL = 0.15  # of the rounds: a prune of all that is drained, beside the rest

FREE = 0.75  # of the prunes of one build: one that nothing needs, where there is one


@dataclass(frozen=True, slots=True)
class Desk:
    """What the operator works with."""

    manager: Manager
    changes: Changes
    ledger: Ledger
    events: Events
    random: Random


class Operator:
    """Does one thing a round, to names with which it is done; what it does to one name comes one by one."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._busy: set[str] = set()
        self._acts: Mapping[Callable[[str], Awaitable[None]], int] = {  # with their weights
            self._deploy: 55,
            self._deploy_two: 8,
            self._deploy_again: 8,
            self._try: 5,
            self._roll_back: 14,
            self._prune_one: 10,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop` is set, and wait until it is known what came of everything."""
        random = self._desk.random
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                for name in self._choose_names():
                    group.create_task(self._do(name), name=f"operate {name}")
                if random.random() < PRUNE_ALL:
                    group.create_task(self._prune_all(), name="prune all")
                await pause(stop, random.uniform(*PAUSE_SECONDS))

    def _choose_names(self) -> list[str]:
        random = self._desk.random
        idle = sorted(self._desk.ledger.histories.keys() - self._busy)
        if not idle:
            return []
        count = random.randint(1, len(idle)) if random.random() < SEVERAL else 1
        return random.sample(idle, count)

    async def _do(self, name: str) -> None:
        self._busy.add(name)
        act = self._desk.random.choices([*self._acts], [*self._acts.values()])[0]
        await act(name)
        self._busy.remove(name)

    async def _deploy(self, name: str) -> None:
        await self._desk.changes.deploy(name, self._desk.changes.take_version(name))

    async def _deploy_two(self, name: str) -> None:
        """Deploy two versions of one name at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                version = self._desk.changes.take_version(name)
                group.create_task(self._desk.changes.deploy(name, version), name=f"deploy {name} {version}")

    async def _deploy_again(self, name: str) -> None:
        """Deploy what is active already: nothing has to change."""
        last = self._desk.ledger.histories[name].find_last()
        if last is not None and last.version is not None:
            await self._desk.changes.deploy(name, last.version, "redeploy")

    async def _try(self, name: str) -> None:
        await self._desk.changes.deploy(name, self._desk.changes.take_version(name), DRY_RUN)

    async def _roll_back(self, name: str) -> None:
        """Go back to a build that is not active, or to the one that the manager chooses."""
        builds = await self._desk.manager.fetch_builds(name) or ()
        earlier = [build.address for build in builds if build.state is not State.ACTIVE]
        await self._desk.changes.roll_back(name, self._desk.random.choice([None, *earlier]))

    async def _prune_one(self, name: str) -> None:
        """Prune a build by its name, or see what that would do. One that is active has to be refused."""
        builds = await self._desk.manager.fetch_builds(name)
        if not builds:
            return
        random = self._desk.random
        free = [build for build in builds if build.state in {State.DRAINED, State.RETIRED}]
        build = random.choice(free if free and random.random() < FREE else builds)
        dry_run = random.random() < 1 / 4
        shelf = self._desk.ledger.histories[name].shelf
        may_go = not dry_run and build.state is not State.ACTIVE
        if may_go:
            shelf.take(build.build_id, surely=False)
        body = await self._prune({"build_id": build.build_id, "dry_run": dry_run})
        if may_go and body is not None and any(each["files_removed"] for each in body["pruned"]):
            shelf.take(build.build_id, surely=True)

    async def _prune_all(self) -> None:
        await self._prune({"dry_run": self._desk.random.random() < 1 / 3})

    async def _prune(self, body: dict[str, object]) -> dict[str, list[dict[str, object]]] | None:
        """Ask for a prune; give what it answered when it was acknowledged."""
        kind = ("prune one" if "build_id" in body else "prune all") + (", dry" if body["dry_run"] else "")
        outcome = await self._desk.manager.post("/prune", body)
        self._desk.events.note(f"{kind} {body.get('build_id', '')}: {outcome}")
        match outcome:
            case Acknowledged(answer):
                self._desk.ledger.acknowledged[kind] += 1
                return dict(answer)
            case Refused(code=code):
                self._desk.ledger.refuse(kind, code)
            case _:
                self._desk.ledger.lose_answer(kind)
        return None
