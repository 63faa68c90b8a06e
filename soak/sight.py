"""What the manager lists, and what follows for a change whose answer did not tell. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from gridiron.model import Address, State
from soak.history import Change, Fate

REGISTERED = frozenset({State.ACTIVE, State.DRAINING, State.DRAINED})


@dataclass(frozen=True, slots=True)
class Listed:
    """A build as `GET /deployments` lists it."""

    address: Address
    state: State
    reason: str
    services: tuple[str, ...]  # those that it is active for

    @property
    def build_id(self) -> str:
        """Its id."""
        return str(self.address)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a change."""

    fate: Fate
    address: Address | None = None  # of its build


def parse_listed(deployment: Mapping[str, Any]) -> Listed:
    """Read one build of the list. Raises ValueError for a path that is none."""
    address = Address.parse_path(deployment["path"])
    if address is None:
        raise ValueError(deployment["path"])
    return Listed(
        address=address,
        state=State(deployment["state"]),
        reason=deployment["reason"],
        services=tuple(service["name"] for service in deployment["services"] if service["active"]),
    )


def find_own(change: Change, listed: Collection[Listed], known: Collection[str]) -> Listed | None:
    """Find the build of a change in a list of its name's; `known` are the builds of other changes."""
    own = [
        build
        for build in listed
        if build.build_id not in known and change.version in {None, build.address.version}
    ]
    return max(own, key=lambda build: build.address.timestamp, default=None)


def judge_sight(own: Listed | None, listed: Collection[Listed], *, patient: bool) -> Sight | None:
    """Tell what came of a change from its build, where there is one; None: look again.

    A build that is stored and not registered may still be registered or taken away: while `patient`, it is
    looked at again.
    """
    if own is None:
        return Sight(Fate.NOTHING)
    if own.state in REGISTERED:
        return Sight(Fate.MADE, own.address)
    if own.state is not State.RETIRED:
        return None
    if any(each.address.timestamp > own.address.timestamp for each in listed):
        return Sight(Fate.UNTOLD, own.address)  # it may have been active until a moment ago
    return None if patient else Sight(Fate.STRAY, own.address)
