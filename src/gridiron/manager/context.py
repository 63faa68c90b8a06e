"""What the control plane works with: one value that every part of it is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gridiron.bundles.intake import Intake, Policy
from gridiron.bundles.store import BundleStore
from gridiron.lifecycle.plan import Policy as Lifespan
from gridiron.manager.admission import Admission
from gridiron.manager.api import NodeCopy
from gridiron.manager.metrics.meters import Meters
from gridiron.manager.registry import Registry
from gridiron.manager.traces import NoTracer, Tracer
from gridiron.model import Address
from gridiron.restate.port import RestatePort
from gridiron.secrets.store import SecretStore
from gridiron.settings import Settings
from gridiron.workers.cells import CellsPort

if TYPE_CHECKING:
    from gridiron.manager.mesh import Mesh

Spread = Callable[[Address], Awaitable[tuple[NodeCopy, ...]]]
"""Has the other nodes of a cluster fetch a build that was just stored, and says which of them have it."""


async def to_nobody(_address: Address) -> tuple[NodeCopy, ...]:
    """Spread a build where there is no other node."""
    return ()


@dataclass(slots=True)
class Context:
    """The systems outside, the registry and the clock of one manager."""

    settings: Settings  # only `take_up` puts others here
    store: BundleStore
    intake: Intake
    admission: Admission  # to it
    restate: RestatePort
    cells: CellsPort
    registry: Registry
    secrets: SecretStore
    spread: Spread = to_nobody
    meters: Meters = field(default_factory=Meters)
    tracer: Tracer = field(default_factory=NoTracer)
    mesh: Mesh | None = None  # None: this node is alone
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def policy(self) -> Lifespan:
        """How long builds are kept."""
        return Lifespan(grace=self.settings.drain_grace, retain=self.settings.retain)

    def take_up(self, written: Settings) -> None:
        """Go on with the live settings as they are written now. Safe to repeat.

        Raises KeyInvalid where they name keys that cannot be used: nothing is changed then.
        """
        settings = self.settings.take_up(written)
        self.intake.take_up(Policy.of(settings))
        self.settings = settings

    def uri(self, address: Address) -> str:
        """Where Restate finds a build: the workers' URL and the build's path."""
        return self.settings.workers_url.rstrip("/") + address.path
