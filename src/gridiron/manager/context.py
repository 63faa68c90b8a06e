"""What the control plane works with: one value that every part of it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gridiron.bundles.intake import Intake
from gridiron.bundles.store import BundleStore
from gridiron.lifecycle.plan import Policy
from gridiron.manager.admission import Admission
from gridiron.manager.metrics.meters import Meters
from gridiron.manager.registry import Registry
from gridiron.manager.traces import NoTracer, Tracer
from gridiron.model import Address
from gridiron.restate.port import RestatePort
from gridiron.secrets.store import SecretStore
from gridiron.settings import Settings
from gridiron.workers.cells import CellsPort


@dataclass(frozen=True, slots=True)
class Context:
    """The systems outside, the registry and the clock of one manager."""

    settings: Settings
    store: BundleStore
    intake: Intake
    admission: Admission  # to it
    restate: RestatePort
    cells: CellsPort
    registry: Registry
    secrets: SecretStore
    meters: Meters = field(default_factory=Meters)
    tracer: Tracer = field(default_factory=NoTracer)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def policy(self) -> Policy:
        """How long builds are kept."""
        return Policy(grace=self.settings.drain_grace, retain=self.settings.retain)

    def uri(self, address: Address) -> str:
        """Where Restate finds a build: the workers' URL and the build's path."""
        return self.settings.workers_url.rstrip("/") + address.path
