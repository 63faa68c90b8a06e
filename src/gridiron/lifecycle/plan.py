"""What to do about builds: pure functions from one look at the world, and a time, to actions.

An action is safe to repeat, and none follows from an unknown: only what was read can lead to one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridiron.errors import ActivationInProgress, BuildInUse, BuildNotFound, DrainUnknown
from gridiron.lifecycle.observation import Mark, Observation, Unknown
from gridiron.lifecycle.states import IDLE, BuildStatus, Files, statuses_of
from gridiron.model import Build, State, name_build

MAX_REMOVALS = 100
"""Builds that one sweep retires, and as many whose files it deletes: enough for any rate of deployment, few
enough that a sweep ends soon."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long things are kept."""

    grace: timedelta  # between drained and retired
    retain: int  # files of a retired build go once more than so many newer builds of its name exist


@dataclass(frozen=True, slots=True)
class Register:
    """Register a build again that Restate has lost, unless a newer build has its services by now."""

    build: Build

    @property
    def subject(self) -> str:
        """What it is done to."""
        return self.build.build_id


@dataclass(frozen=True, slots=True)
class Settle:
    """Take the mark from a build that is registered and to be so."""

    build_id: str

    @property
    def subject(self) -> str:
        """What it is done to."""
        return self.build_id


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a build: unregister it (where it is registered), unload it from every cell, delete its files."""

    build_id: str
    path: str | None  # where cells may have it loaded
    deployment_id: str | None  # None: it is not registered
    files: bool  # whether its files go too, or stay for a rollback
    forced: bool = False  # somebody wants this although it may be needed

    @property
    def subject(self) -> str:
        """What it is done to."""
        return self.build_id


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload a build that nothing can call any more from every cell."""

    path: str

    @property
    def subject(self) -> str:
        """What it is done to."""
        return self.path


Action = Register | Settle | Remove | Unload


def plan(
    seen: Observation, drained_at: Mapping[str, datetime], policy: Policy, now: datetime
) -> tuple[Action, ...]:
    """Plan one round of the loop, the most urgent first.

    What Restate has lost is registered again, oldest first, so that routing becomes what it was; what an
    activation or a forced removal left half done is brought to an end; what has been drained for the grace
    period retires; old files go; what is loaded and cannot be called is unloaded. What failed is held off for
    a while. `drained_at` says since when each build is drained (`track_drained`).
    """
    if isinstance(seen.inventory, Unknown):
        return ()
    statuses = statuses_of(seen.inventory, seen)
    actions: tuple[Action, ...] = (
        *plan_repairs(statuses),
        *plan_endings(statuses),
        *plan_retirements(statuses, drained_at, policy, now),
        *plan_outdated(statuses, policy)[:MAX_REMOVALS],
        *plan_unloads(statuses, seen),
    )
    return tuple(action for action in actions if action.subject not in seen.held_off)


def plan_repairs(statuses: Collection[BuildStatus]) -> tuple[Register, ...]:
    """Register again, oldest first, what was registered and Restate does not have (any more)."""
    return tuple(
        Register(status.build)
        for status in statuses
        if status.build is not None
        and status.state in {State.STAGED, State.FAILED}
        and status.registration is None
        and status.mark is None
        and status.files is Files.WHOLE
    )


def plan_endings(statuses: Collection[BuildStatus]) -> tuple[Settle | Remove, ...]:
    """Bring to its end what a crash, or somebody who deleted files, left half done: settlements first.

    A registration without files is taken away, as nothing serves its address; not so while invocations are
    pinned to it, which could go on if the files came back.
    """
    endings: list[Settle | Remove] = []
    for status in statuses:
        if status.state is State.UNKNOWN:
            continue
        match status.mark:
            case Mark.ACTIVATING | Mark.REGISTERING if status.registration is not None:
                endings.append(Settle(status.build_id))
            case Mark.ACTIVATING | Mark.REGISTERING if status.state is State.FAILED:
                endings.append(_remove(status, files=True))
            case Mark.FORCED:
                endings.append(_remove(status, files=True, forced=True))
            case Mark.LEAVING if status.state in {State.DRAINED, State.RETIRED}:
                endings.append(_remove(status, files=True))
            case Mark.RETIRED if status.state is State.DRAINED:
                endings.append(_remove(status, files=False))
            case Mark.LEAVING | Mark.RETIRED if status.registration is not None:  # it is needed again
                endings.append(Settle(status.build_id))
            case None if status.files is Files.GONE and status.demand and not status.demand.pinned:
                endings.append(_remove(status, files=True))
    return tuple(sorted(endings, key=lambda ending: isinstance(ending, Remove)))  # see plan_settlements


def plan_retirements(
    statuses: Collection[BuildStatus], drained_at: Mapping[str, datetime], policy: Policy, now: datetime
) -> tuple[Remove, ...]:
    """Retire what has been drained for the grace period: a bounded number, oldest first."""
    due = [
        status
        for status in statuses
        if status.state is State.DRAINED
        and (since := drained_at.get(status.build_id)) is not None
        and now - since >= policy.grace
    ]
    outdated = _find_outdated(statuses, policy)
    return tuple(_remove(status, files=status.build_id in outdated) for status in due[:MAX_REMOVALS])


def plan_outdated(statuses: Collection[BuildStatus], policy: Policy) -> tuple[Remove, ...]:
    """Remove the files of retired builds that enough newer ones have come after."""
    outdated = _find_outdated(statuses, policy)
    return tuple(
        _remove(status, files=True)
        for status in statuses
        if status.state is State.RETIRED and status.build_id in outdated
    )


def plan_unloads(statuses: Collection[BuildStatus], seen: Observation) -> tuple[Unload, ...]:
    """Unload what is not registered (a cell did not answer when it was unregistered) or not even stored.

    Not what is being activated: in a cluster it is stored after it was loaded.
    """
    if isinstance(seen.loaded, Unknown) or isinstance(seen.registrations, Unknown):
        return ()
    called = {status.path for status in statuses if status.state is not State.RETIRED}
    idle = (path for path in seen.loaded - called if name_build(path) not in seen.activating)
    return tuple(Unload(path) for path in sorted(idle))


def plan_settlements(statuses: Collection[BuildStatus]) -> tuple[Settle, ...]:
    """Plan what goes before any removal: what takes the place of a build must not be in doubt itself.

    A build whose activation was cut short and that Restate has registered would be taken back if Restate lost
    its data, and what it replaced would be gone.
    """
    return tuple(action for action in plan_endings(statuses) if isinstance(action, Settle))


def plan_prune_drained(statuses: Collection[BuildStatus], policy: Policy) -> tuple[Settle | Remove, ...]:
    """Plan the removal of every drained build, without waiting for its grace, and of outdated files."""
    outdated = _find_outdated(statuses, policy)
    due = (status for status in statuses if status.state is State.DRAINED)
    retirements = (_remove(status, files=status.build_id in outdated) for status in due)
    return (*plan_settlements(statuses), *retirements, *plan_outdated(statuses, policy))


def plan_prune(
    statuses: Collection[BuildStatus], build_id: str, *, force: bool
) -> tuple[Settle | Remove, ...]:
    """Plan the removal of one build, files included.

    Raises BuildNotFound; BuildInUse when Restate routes invocations to it, some need it, or Restate has just
    lost it, and not `force`;
    DrainUnknown when that is unknown, even with `force`; ActivationInProgress when it is being activated.
    """
    status = find_status(statuses, build_id)
    if status.mark is not None and status.mark.unfinished and status.state is State.STAGED:
        raise ActivationInProgress(status.address.name if status.address else build_id)
    if status.state is State.UNKNOWN or status.demand is None:
        raise DrainUnknown(build_id, status.reason)
    lost = status.state is State.STAGED  # by Restate; who needs it is known when it is registered again
    used = bool(status.active_services) or status.demand != IDLE or lost
    if used and not force:
        raise BuildInUse(build_id, status.state.value, status.reason, invocations_of(status))
    return (*plan_settlements(statuses), _remove(status, files=True, forced=used))


def find_status(statuses: Collection[BuildStatus], build_id: str) -> BuildStatus:
    """Find the status of one build. Raises BuildNotFound."""
    for status in statuses:
        if status.build_id == build_id:
            return status
    raise BuildNotFound(build_id)


def _remove(status: BuildStatus, *, files: bool, forced: bool = False) -> Remove:
    deployment_id = status.registration.deployment_id if status.registration else None
    return Remove(status.build_id, status.path, deployment_id, files=files, forced=forced)


def _find_outdated(statuses: Collection[BuildStatus], policy: Policy) -> frozenset[str]:
    """Find the builds that more than `retain` newer ones of their name have come after."""
    newer: Counter[str] = Counter()
    outdated = set()
    for status in sorted(statuses, key=lambda status: status.timestamp, reverse=True):
        if status.address is None:
            continue
        name = status.address.name
        if newer[name] > policy.retain:
            outdated.add(status.build_id)
        # one whose activation is under way may come to nothing
        newer[name] += status.build is not None and not (status.mark and status.mark.unfinished)
    return frozenset(outdated)


def invocations_of(status: BuildStatus) -> int | None:
    """Count what a build still has to do; None when that is unknown."""
    return status.demand.pinned + status.demand.attempting if status.demand else None


def track_drained(
    statuses: Collection[BuildStatus], drained_at: Mapping[str, datetime], now: datetime
) -> dict[str, datetime]:
    """Carry on since when each build is drained: kept while unknown, forgotten in every other state.

    A time to come, which a clock that was set back leaves, counts as now.
    """
    tracked = {}
    for status in statuses:
        if status.state is State.DRAINED:
            tracked[status.build_id] = min(drained_at.get(status.build_id, now), now)
        elif status.state is State.UNKNOWN and status.build_id in drained_at:
            tracked[status.build_id] = drained_at[status.build_id]
    return tracked
