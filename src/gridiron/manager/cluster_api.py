"""What goes over the manager's HTTP API about the cluster that its node belongs to."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from gridiron.manager.api import Guarding
from gridiron.model import Value

WarningCode = Literal[
    "bucket_unavailable",
    "clock_differs",
    "few_partitions",
    "majority_lost",
    "manager_unreachable",
    "no_copies",
    "no_snapshot",
    "no_spare_node",
    "node_down",
    "node_draining",
    "node_half_removed",
    "node_unready",
    "old_snapshot",
    "partition_leaderless",
    "partition_starting",
    "replication_differs",
    "version_differs",
]


class ClusterWarning(Value):
    """Something that wants an operator's attention."""

    code: WarningCode = Field(description="Stable; compare this.")
    detail: str = Field(description="What it is and what to do.")
    node: str | None = Field(default=None, description="The node that it is about, where it is about one.")


class MemberManager(Value):
    """What the manager of a node says of it."""

    reachable: bool
    reason: str = Field(default="", description="Why it cannot be reached.")
    ready: bool | None = Field(default=None, description="As its `/health/ready` says; None: unknown.")
    unready: str = Field(default="", description="Why it is not ready.")
    version: str | None = Field(default=None, description="Of Gridiron.")
    clock_ahead_seconds: float | None = Field(
        default=None, description="How far its clock is ahead of that of the node that was asked."
    )
    guarding: Guarding | None = Field(
        default=None, description="What its guardian has made of the node; None: unknown."
    )
    copies: int | None = Field(default=None, description="Builds whose files are on its disk.")
    loaded: int | None = Field(default=None, description="Builds that its cells have loaded.")


class ClusterMember(Value):
    """A node of the cluster, as the node that was asked sees it."""

    name: str
    node_id: str = Field(description="Restate's own, for good: `N2`.")
    address: str = Field(description="Where its peers reach its Restate.")
    alive: bool
    worker_state: str = Field(description="`active`: it may lead partitions; `draining`: it may not.")
    storage_state: str = Field(description="`read-write`: it keeps a part of the logs.")
    keeps_metadata: bool = Field(description="Whether it is one of those whose majority decides.")
    leads: tuple[int, ...] = Field(description="The partitions that it leads.")
    manager: MemberManager | None = Field(description="None: it is down.")

    @property
    def may_lead(self) -> bool:
        """Whether it may lead partitions, as far as the node that was asked knows."""
        return self.alive and self.worker_state == "active"


class ClusterPartition(Value):
    """A partition: a part of all invocations and objects, with one leader that runs them."""

    id: int
    leader: str | None = Field(description="The name of a node; None: there is none.")
    epoch: str | None = Field(description="Grows with each change of the leader.")
    active: bool = Field(description="Whether the leader has all that came before it.")
    replicas: tuple[str, ...] = Field(description="The nodes that can become its leader at once.")
    applied_lsn: int | None = Field(description="How far the leader has come in the log.")
    archived_lsn: int | None = Field(description="Up to where there is a snapshot; None: there is none.")
    not_archived: int | None = Field(description="Records since then; None: unknown, or no snapshot.")
    snapshot_at: datetime | None = Field(description="When the last snapshot was stored; None: unknown.")


class ClusterLog(Value):
    """What a partition has done and is to do, as it is kept on several nodes."""

    id: int = Field(description="That of the partition.")
    nodes: tuple[str, ...] = Field(description="Those that may keep what is written now.")
    parts: int = Field(description="How many it has; the older ones go when snapshots have all of them.")


class ClusterBucket(Value):
    """The bucket that the nodes share, as the node that was asked reaches it."""

    url: str
    reachable: bool
    reason: str = Field(default="", description="Why it cannot be reached.")


class ClusterStatus(Value):
    """A cluster, as the node that was asked sees it. One that is cut off takes the others for down."""

    name: str
    node: str = Field(description="The node that was asked.")
    now: datetime = Field(description="Its clock.")
    members: tuple[ClusterMember, ...]
    partitions: tuple[ClusterPartition, ...]
    logs: tuple[ClusterLog, ...] | None = Field(default=None, description="None: unknown.")
    replication: int | None = Field(description="On how many nodes everything is kept; None: unknown.")
    wanted_replication: int = Field(description="The same as the settings of the node say.")
    told: int = Field(description="How many nodes its settings name.")
    bucket: ClusterBucket
    warnings: tuple[ClusterWarning, ...] = ()


class NodeChanged(Value):
    """What became of a node."""

    node: str
    worker_state: str
    changed: bool = Field(description="False: it was so already.")


class NodeRemoved(Value):
    """A node that the cluster has no longer."""

    node: str
    node_id: str


class Grown(Value):
    """How far a cluster has come that is to keep everything on several nodes."""

    replication: int
    wanted_replication: int
    changed: bool = Field(description="Whether this call made it keep more copies.")
    missing: int = Field(description="How many nodes have to start before it can.")
