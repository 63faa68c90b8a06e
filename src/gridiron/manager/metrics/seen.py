"""What there is to render at one moment: a value, of parts that may be unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gridiron.lifecycle.states import BuildStatus
from gridiron.manager.api import GuardState, Health
from gridiron.manager.metrics.meters import Meters
from gridiron.process.disk import Disk
from gridiron.workers.status import PoolStatus, PoolTraffic


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """What a node has seen of its cluster, and its guardian done."""

    state: GuardState
    changes: Mapping[str, int]  # how often it was drained and taken back by its guardian, by `CHANGES`
    drain_seconds: float | None  # that its guardian has it drained, or had the last time
    members: Mapping[str, int]  # nodes that are `alive` and `down`; empty: unknown
    partitions_led: int | None


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
    cluster: ClusterSeen | None = None  # None: this node is alone
    disks: Mapping[str, Disk] = field(default_factory=dict)  # by what the directory is for
    seen_at: Mapping[str, datetime] = field(default_factory=dict)  # by part: when it was last read
