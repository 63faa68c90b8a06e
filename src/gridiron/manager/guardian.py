"""Has a node lead no partitions while its workers are down, and again when they are back.

A decision is made of what was seen (gridiron.lifecycle.guarding), again right before each change, and of what
is on the disk: which drain is this guardian's own. That is written before the drain. So whatever a crash cuts
off, the next start knows a drain that may have happened for its own, and undoes none that somebody else made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from pydantic import ValidationError

from gridiron.errors import ClusterRejected, GridironError, RestateUnavailable, StorageFailed
from gridiron.lifecycle.guarding import (
    ACTIVE,
    DRAINING,
    Course,
    Decision,
    Past,
    Place,
    Step,
    find_recent,
    follow,
    plan_guard,
)
from gridiron.manager.api import Guarding, GuardState
from gridiron.manager.members import Members
from gridiron.model import Value
from gridiron.process.kept import read_kept, write_kept
from gridiron.restate.port import ClusterPort, WorkerState
from gridiron.restate.view import Member

log = structlog.get_logger()

INTERVAL = timedelta(seconds=1)
"""Between two looks. They cost nothing: readiness has looked already."""

AGAIN_AFTER = timedelta(seconds=5)
"""Between two attempts at a change that fails; each is a process or two."""

DRAIN_FILE = "drain.json"
"""In the manager's state directory."""

IsServing = Callable[[], bool | None]
"""Tells whether builds can be called on this node; None: that is not known."""


class Drains(Value):
    """What the file holds."""

    drained_at: datetime | None = None  # since when the guardian has the node drained; None: it has not
    begun_at: tuple[datetime, ...] = ()  # its drains, those at least that count still


@dataclass(frozen=True, slots=True)
class Times:
    """The clocks of a guardian."""

    monotonic: Callable[[], float] = time.monotonic  # seconds
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep  # for so many seconds


REAL = Times()


class Guardian:
    """Guards the node of one name."""

    def __init__(
        self,
        node: str,
        members: Members,
        cluster: ClusterPort,
        state_dir: Path,
        times: Times = REAL,
    ) -> None:
        """Take the manager's state directory, where it keeps a file; nothing is read yet."""
        self._node = node
        self._members = members
        self._cluster = cluster
        self._path = state_dir / DRAIN_FILE
        self._clock, self._now, self._sleep = times.monotonic, times.now, times.sleep
        self._course = Course()
        self._drains: Drains | None = None  # None: not read yet
        self._seen_draining = False  # since its own drain, and no change of its own after that
        self._drained_at: float | None = None  # when it drained last since this was made; by the clock
        self._again_at = float("-inf")
        self._counted: datetime | None = None  # the drain of its own that was counted last
        self._trouble: GridironError | None = None  # what kept the last change from being made
        self._state = Guarding(
            state="unknown", since=times.now(), reason="not looked at yet", drains_in_last_hour=0
        )
        self._last_seconds: float | None = None  # that the last drain lasted which has ended
        self.drained = 0  # how often, since this was made
        self.taken_back = 0

    @property
    def state(self) -> Guarding:
        """What became of the last look."""
        return self._state

    @property
    def drain_seconds(self) -> float | None:
        """How long its drain has lasted, or the last one did; None where there was none since the start."""
        if self._drains is not None and self._drains.drained_at is not None:
            return max((self._now() - self._drains.drained_at).total_seconds(), 0)
        return self._last_seconds

    async def watch(self, is_serving: IsServing) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look(serving=is_serving())
            await self._sleep(INTERVAL.total_seconds())

    async def look(self, *, serving: bool | None) -> None:
        """Take up how the workers are now, and do what follows. What fails is tried again by later looks."""
        at = self._clock()
        self._course = follow(self._course, serving, at)
        decision = Decision(Step.NOTHING)
        try:
            await self._read()
            await self._forget_undone()
            decision = self._plan()
            if decision.step is not Step.NOTHING:
                if at < self._again_at:
                    return self._note(decision)
                await self._members.look()  # what was seen may be seconds old
                decision = self._plan()
                await self._do(decision)
            self._trouble = None
        except (RestateUnavailable, ClusterRejected, StorageFailed) as error:
            self._again_at = self._clock() + AGAIN_AFTER.total_seconds()
            self._tell_trouble(decision, error)
        return self._note(decision)

    def _plan(self) -> Decision:
        drains, at = self._drains or Drains(), self._clock()
        ago = None if self._drained_at is None else at - self._drained_at
        past = Past(drains.drained_at is not None, len(find_recent(drains.begun_at, self._now())), ago)
        return plan_guard(self._course, find_place(self._members.seen, self._node), past, at)

    async def _forget_undone(self) -> None:
        """Forget a drain of its own that somebody else has undone: the next one may be theirs.

        One look does not tell that: of two that overlap, the one that ends last may have begun first.
        """
        state = find_place(self._members.seen, self._node).worker_state
        if self._drains is None or self._drains.drained_at is None:
            return
        if state != ACTIVE or not self._seen_draining:
            self._seen_draining = self._seen_draining or state == DRAINING
            return
        if self._clock() < self._again_at:
            return
        if find_place(await self._members.look(), self._node).worker_state == ACTIVE:
            await self._end_drain()
            log.info("guardian.drain_forgotten", reason="somebody else has undone it")

    async def _do(self, decision: Decision) -> None:
        own = find_own(self._members.seen, self._node)
        if own is None or decision.step is Step.NOTHING:
            return
        if decision.step is Step.DRAIN:
            await self._drain(own.node_id, decision.reason)
        else:
            await self._take_back(own.node_id, decision.reason)

    async def _drain(self, node_id: str, reason: str) -> None:
        before = self._drains or Drains()
        if before.drained_at is None:
            now = self._now()
            await self._write(Drains(drained_at=now, begun_at=(*find_recent(before.begun_at, now), now)))
        try:
            await self._change(node_id, DRAINING)
        except ClusterRejected:  # so it did not happen
            await self._write(before)
            raise
        if self._drains is not None and self._drains.drained_at != self._counted:
            self._counted, self._drained_at = self._drains.drained_at, self._clock()
            self.drained += 1
            log.warning("guardian.drained", reason=reason)

    async def _take_back(self, node_id: str, reason: str) -> None:
        await self._change(node_id, ACTIVE)
        lasted = await self._end_drain()
        self.taken_back += 1
        log.info("guardian.taken_back", reason=reason, drained_seconds=round(lasted))

    async def _end_drain(self) -> float:
        """Write down that the node is drained by its guardian no more; give the seconds that it was."""
        lasted = self.drain_seconds
        await self._write((self._drains or Drains()).model_copy(update={"drained_at": None}))
        self._last_seconds = lasted
        return lasted or 0

    async def _change(self, node_id: str, state: WorkerState) -> None:
        """Change what the node is, also where it is seen to be that: a change before may come late."""
        self._seen_draining = False
        await self._cluster.set_worker_state(node_id, state)
        await self._members.look()

    async def _read(self) -> None:
        if self._drains is None:
            self._drains = await asyncio.to_thread(_read, self._path)

    async def _write(self, drains: Drains) -> None:
        if drains != self._drains:
            await asyncio.to_thread(write_kept, self._path, drains.model_dump_json().encode())
            self._drains = drains

    def _tell_trouble(self, decision: Decision, error: GridironError) -> None:
        if self._trouble is None or self._trouble.code != error.code:
            log.warning("guardian.failed", step=decision.step.value, code=error.code, reason=str(error))
        self._trouble = error

    def _note(self, decision: Decision) -> None:
        """Say what is so after a look."""
        drains, now = self._drains or Drains(), self._now()
        state = name_state(find_place(self._members.seen, self._node).worker_state, drains)
        since = self._state.since if self._state.state == state else now
        reason = decision.reason if self._trouble is None else f"{decision.reason}: {self._trouble}"
        self._state = Guarding(
            state=state,
            since=drains.drained_at if state == "drained" and drains.drained_at else since,
            reason=reason,
            drains_in_last_hour=len(find_recent(drains.begun_at, now)),
        )


def find_own(members: Sequence[Member], node: str) -> Member | None:
    """Give the node of a name; None where it was not seen, or is in the cluster no more."""
    return next((member for member in members if member.name == node), None)


def find_place(members: Sequence[Member], node: str) -> Place:
    """Say what a node has seen of its place in its cluster."""
    own = find_own(members, node)
    if own is None:
        return Place(None)
    others = sum(member.may_lead for member in members if member is not own)
    return Place(own.worker_state, others)


def name_state(worker_state: str | None, drains: Drains) -> GuardState:
    """Name what is so of a node."""
    match worker_state:
        case None | "provisioning":
            return "unknown"
        case "active":
            return "active"
        case "draining" if drains.drained_at is not None:
            return "drained"
        case _:
            return "drained_by_operator"


def _read(path: Path) -> Drains:
    """Read the file. One that is damaged has no drain in it: who knows whose a drain is leaves it alone."""
    content = read_kept(path)
    try:
        return Drains() if content is None else Drains.model_validate_json(content)
    except ValidationError as error:
        log.warning("guardian.file_damaged", path=str(path), reason=str(error))
        return Drains()
