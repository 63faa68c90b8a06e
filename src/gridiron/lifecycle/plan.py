"""What to do about builds: pure functions from statuses and a time to actions.

An action is safe to repeat, and none follows from an unknown: only a state that was read can lead to one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gridiron.errors import ActivationInProgress, BuildInUse, DrainUnknown
from gridiron.lifecycle.states import BuildStatus
from gridiron.model import Build, State

MAX_RETIREMENTS = 100
"""Builds that one sweep retires: enough for any rate of deployment, few enough that a sweep ends soon."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long things are kept."""

    grace: timedelta  # between drained and retired
    retain: int  # files of a retired build go once more than so many newer builds of its name exist


@dataclass(frozen=True, slots=True)
class Removal:
    """Remove a build: unregister it (where it is registered), unload it from every cell, delete its files."""

    build: Build
    deployment_id: str | None  # None: it is not registered
    files: bool  # whether its files go too, or stay for a rollback


def plan_sweep(
    statuses: Collection[BuildStatus],
    drained_at: Mapping[str, datetime],
    policy: Policy,
    now: datetime,
) -> tuple[Removal, ...]:
    """Plan one round: what has been drained for the grace period retires, old files go.

    `drained_at` holds, by build id, since when each build was seen drained (`track_drained`).
    """
    due = [
        status
        for status in statuses
        if status.state is State.DRAINED
        and (since := drained_at.get(status.build.build_id)) is not None
        and now - since >= policy.grace
    ]
    return _plan_removals(due[:MAX_RETIREMENTS], statuses, policy)


def plan_prune_drained(statuses: Collection[BuildStatus], policy: Policy) -> tuple[Removal, ...]:
    """Plan the same for every drained build, without waiting for its grace."""
    due = [status for status in statuses if status.state is State.DRAINED]
    return _plan_removals(due, statuses, policy)


def plan_prune(status: BuildStatus, *, force: bool) -> Removal:
    """Plan the removal of one build, files included.

    Raises BuildInUse when it is active or draining and not `force`; DrainUnknown when its state is unknown,
    even with `force`; ActivationInProgress when it is being activated.
    """
    build = status.build
    match status.state:
        case State.STAGED:
            raise ActivationInProgress(build.name)
        case State.ACTIVE | State.DRAINING if not force:
            raise BuildInUse(build.build_id, status.state.value, status.reason, invocations_of(status))
        case State.ACTIVE | State.DRAINING | State.DRAINED | State.RETIRED:
            return Removal(build, _deployment_id(status), files=True)
        case _:
            raise DrainUnknown(build.build_id, status.reason)


def _plan_removals(
    due: Collection[BuildStatus], statuses: Collection[BuildStatus], policy: Policy
) -> tuple[Removal, ...]:
    """Retire what is due, with its files where they are outdated, and remove outdated files."""
    retiring = tuple(
        Removal(status.build, _deployment_id(status), files=_outdated(status, statuses, policy))
        for status in due
    )
    retired = tuple(
        Removal(status.build, None, files=True)
        for status in statuses
        if status.state is State.RETIRED and _outdated(status, statuses, policy)
    )
    return (*retiring, *retired)


def _outdated(status: BuildStatus, statuses: Collection[BuildStatus], policy: Policy) -> bool:
    """Tell whether more than `retain` newer builds of its name exist."""
    build = status.build
    newer = sum(
        other.build.name == build.name
        and other.build.timestamp > build.timestamp
        and other.state is not State.STAGED  # it may come to nothing
        for other in statuses
    )
    return newer > policy.retain


def _deployment_id(status: BuildStatus) -> str | None:
    return status.registration.deployment_id if status.registration else None


def invocations_of(status: BuildStatus) -> int | None:
    """Count what a build still has to do; None when that is unknown."""
    return status.demand.pinned + status.demand.attempting if status.demand else None


def track_drained(
    statuses: Collection[BuildStatus], drained_at: Mapping[str, datetime], now: datetime
) -> dict[str, datetime]:
    """Carry on since when each build is drained: kept while unknown, forgotten in every other state."""
    tracked = {}
    for status in statuses:
        build_id = status.build.build_id
        if status.state is State.DRAINED:
            tracked[build_id] = drained_at.get(build_id, now)
        elif status.state is State.UNKNOWN and build_id in drained_at:
            tracked[build_id] = drained_at[build_id]
    return tracked
