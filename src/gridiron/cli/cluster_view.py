"""How a cluster is shown: tables made of what a manager answers."""

from __future__ import annotations

from datetime import datetime

from gridiron.cli.table import Table, fields
from gridiron.cli.words import UNKNOWN, render_age, render_count
from gridiron.manager.cluster_api import ClusterLog, ClusterMember, ClusterPartition, ClusterStatus

NODE_HEADER = ("NODE", "STATE", "LEADS", "MANAGER", "VERSION", "BUILDS", "LOADED", "ADDRESS")
PARTITION_HEADER = ("PARTITION", "LEADER", "STATE", "REPLICAS", "BEHIND", "SNAPSHOT", "LOG")


def render_cluster(status: ClusterStatus) -> tuple[Table, ...]:
    """Make the screen: the cluster, its nodes, its partitions."""
    nodes = Table(tuple(_render_member(each) for each in status.members), NODE_HEADER, frozenset({2, 5, 6}))
    logs = {log.id: log for log in status.logs or ()}
    rows = tuple(_render_partition(each, logs.get(each.id), status.now) for each in status.partitions)
    return _render_whole(status), nodes, Table(rows, PARTITION_HEADER, frozenset({4}))


def _render_whole(status: ClusterStatus) -> Table:
    reachable = "reachable" if status.bucket.reachable else f"not reachable: {status.bucket.reason}"
    return fields(
        ("cluster", f"{status.name}, as {status.node} sees it"),
        ("kept on", _describe_replication(status)),
        ("bucket", f"{status.bucket.url}, {reachable}"),
    )


def _describe_replication(status: ClusterStatus) -> str:
    if status.replication is None:
        return UNKNOWN
    kept = render_count(status.replication, "node")
    if status.replication == status.wanted_replication:
        return kept
    return f"{kept}, and {status.wanted_replication} are wanted"


def _render_member(member: ClusterMember) -> tuple[str, ...]:
    manager = member.manager
    return (
        member.name,
        member.worker_state if member.alive else "down",
        str(len(member.leads)),
        describe_manager(member),
        UNKNOWN if manager is None or manager.version is None else manager.version,
        UNKNOWN if manager is None or manager.copies is None else str(manager.copies),
        UNKNOWN if manager is None or manager.loaded is None else str(manager.loaded),
        member.address.removeprefix("http://"),
    )


def describe_manager(member: ClusterMember) -> str:
    """Say in a word or two what a node's manager is like."""
    if member.manager is None:
        return UNKNOWN
    if not member.manager.reachable:
        return "unreachable"
    return "ready" if member.manager.ready else "not ready"


def _render_partition(each: ClusterPartition, log: ClusterLog | None, now: datetime) -> tuple[str, ...]:
    state = "active" if each.active else "starting"
    return (
        str(each.id),
        each.leader or "nobody",
        "waiting" if each.leader is None else state,
        " ".join(each.replicas),
        UNKNOWN if each.not_archived is None else str(each.not_archived),
        _describe_snapshot(each, now),
        UNKNOWN if log is None else f"{' '.join(log.nodes)}, {render_count(log.parts, 'part')}",
    )


def _describe_snapshot(each: ClusterPartition, now: datetime) -> str:
    if each.snapshot_at is not None:
        return f"{render_age(now - each.snapshot_at)} ago"
    return "none" if each.archived_lsn is None else UNKNOWN
