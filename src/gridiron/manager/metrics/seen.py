"""What there is to render at one moment: a value, of parts that may be unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gridiron.lifecycle.states import BuildStatus
from gridiron.manager.api import Health
from gridiron.manager.metrics.meters import Meters
from gridiron.process.disk import Disk
from gridiron.workers.status import PoolStatus, PoolTraffic


@dataclass(frozen=True, slots=True)
class Seen:
    """All of it. What is unknown is None, and is left out of the metrics."""

    now: datetime
    meters: Meters
    sweep_seconds: float
    versions: Mapping[str, str]  # of the components' programs
    statuses: tuple[BuildStatus, ...] | None = None  # of the last look
    draining_at: Mapping[str, datetime] = field(default_factory=dict)  # since when a build drains, by its id
    pool: PoolStatus | None = None
    traffic: PoolTraffic | None = None
    health: Health | None = None
    disks: Mapping[str, Disk] = field(default_factory=dict)  # by what the directory is for
    seen_at: Mapping[str, datetime] = field(default_factory=dict)  # by part: when it was last read
