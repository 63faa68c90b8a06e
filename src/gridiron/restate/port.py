"""What the control plane asks of Restate. RestateAdmin does it, and FakeRestate of gridiron.testing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gridiron.lifecycle.observation import Demand, Registration


@dataclass(frozen=True, slots=True)
class DiscoveredHandler:
    """One handler of a service."""

    name: str
    type: str | None  # "Exclusive", "Shared" or "Workflow"; None: a plain service's


@dataclass(frozen=True, slots=True)
class DiscoveredService:
    """One service that a deployment offers."""

    name: str
    type: str  # "Service", "VirtualObject" or "Workflow"
    handlers: tuple[DiscoveredHandler, ...]  # by name


@dataclass(frozen=True, slots=True)
class Discovered:
    """What an endpoint says of itself."""

    services: tuple[DiscoveredService, ...]  # by name


@dataclass(frozen=True, slots=True)
class Registered:
    """A deployment that Restate has now."""

    deployment_id: str
    services: tuple[DiscoveredService, ...]  # by name
    protocol: str | None  # "BidiStream" or "RequestResponse"; None: it is registered, and this is unknown
    created: bool  # False: this uri was registered before, and nothing changed


class RestatePort(Protocol):
    """Restate's administration.

    Every method raises RestateUnavailable when Restate cannot be reached, does not answer in time or answers
    something that is not understood, and RestateRejected when it refuses. Reads may be repeated.

    To find out what is drained, read `fetch_newest` first and `fetch_demand` after it. Once a deployment is
    newest for nothing, no attempt begins on it, so whatever needs it is in the demand that is read then. In
    the other order an invocation may begin between the two reads and be in neither.
    """

    async def discover(self, uri: str) -> Discovered:
        """Read the services of the endpoint at `uri` without registering it.

        RestateRejected has the `restate_code` META0003 when the endpoint refuses the connection or answers
        with a bad status (which is in the reason, and so is its body), META0013 when it answers what is no
        discovery, META0006 when a service changes its type. A `uri` that is registered already is not asked
        again: its services are those of its registration.
        """
        ...

    async def register(self, uri: str, metadata: Mapping[str, str]) -> Registered:
        """Make the endpoint at `uri` the newest for each of its services.

        Safe to repeat: a `uri` that is registered already keeps its id, its metadata and its place, so it
        does not become newest again. Raises as `discover` does. After RestateUnavailable the registration may
        have happened or not; only `fetch_registrations` tells.
        """
        ...

    async def fetch_registrations(self) -> tuple[Registration, ...]:
        """List all deployments, oldest first."""
        ...

    async def fetch_newest(self) -> Mapping[str, str]:
        """Say for each service which deployment gets its new invocations."""
        ...

    async def fetch_demand(self) -> Mapping[str, Demand]:
        """Count what still needs each deployment; one that is not in the answer has none."""
        ...

    async def unregister(self, deployment_id: str) -> None:
        """Remove a deployment, whatever still needs it. Safe to repeat: one that is gone is fine.

        Of each service the newest remaining deployment becomes the one that gets new invocations.
        """
        ...

    async def check(self) -> str:
        """Prove that Restate serves every partition, by a query over all of them; give its version."""
        ...

    async def fetch_version(self) -> str:
        """Give the version of the server."""
        ...
