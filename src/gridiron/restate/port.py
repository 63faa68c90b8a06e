"""What the control plane asks of Restate. RestateAdmin does it, and FakeRestate of gridiron.testing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Holder, Service

if TYPE_CHECKING:
    from gridiron.restate.view import View  # a node that is alone has no use for it

WorkerState = Literal["active", "draining"]


@dataclass(frozen=True, slots=True)
class Discovered:
    """What an endpoint says of itself."""

    services: tuple[Service, ...]  # by name


@dataclass(frozen=True, slots=True)
class Registered:
    """A deployment that Restate has now."""

    deployment_id: str
    services: tuple[Service, ...]  # by name
    protocol: str | None  # "BidiStream" or "RequestResponse"; None: it is registered, and this is unknown
    created: bool  # False: this uri was registered before, and nothing changed


@dataclass(frozen=True, slots=True)
class Holding:
    """An invocation that still needs a deployment."""

    invocation_id: str
    target: str  # `service/handler` or `service/key/handler`
    status: str  # Restate's own: running, backing-off, suspended, paused, …
    pinned: bool  # False: it may go on elsewhere
    created_at: datetime
    attempts: int  # that failed so far in a row, as far as Restate remembers
    failure: str | None  # of the last one


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
        discovery. What the services would change is not looked at. A `uri` that is registered already is not
        asked again: its services are those of its registration.
        """
        ...

    async def register(self, uri: str, metadata: Mapping[str, str], *, breaking: bool = False) -> Registered:
        """Make the endpoint at `uri` the newest for each of its services.

        Unless `breaking`, a service may not change its type: RestateRejected has META0006. Safe to repeat: a
        `uri` that is registered already keeps its id, its metadata and its place, so it does not become
        newest again. Raises as `discover` does. After RestateUnavailable the registration may have happened
        or not; only `fetch_registrations` tells, and only after a while: seen with 1.7.12 is one that
        appeared 11 s after its client had gone.
        """
        ...

    async def fetch_registrations(self) -> tuple[Registration, ...]:
        """List all deployments, oldest first."""
        ...

    async def fetch_newest(self) -> Mapping[str, str]:
        """Say for each service which deployment gets its new invocations."""
        ...

    async def fetch_holder(self, service: str) -> Holder | None:
        """Say which deployment gets the new invocations of one service, and how it is there."""
        ...

    async def fetch_demand(self) -> Mapping[str, Demand]:
        """Count what still needs each deployment; one that is not in the answer has none."""
        ...

    async def unregister(self, deployment_id: str) -> None:
        """Remove a deployment, whatever still needs it. Safe to repeat: one that is gone is fine.

        Of each service the newest remaining deployment becomes the one that gets new invocations.
        """
        ...

    async def fetch_start(self) -> str:
        """Name this start of Restate, once it knows of what was registered before it.

        The registrations that are read between two calls that give the same are whole, and so is what is
        newest, but for what other nodes have just registered: see `catch_up`. What invocations need may not
        be: see `fetch_incarnation`. RestateUnavailable while it is starting.
        """
        ...

    async def catch_up(self) -> None:
        """Wait until this node knows all that other nodes have registered. Safe to repeat.

        RestateUnavailable where one of them that may be alive does not answer, or most are down; a node alone
        is not asked.
        """
        ...

    async def fetch_incarnation(self) -> str:
        """Name this start of Restate, once it answers in full: see `gridiron.restate.incarnation`.

        On several nodes it names this node's start and all that lead: see `gridiron.restate.cluster`.

        What is read between two calls that give the same is whole. RestateUnavailable while it is starting.
        """
        ...

    async def fetch_holding(self, deployment_id: str, limit: int) -> tuple[Holding, ...]:
        """List up to `limit` invocations that still need a deployment, the oldest first."""
        ...

    async def check(self) -> str:
        """Prove that Restate serves every partition, by a query over all of them; give its version."""
        ...

    async def fetch_version(self) -> str:
        """Give the version of the server."""
        ...


class ClusterPort(Protocol):
    """What a manager asks of its cluster of Restate. RestateCluster does it, FakeCluster of gridiron.testing.

    Every method raises RestateUnavailable where the cluster does not answer.
    """

    async def fetch_view(self) -> View:
        """Give the nodes and the partitions as this node sees them."""
        ...

    async def set_worker_state(self, node_id: str, state: WorkerState) -> None:
        """Let a node run partitions (`active`), or move all of them away from it (`draining`).

        Leaders leave a draining node within some seconds after this has returned. Safe to repeat. After
        RestateUnavailable it may have happened or not. Raises ClusterRejected.
        """
        ...
