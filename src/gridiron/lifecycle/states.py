"""The state of each build, decided from one observation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gridiron.lifecycle.observation import (
    STORE_KEY,
    Damaged,
    Demand,
    Inventory,
    Mark,
    Observation,
    Registration,
    Unknown,
)
from gridiron.model import Address, Build, State

IDLE = Demand(pinned=0, attempting=0)

Active = Mapping[str, Sequence[str]]
"""The services whose new invocations a deployment gets, by its id."""


class Files(StrEnum):
    """How the files of a build are."""

    WHOLE = "whole"  # as far as they were read
    DAMAGED = "damaged"
    GONE = "gone"  # from this bundle directory, which the build was registered from
    ELSEWHERE = "elsewhere"  # it was registered from another bundle directory


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """What one observation says of one build."""

    build_id: str
    address: Address | None  # None: the directory is damaged and not registered, so nobody knows
    build: Build | None  # None: its files are damaged or gone
    state: State
    reason: str  # a sentence's worth, for people
    registration: Registration | None  # None: not registered, or unknown
    active_services: tuple[str, ...]  # those whose new invocations come to this build
    demand: Demand | None  # None: unknown
    files: Files = Files.WHOLE
    mark: Mark | None = None

    @property
    def timestamp(self) -> int:
        """Of the build; 0 where nobody knows its address."""
        return self.address.timestamp if self.address else 0

    @property
    def path(self) -> str | None:
        """Where the build is served; None where nobody knows its address."""
        return self.address.path if self.address else None


def statuses_of(inventory: Inventory, seen: Observation) -> tuple[BuildStatus, ...]:
    """Decide the state of every build: those that are stored, and those that Restate alone remembers.

    By timestamp. `inventory` is that of the observation, which is known then.
    """
    subjects = _subjects_of(inventory, seen)
    active = _active_services(seen.newest)
    statuses = (_status_of(subject, seen, active) for subject in subjects)
    return tuple(sorted(statuses, key=lambda status: (status.timestamp, status.build_id)))


def lacks_builds(seen: Observation) -> bool:
    """Tell whether builds are registered from this bundle directory that the inventory does not have.

    They came to be while it was looked, or somebody deleted their files.
    """
    if isinstance(seen.inventory, Unknown) or isinstance(seen.registrations, Unknown):
        return False
    stored = {build.build_id for build in seen.inventory.builds}
    known = stored | {damaged.build_id for damaged in seen.inventory.damaged}
    ours = (each for each in seen.registrations if each.metadata.get(STORE_KEY) == seen.inventory.identity)
    return any(each.build_id not in known for each in ours)


@dataclass(frozen=True, slots=True)
class _Subject:
    """A build and its traces."""

    build_id: str
    address: Address | None
    build: Build | None
    mark: Mark | None
    registrations: Sequence[Registration]
    files: Files
    problem: str  # with its files; empty: none


def _subjects_of(inventory: Inventory, seen: Observation) -> list[_Subject]:
    registered: dict[Address, list[Registration]] = defaultdict(list)
    if not isinstance(seen.registrations, Unknown):
        for registration in seen.registrations:
            if registration.address is not None:
                registered[registration.address].append(registration)
    stored = [_subject_of(build, registered, inventory, seen) for build in inventory.builds]
    taken = {subject.build_id for subject in stored}
    damaged = {each.build_id: each for each in inventory.damaged}
    registered_only = [
        _subject_without_files(address, registrations, inventory, damaged.pop(str(address), None))
        for address, registrations in registered.items()
        # not where another build's directory has that name, or at somebody else's endpoint with such a path
        if str(address) not in taken and any(each.build_id for each in registrations)
    ]
    damaged_only = [
        _Subject(each.build_id, None, None, None, [], Files.DAMAGED, each.reason) for each in damaged.values()
    ]
    return [*stored, *registered_only, *damaged_only]


def _subject_of(
    build: Build, registered: dict[Address, list[Registration]], inventory: Inventory, seen: Observation
) -> _Subject:
    """Take the registrations of a stored build out of all."""
    address = build.address
    build_id, registrations = str(address), registered.pop(address, [])
    problem = seen.damage.get(build_id, "")
    files = Files.DAMAGED if problem else Files.WHOLE
    return _Subject(build_id, address, build, inventory.marks.get(build_id), registrations, files, problem)


def _subject_without_files(
    address: Address,
    registrations: Sequence[Registration],
    inventory: Inventory,
    damaged: Damaged | None,
) -> _Subject:
    if damaged is not None:
        files, problem = Files.DAMAGED, damaged.reason
    elif all(each.metadata.get(STORE_KEY) == inventory.identity for each in registrations):
        files, problem = Files.GONE, "its files are gone"
    else:
        files, problem = Files.ELSEWHERE, "it was registered from another bundle directory than this"
    return _Subject(str(address), address, None, None, registrations, files, problem)


def _status_of(subject: _Subject, seen: Observation, active: Active | Unknown) -> BuildStatus:
    """Decide by what Restate says; where files lack, nobody can use the build, and that is its state."""
    status = _status_in_restate(subject, seen, active)
    match subject.files, status.state:
        case (Files.WHOLE, _) | (_, State.UNKNOWN):
            return status
        case (Files.GONE | Files.DAMAGED, State.DRAINED):
            return status  # it goes as it is
        case (Files.DAMAGED, State.RETIRED):
            return status  # it serves nobody; a rollback to it finds the damage
    return replace(status, state=State.FAILED, reason=f"{subject.problem}; {status.reason}")


def _status_in_restate(subject: _Subject, seen: Observation, active: Active | Unknown) -> BuildStatus:
    if isinstance(seen.registrations, Unknown):
        reason = f"Restate's registrations are unknown: {seen.registrations.reason}"
        return _make(subject, State.UNKNOWN, reason, demand=None)
    match subject.registrations:
        case []:
            return _status_of_unregistered(subject, seen)
        case [registration]:
            return _status_of_registered(subject, registration, seen, active)
        case several:
            ids = _listed([registration.deployment_id for registration in several])
            reason = f"registered more than once ({ids}); remove from Restate what is too much"
            return _make(subject, State.UNKNOWN, reason, demand=None)


def _make(  # noqa: PLR0913 - the parts of a status
    subject: _Subject,
    state: State,
    reason: str,
    *,
    demand: Demand | None,
    registration: Registration | None = None,
    active: tuple[str, ...] = (),
) -> BuildStatus:
    return BuildStatus(
        subject.build_id,
        subject.address,
        subject.build,
        state,
        reason,
        registration,
        active,
        demand,
        subject.files,
        subject.mark,
    )


def _status_of_unregistered(subject: _Subject, seen: Observation) -> BuildStatus:
    build_id = subject.build_id
    if build_id in seen.activating:
        return _make(subject, State.STAGED, "its activation is under way", demand=IDLE)
    if subject.build is None:
        return _make(subject, State.FAILED, "not registered with Restate", demand=IDLE)
    match subject.mark:
        case Mark.ACTIVATING | Mark.REGISTERING:
            return _make(subject, State.FAILED, "its activation did not come to its end", demand=IDLE)
        case Mark.RETIRED | Mark.LEAVING | Mark.FORCED:
            return _make(subject, State.RETIRED, "not registered with Restate", demand=IDLE)
    if (why := seen.failures.get(build_id)) is not None:
        reason = f"Restate has lost its registration, and to register it again failed: {why}"
        return _make(subject, State.FAILED, reason, demand=IDLE)
    return _make(subject, State.STAGED, "Restate has lost its registration, which is made again", demand=IDLE)


def _status_of_registered(
    subject: _Subject, registration: Registration, seen: Observation, active: Active | Unknown
) -> BuildStatus:
    demand = _demand_of(registration, seen.demand)
    if isinstance(active, Unknown):
        reason = f"Restate's routing is unknown: {active.reason}"
        return _make(subject, State.UNKNOWN, reason, demand=demand, registration=registration)
    services = tuple(sorted(active.get(registration.deployment_id, ())))
    if services:
        reason = f"newest for {_listed(services)}{_superseded(registration, services)}"
        if demand is not None and demand != IDLE:
            reason = f"{reason}; {describe_demand(demand)}"
        return _make(subject, State.ACTIVE, reason, demand=demand, registration=registration, active=services)
    if demand is None:
        why = seen.demand.reason if isinstance(seen.demand, Unknown) else "not read"
        reason = f"Restate's invocations are unknown: {why}"
        return _make(subject, State.UNKNOWN, reason, demand=None, registration=registration)
    state, reason = State.DRAINING, describe_demand(demand)
    if demand == IDLE:
        state, reason = State.DRAINED, "nothing needs it"
    return _make(subject, state, reason, demand=demand, registration=registration)


def _demand_of(registration: Registration, demand: Mapping[str, Demand] | Unknown) -> Demand | None:
    return None if isinstance(demand, Unknown) else demand.get(registration.deployment_id, IDLE)


def _active_services(newest: Mapping[str, str] | Unknown) -> Active | Unknown:
    if isinstance(newest, Unknown):
        return newest
    active: dict[str, list[str]] = defaultdict(list)
    for service, deployment_id in newest.items():
        active[deployment_id].append(service)
    return active


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
