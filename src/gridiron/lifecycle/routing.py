"""Who has which Restate service, and what a new build would change about that: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gridiron.errors import BreakingChange, GridironError, RoutingUnknown, ServiceTaken, TakeoverForbidden
from gridiron.lifecycle.observation import Observation, Registration, Unknown
from gridiron.model import Build


@dataclass(frozen=True, slots=True)
class Handler:
    """One handler of a service."""

    name: str
    type: str | None  # "Exclusive", "Shared" or "Workflow"; None: a plain service's


@dataclass(frozen=True, slots=True)
class Service:
    """One Restate service, as a deployment offers it."""

    name: str
    type: str  # "Service", "VirtualObject" or "Workflow"
    handlers: tuple[Handler, ...]  # by name


@dataclass(frozen=True, slots=True)
class Holder:
    """The deployment that gets the new invocations of a service."""

    service: Service  # as it is there
    deployment_id: str


class ChangeKind(StrEnum):
    """What a new build changes about a service that its callers see."""

    SERVICE_ADDED = "service_added"
    SERVICE_REMOVED = "service_removed"  # the build before keeps it
    SERVICE_TYPE_CHANGED = "service_type_changed"
    HANDLER_ADDED = "handler_added"
    HANDLER_REMOVED = "handler_removed"
    HANDLER_TYPE_CHANGED = "handler_type_changed"


HARMLESS = frozenset({ChangeKind.SERVICE_ADDED, ChangeKind.HANDLER_ADDED})


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what callers have now and what they would have."""

    kind: ChangeKind
    service: str
    handler: str | None = None
    before: str | None = None  # the type
    after: str | None = None

    @property
    def breaking(self) -> bool:
        """Whether a caller who relies on how it is may fail."""
        return self.kind not in HARMLESS

    def __str__(self) -> str:
        what = f"{self.service}/{self.handler}" if self.handler else self.service
        match self.kind:
            case ChangeKind.SERVICE_ADDED | ChangeKind.HANDLER_ADDED:
                return f"{what} is added"
            case ChangeKind.SERVICE_REMOVED | ChangeKind.HANDLER_REMOVED:
                return f"{what} is removed"
            case _:
                return f"{what} changes from {self.before or 'Service'} to {self.after or 'Service'}"


@dataclass(frozen=True, slots=True)
class Owner:
    """What has a service. `str()` names it."""

    shown: str  # a build by its id, anything else by its uri
    name: str | None  # of the builds; None: it is nothing that was deployed here

    def __str__(self) -> str:
        return self.shown


def _is_nobodys(_name: str | None) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the caller of an activation has agreed to, and may do."""

    breaking: bool = False  # callers of its services may fail
    takeover: bool = False  # services of others become its own
    dry_run: bool = False  # only to be told of it
    may_take: Callable[[str | None], bool] = _is_nobodys  # whether from an owner of this name


@dataclass(frozen=True, slots=True)
class Routing:
    """What the registration of a build would do to the services there are."""

    changes: tuple[Change, ...]
    taken: Mapping[str, Owner]  # by service, where that is no build of the same name


def compare(
    offered: Collection[Service], holders: Mapping[str, Holder], given_up: Collection[str]
) -> tuple[Change, ...]:
    """Find what changes for callers, in the order of the services' names.

    `holders` has, by name, each service of those offered that somebody has already; `given_up` the services
    that the newest build of the name has and the new one does not offer.
    """
    changes = [Change(ChangeKind.SERVICE_REMOVED, service) for service in given_up]
    for service in offered:
        holder = holders.get(service.name)
        if holder is None:
            changes.append(Change(ChangeKind.SERVICE_ADDED, service.name))
        else:
            changes += _compare_service(holder.service, service)
    return tuple(sorted(changes, key=lambda change: (change.service, change.handler or "")))


def _compare_service(before: Service, after: Service) -> list[Change]:
    changes = []
    if before.type != after.type:
        kind = ChangeKind.SERVICE_TYPE_CHANGED
        changes.append(Change(kind, after.name, before=before.type, after=after.type))
    old = {handler.name: handler.type for handler in before.handlers}
    new = {handler.name: handler.type for handler in after.handlers}
    changes += [Change(ChangeKind.HANDLER_REMOVED, after.name, name) for name in old.keys() - new.keys()]
    changes += [Change(ChangeKind.HANDLER_ADDED, after.name, name) for name in new.keys() - old.keys()]
    if before.type == after.type:  # else each handler's type has changed with its service's
        changes += [
            Change(ChangeKind.HANDLER_TYPE_CHANGED, after.name, name, before=old[name], after=new[name])
            for name in old.keys() & new.keys()
            if old[name] != new[name]
        ]
    return changes


def find_taken(
    name: str, held: Mapping[str, Holder], registrations: Collection[Registration]
) -> dict[str, Owner]:
    """Find the services that belong to something else than builds of a name, each with its owner.

    `held` has the services and who has them. One whose deployment is gone by now belongs to nobody.
    """
    owners = {each.deployment_id: each for each in registrations}
    return {
        service: Owner(describe_owner(owner), _name_of(owner))
        for service, holder in sorted(held.items())
        if (owner := owners.get(holder.deployment_id)) is not None and _name_of(owner) != name
    }


def find_newer(
    build: Build, held: Mapping[str, str], registrations: Collection[Registration]
) -> dict[str, str]:
    """Find the services that something newer than a build has, each with its owner (`describe_owner`).

    `held` has the services and the ids of the deployments that have them.
    """
    owners = {each.deployment_id: each for each in registrations}
    return {
        service: describe_owner(owner)
        for service, deployment_id in held.items()
        if (owner := owners.get(deployment_id)) is not None and _is_newer(owner, build)
    }


def find_refusals(routing: Routing, allowed: Allowed) -> tuple[GridironError, ...]:
    """Say why an activation is refused that would do this, with what its caller has allowed."""
    refusals: list[GridironError] = []
    kept = {service: owner for service, owner in routing.taken.items() if not allowed.may_take(owner.name)}
    if routing.taken and not allowed.takeover:
        refusals.append(ServiceTaken(describe_owners(routing.taken)))
    elif kept:
        refusals.append(TakeoverForbidden(describe_owners(kept)))
    if not allowed.breaking and (breaks := [str(change) for change in routing.changes if change.breaking]):
        refusals.append(BreakingChange("; ".join(breaks)))
    return tuple(refusals)


def find_outranking(build: Build, services: Collection[str], seen: Observation) -> dict[str, str]:
    """Find the services that would be taken from something newer if a build were registered (again) now.

    Gives each with its owner (`describe_owner`). Raises RoutingUnknown.
    """
    if isinstance(seen.registrations, Unknown):
        raise RoutingUnknown(seen.registrations.reason)
    if isinstance(seen.newest, Unknown):
        raise RoutingUnknown(seen.newest.reason)
    held = {service: seen.newest[service] for service in services if service in seen.newest}
    return find_newer(build, held, seen.registrations)


def describe_owners(owners: Mapping[str, Owner] | Mapping[str, str]) -> str:
    """List services with their owners: `cart (shop-1.0.0-1), clock (http://…)`."""
    return ", ".join(f"{service} ({owner})" for service, owner in sorted(owners.items()))


def describe_owner(registration: Registration) -> str:
    """Name what has a service: a build by its id, anything else by its uri."""
    return registration.build_id or registration.uri


def _name_of(registration: Registration) -> str | None:
    """Give the name of the build that a registration is of; None where it is of none."""
    if registration.build_id is None or registration.address is None:
        return None
    return registration.address.name


def _is_newer(registration: Registration, build: Build) -> bool:
    if registration.build_id is not None and registration.address is not None:
        return registration.address.timestamp > build.timestamp
    return registration.created_at > build.created_at
