"""What of a cluster wants an operator's attention: pure functions of what its nodes say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from gridiron.manager.cluster_api import ClusterMember, ClusterPartition, ClusterStatus, ClusterWarning

MAX_APART = timedelta(seconds=5)
"""How far clocks may be apart: versions of builds have times in them. An answer takes up to a second."""

MAX_AGE = timedelta(hours=1)
"""Of a snapshot, where there is much that it lacks. Restate makes one every five minutes."""

MUCH = 10_000
"""Records that a snapshot may lack without being called old: an idle partition makes none."""


def find_warnings(status: ClusterStatus) -> tuple[ClusterWarning, ...]:
    """Say what is wrong, or would be if one thing more went wrong, whatever `status` warns of."""
    return (
        *_of_nodes(status),
        *_of_managers(status),
        *_of_versions(status),
        *_of_partitions(status),
        *_of_redundancy(status),
        *_of_snapshots(status),
        *_of_bucket(status),
    )


def _of_nodes(status: ClusterStatus) -> Iterator[ClusterWarning]:
    keepers = [member for member in status.members if member.keeps_metadata]
    alive = sum(member.alive for member in keepers)
    if keepers and not _is_majority(alive, len(keepers)):
        yield ClusterWarning(
            code="majority_lost",
            detail=f"{status.node} sees {alive} of the {len(keepers)} nodes that decide together: it is cut "
            "off, or others are down. Until it sees most, nothing can be changed, and calls here wait.",
        )
    for member in status.members:
        if not member.alive:
            yield ClusterWarning(
                code="node_down",
                node=member.name,
                detail=f"{member.name} is down, or cut off from {status.node}. Start it again; where its "
                f"disk is lost, start another in its place, then `gridiron cluster replace {member.name}`.",
            )
        if member.worker_state == "draining":
            yield ClusterWarning(code="node_draining", node=member.name, detail=_describe_drain(member))
        if is_half_removed(alive=member.alive, storage_state=member.storage_state):
            yield ClusterWarning(
                code="node_half_removed",
                node=member.name,
                detail=f"{member.name} is back in the middle of its removal, and keeps nothing new: "
                f"`gridiron cluster activate {member.name}` undoes that; to remove it, stop it first.",
            )


def is_half_removed(*, alive: bool, storage_state: str) -> bool:
    """Tell whether a node came back in the middle of its removal.

    That makes the storage `read-only` before it takes the node out of those that keep metadata, and what
    undoes it makes it `read-write` at last. No removal begins with other states, such as `data-loss`.
    """
    return alive and storage_state == "read-only"


def _describe_drain(member: ClusterMember) -> str:
    guarding = member.manager.guarding if member.manager else None
    if guarding is not None and guarding.state == "drained":
        why = f", as {guarding.reason}" if guarding.reason else ""
        return f"{member.name} was drained by its guardian{why}. It leads again once that is mended."
    mend = f"`gridiron cluster activate {member.name}` has it lead again."
    return f"{member.name} is drained, and leads nothing: {mend}"


def _of_managers(status: ClusterStatus) -> Iterator[ClusterWarning]:
    for member in status.members:
        manager = member.manager
        if manager is None:
            continue
        if not manager.reachable:
            yield ClusterWarning(
                code="manager_unreachable",
                node=member.name,
                detail=f"The manager of {member.name} does not answer {status.node}: {manager.reason}.",
            )
        elif manager.ready is False:
            yield ClusterWarning(
                code="node_unready",
                node=member.name,
                detail=f"{member.name} is not ready: {manager.unready}.",
            )
        apart = manager.clock_ahead_seconds
        if apart is not None and abs(apart) > MAX_APART.total_seconds():
            direction = "ahead of" if apart > 0 else "behind"
            yield ClusterWarning(
                code="clock_differs",
                node=member.name,
                detail=f"The clock of {member.name} is {abs(apart):.0f} s {direction} that of {status.node}: "
                "have all nodes keep their clocks, as with chrony or systemd-timesyncd.",
            )


def _of_versions(status: ClusterStatus) -> Iterator[ClusterWarning]:
    """Tell of the nodes whose version is not that of most; which of two halves is right, nobody knows."""
    versions = {
        member.name: member.manager.version
        for member in status.members
        if member.manager is not None and member.manager.version is not None
    }
    if not versions:
        return
    usual = Counter(versions.values()).most_common(1)[0][0]
    for name, version in versions.items():
        if version != usual:
            yield ClusterWarning(
                code="version_differs",
                node=name,
                detail=f"{name} runs Gridiron {version}, and others {usual}: bring all nodes to one version.",
            )


def _of_partitions(status: ClusterStatus) -> Iterator[ClusterWarning]:
    without = [each for each in status.partitions if each.leader is None]
    if without:
        yield ClusterWarning(
            code="partition_leaderless",
            detail=f"{_name(without)} no leader: what belongs there waits.",
        )
    starting = [each for each in status.partitions if each.leader is not None and not each.active]
    if starting:
        yield ClusterWarning(
            code="partition_starting",
            detail=f"{_name(starting)} a leader that is starting: what belongs there waits.",
        )
    usable = sum(member.may_lead for member in status.members)
    if status.partitions and usable > len(status.partitions):
        idle = usable - len(status.partitions)
        yield ClusterWarning(
            code="few_partitions",
            detail=f"{usable} nodes share {len(status.partitions)} partitions, each led by one node at a "
            f"time. So {idle} of them lead nothing, and stand in where another fails.",
        )


def _of_redundancy(status: ClusterStatus) -> Iterator[ClusterWarning]:
    """Tell whether another node may go. Each write needs as many nodes as it is kept on, and a majority."""
    replication, wanted = status.replication, status.wanted_replication
    if replication is None:
        return
    if replication == 1:
        yield ClusterWarning(
            code="no_copies",
            detail="Everything is kept on one node alone, and is lost with its disk. "
            "Start more nodes, with `replication = 2` or more; `gridiron cluster grow` makes it so.",
        )
    elif replication != wanted:
        yield ClusterWarning(
            code="replication_differs",
            detail=f"Everything is kept on {replication} nodes, and the settings of {status.node} say "
            f"{wanted}: `gridiron cluster grow` raises it, and nothing lowers it.",
        )
    alive = sum(member.may_lead for member in status.members)
    keepers = [member for member in status.members if member.keeps_metadata]
    deciding = sum(member.alive for member in keepers)
    if replication > 1 and (alive <= replication or not _is_majority(deciding - 1, len(keepers))):
        yield ClusterWarning(
            code="no_spare_node",
            detail=f"{alive} node{'s are' if alive != 1 else ' is'} usable, and everything is kept on "
            f"{replication}: where one more fails, all waits until it is back. Start another node.",
        )


def _of_snapshots(status: ClusterStatus) -> Iterator[ClusterWarning]:
    without = [each for each in status.partitions if each.archived_lsn is None and each.leader is not None]
    if without:
        yield ClusterWarning(
            code="no_snapshot",
            detail=f"{_name(without)} no snapshot in the bucket yet, so that a node that joins reads the "
            "whole log. Restate makes one within some minutes, once there are a thousand records.",
        )
    for each in status.partitions:
        age = None if each.snapshot_at is None else status.now - each.snapshot_at
        if age is not None and age > MAX_AGE and (each.not_archived or 0) > MUCH:
            yield ClusterWarning(
                code="old_snapshot",
                detail=f"The last snapshot of partition {each.id} lacks {each.not_archived} records, and is "
                f"{age.total_seconds() / 3600:.0f} h old: does Restate write to the bucket? Its log says.",
            )


def _of_bucket(status: ClusterStatus) -> Iterator[ClusterWarning]:
    if not status.bucket.reachable:
        yield ClusterWarning(
            code="bucket_unavailable",
            detail=f"{status.node} does not reach the bucket {status.bucket.url}: {status.bucket.reason}. "
            "What runs goes on; nothing can be deployed.",
        )


def _is_majority(some: int, of_all: int) -> bool:
    return 2 * some > of_all


def _name(partitions: list[ClusterPartition]) -> str:
    numbers = ", ".join(str(each.id) for each in partitions)
    return f"Partition {numbers} has" if len(partitions) == 1 else f"Partitions {numbers} have"
