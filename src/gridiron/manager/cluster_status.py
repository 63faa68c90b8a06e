"""How a cluster is: put together of what Restate, the other managers and the bucket say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

import gridiron
from gridiron.cluster import Cluster
from gridiron.errors import BucketRefused, BucketUnavailable, RestateUnavailable
from gridiron.manager.api import Guarding, Health
from gridiron.manager.cluster_api import (
    ClusterBucket,
    ClusterLog,
    ClusterMember,
    ClusterPartition,
    ClusterStatus,
    MemberManager,
)
from gridiron.manager.cluster_warnings import find_warnings
from gridiron.manager.own_thread import OwnThread
from gridiron.manager.peers.api import NodeBuilds, NodeHealth
from gridiron.manager.peers.client import Peer, Unreached
from gridiron.objects.port import Listed, Objects
from gridiron.restate.config import SNAPSHOTS_FOLDER
from gridiron.restate.segments import Segment, find_last

if TYPE_CHECKING:  # a node that is alone has no use for it
    from gridiron.restate.view import Member, Partition, View

LIMIT = timedelta(seconds=3)
"""How long the bucket, and the majority of the nodes, may take to answer. What they say is unknown then."""

LATEST = "latest.json"
"""What Restate writes last of a snapshot, below its partition's number; as of Restate 1.7."""

T = TypeVar("T")


class ClusterReading(Protocol):
    """What is read of Restate's cluster: a RestateCluster."""

    async def fetch_view(self) -> View:
        """Give the nodes and the partitions as this node sees them. Raises RestateUnavailable."""
        ...

    async def fetch_replication(self) -> int:
        """Say on how many nodes everything is kept. Raises RestateUnavailable."""
        ...

    async def fetch_segments(self) -> Sequence[Segment]:
        """List the parts of all logs. Raises RestateUnavailable."""
        ...


class PeersReading(Protocol):
    """What is read of the other managers: Peers."""

    async def fetch_builds(self) -> Mapping[Peer, NodeBuilds | Unreached]:
        """Ask every node what it has of all builds."""
        ...

    async def fetch_nodes(self) -> Mapping[Peer, NodeHealth | Unreached]:
        """Ask every node how it is."""
        ...


@dataclass(frozen=True, slots=True)
class Own:
    """What this node says of itself."""

    node: str
    now: datetime
    health: Health
    builds: NodeBuilds
    guarding: Guarding | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read at one moment."""

    own: Own
    view: View
    nodes: Mapping[Peer, NodeHealth | Unreached]
    builds: Mapping[Peer, NodeBuilds | Unreached]
    replication: int | None
    bucket: ClusterBucket
    snapshots_at: Mapping[int, datetime] = field(default_factory=dict)  # by partition
    segments: Sequence[Segment] | None = None  # of all logs


class StatusReader:
    """Reads how the cluster is."""

    def __init__(
        self, cluster: Cluster, restate: ClusterReading, peers: PeersReading, objects: Objects
    ) -> None:
        """Take what the node is told of its cluster, and those who say how it is."""
        self._cluster = cluster
        self._restate = restate
        self._peers = peers
        self._url = objects.url
        self._list_snapshots = OwnThread(lambda: objects.list(SNAPSHOTS_FOLDER))

    async def fetch(self, own: Own) -> ClusterStatus:
        """Read it. Takes some seconds where much is away. Raises RestateUnavailable: this node's own."""
        view, nodes, builds, replication, segments, stored = await asyncio.gather(
            self._restate.fetch_view(),
            self._peers.fetch_nodes(),
            self._peers.fetch_builds(),
            _or_none(self._restate.fetch_replication()),
            _or_none(self._restate.fetch_segments()),
            self._try_bucket(),
        )
        bucket, snapshots_at = stored
        seen = Seen(own, view, nodes, builds, replication, bucket, snapshots_at, segments)
        return render_status(self._cluster, seen)

    async def _try_bucket(self) -> tuple[ClusterBucket, Mapping[int, datetime]]:
        reason = f"no answer within {LIMIT.total_seconds():.0f} s"
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                listed = await self._list_snapshots()
            return ClusterBucket(url=self._url, reachable=True), find_snapshots(listed)
        except (BucketUnavailable, BucketRefused) as error:
            reason = error.reason
        except TimeoutError:
            pass
        return ClusterBucket(url=self._url, reachable=False, reason=reason), {}


async def _or_none(reading: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(LIMIT.total_seconds()):
            return await reading
    except (RestateUnavailable, TimeoutError):
        return None


def find_snapshots(listed: Iterable[Listed]) -> Mapping[int, datetime]:
    """Say when each partition's last snapshot was stored, by what a listing of all of them has."""
    found: dict[int, datetime] = {}
    for each in listed:
        folder, _, name = each.key.removeprefix(f"{SNAPSHOTS_FOLDER}/").partition("/")
        if name == LATEST and folder.isdecimal():
            found[int(folder)] = each.modified_at
    return found


def render_status(cluster: Cluster, seen: Seen) -> ClusterStatus:
    """Put together what was read, with what it warns of."""
    names = {member.node_id: member.name for member in seen.view.members}
    status = ClusterStatus(
        name=cluster.name,
        node=seen.own.node,
        now=seen.own.now,
        members=tuple(_render_member(member, seen) for member in seen.view.members),
        partitions=tuple(_render_partition(each, names, seen) for each in seen.view.partitions),
        logs=None if seen.segments is None else _render_logs(seen.segments, names),
        replication=seen.replication,
        wanted_replication=cluster.replication,
        told=len(cluster.members),
        bucket=seen.bucket,
    )
    return status.model_copy(update={"warnings": find_warnings(status)})


def _render_member(member: Member, seen: Seen) -> ClusterMember:
    return ClusterMember(
        name=member.name,
        node_id=member.node_id,
        address=member.address,
        alive=member.alive,
        worker_state=member.worker_state,
        storage_state=member.storage_state,
        keeps_metadata=member.keeps_metadata,
        leads=tuple(each.partition_id for each in seen.view.partitions if each.led_by == member.node_id),
        manager=_render_manager(member, seen) if member.alive else None,
    )


def _render_manager(member: Member, seen: Seen) -> MemberManager:
    own = seen.own
    if member.name == own.node:
        return _render_reached(own.health, own.guarding, gridiron.__version__, 0.0, own.builds)
    node = _find(seen.nodes, member.name)
    if not isinstance(node, NodeHealth):
        return MemberManager(
            reachable=False, reason="it was not asked" if node is None else node.reason.rstrip(".")
        )
    if node.status.node != member.name:  # another node has its address by now
        return MemberManager(reachable=False, reason=f"{node.status.node} answers at its address")
    builds = _find(seen.builds, member.name)
    ahead = (node.status.now - own.now).total_seconds()
    known = builds if isinstance(builds, NodeBuilds) else None
    return _render_reached(node.health, node.guarding, node.status.version, ahead, known)


def _render_reached(
    health: Health, guarding: Guarding | None, version: str, ahead_seconds: float, builds: NodeBuilds | None
) -> MemberManager:
    copies = builds.copies if builds is not None else None
    loaded = builds.loaded if builds is not None else None
    return MemberManager(
        reachable=True,
        ready=health.ready,
        unready=health.reason,
        version=version,
        clock_ahead_seconds=round(ahead_seconds, 1),
        guarding=guarding,
        copies=None if copies is None else len(copies),
        loaded=None if loaded is None else len({path for cell in loaded.values() for path in cell}),
    )


def _find(answers: Mapping[Peer, T], name: str) -> T | None:
    return next((answer for peer, answer in answers.items() if peer.node == name), None)


def _render_logs(segments: Sequence[Segment], names: Mapping[str, str]) -> tuple[ClusterLog, ...]:
    parts = Counter(segment.log_id for segment in segments)
    return tuple(
        ClusterLog(
            id=last.log_id,
            nodes=tuple(sorted(names.get(node_id, node_id) for node_id in last.nodes)),
            parts=parts[last.log_id],
        )
        for last in find_last(segments)
    )


def _render_partition(each: Partition, names: Mapping[str, str], seen: Seen) -> ClusterPartition:
    leader = each.led_by
    known = each.applied_lsn is not None and each.archived_lsn is not None
    return ClusterPartition(
        id=each.partition_id,
        leader=None if leader is None else names.get(leader, leader),
        epoch=each.epoch,
        active=each.active,
        replicas=tuple(names.get(node_id, node_id) for node_id in each.replicas),
        applied_lsn=each.applied_lsn,
        archived_lsn=each.archived_lsn,
        not_archived=max((each.applied_lsn or 0) - (each.archived_lsn or 0), 0) if known else None,
        snapshot_at=seen.snapshots_at.get(each.partition_id),
    )
