"""The state of each build, decided from one observation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gridiron.lifecycle.observation import Demand, Observation, Registration, Unknown
from gridiron.model import Address, Build, State

IDLE = Demand(pinned=0, attempting=0)


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """What one observation says of one build."""

    build: Build
    state: State
    reason: str  # a sentence's worth, for people
    registration: Registration | None  # None: not registered, or unknown
    active_services: tuple[str, ...]  # those whose new invocations come to this build
    demand: Demand | None  # None: unknown


def statuses_of(builds: Collection[Build], observation: Observation) -> tuple[BuildStatus, ...]:
    """Decide the state of each build, in the order given."""
    if isinstance(observation.registrations, Unknown):
        reason = f"Restate's registrations are unknown: {observation.registrations.reason}"
        return tuple(BuildStatus(build, State.UNKNOWN, reason, None, (), None) for build in builds)
    registered: dict[Address, list[Registration]] = defaultdict(list)
    for registration in observation.registrations:
        if registration.address is not None:
            registered[registration.address].append(registration)
    return tuple(_status_of(build, registered[build.address], observation) for build in builds)


def _status_of(build: Build, registrations: Sequence[Registration], seen: Observation) -> BuildStatus:
    match registrations:
        case []:
            return _status_of_unregistered(build, seen.activating)
        case [registration]:
            return _status_of_registered(build, registration, seen)
        case _:
            ids = _listed([registration.deployment_id for registration in registrations])
            reason = f"registered more than once ({ids}); remove from Restate what is too much"
            return BuildStatus(build, State.UNKNOWN, reason, None, (), None)


def _status_of_unregistered(build: Build, activating: Collection[str]) -> BuildStatus:
    if build.build_id in activating:
        return BuildStatus(build, State.STAGED, "its activation is under way", None, (), IDLE)
    return BuildStatus(build, State.RETIRED, "not registered with Restate", None, (), IDLE)


def _status_of_registered(build: Build, registration: Registration, seen: Observation) -> BuildStatus:
    demand = _demand_of(registration, seen.demand)
    if isinstance(seen.newest, Unknown):
        reason = f"Restate's routing is unknown: {seen.newest.reason}"
        return BuildStatus(build, State.UNKNOWN, reason, registration, (), demand)
    active = _active_services(registration, seen.newest)
    if active:
        reason = f"newest for {_listed(active)}{_superseded(registration, active)}"
        if demand is not None and demand != IDLE:
            reason = f"{reason}; {describe_demand(demand)}"
        return BuildStatus(build, State.ACTIVE, reason, registration, active, demand)
    if demand is None:
        why = seen.demand.reason if isinstance(seen.demand, Unknown) else "not read"
        reason = f"Restate's invocations are unknown: {why}"
        return BuildStatus(build, State.UNKNOWN, reason, registration, (), None)
    if demand == IDLE:
        return BuildStatus(build, State.DRAINED, "nothing needs it", registration, (), demand)
    return BuildStatus(build, State.DRAINING, describe_demand(demand), registration, (), demand)


def _demand_of(registration: Registration, demand: Mapping[str, Demand] | Unknown) -> Demand | None:
    return None if isinstance(demand, Unknown) else demand.get(registration.deployment_id, IDLE)


def _active_services(registration: Registration, newest: Mapping[str, str]) -> tuple[str, ...]:
    own = registration.deployment_id
    return tuple(sorted(service for service, deployment_id in newest.items() if deployment_id == own))


def _superseded(registration: Registration, active: Collection[str]) -> str:
    lost = sorted(set(registration.services) - set(active))
    return f"; a newer build has {_listed(lost)}" if lost else ""


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def describe_demand(demand: Demand) -> str:
    """Say what a build still has to do: `2 invocations are pinned to it, 1 is being attempted`."""
    parts = []
    if demand.pinned:
        parts.append(f"{demand.pinned} {_invocations(demand.pinned)} pinned to it")
    if demand.attempting:
        parts.append(f"{demand.attempting} {_invocations(demand.attempting)} being attempted on it")
    return " and ".join(parts) or "nothing needs it"


def _invocations(count: int) -> str:
    return "invocation is" if count == 1 else "invocations are"
