from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gridiron.manager.api import Guarding
from gridiron.manager.cluster_api import (
    ClusterBucket,
    ClusterMember,
    ClusterPartition,
    ClusterStatus,
    MemberManager,
)
from gridiron.manager.cluster_warnings import find_warnings

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def make_manager(**changes: Any) -> MemberManager:
    whole = MemberManager(
        reachable=True, ready=True, version="1.0", clock_ahead_seconds=0.2, copies=2, loaded=1
    )
    return whole.model_copy(update=changes)


def make_member(number: int, **changes: Any) -> ClusterMember:
    whole = ClusterMember(
        name=f"n{number}",
        node_id=f"N{number}",
        address=f"http://10.0.0.{number}:5122",
        alive=True,
        worker_state="active",
        storage_state="read-write",
        keeps_metadata=True,
        leads=(number,),
        manager=make_manager(),
    )
    return whole.model_copy(update=changes)


def make_partition(number: int, **changes: Any) -> ClusterPartition:
    whole = ClusterPartition(
        id=number,
        leader=f"n{number}",
        epoch="e1",
        active=True,
        replicas=("n1", "n2"),
        applied_lsn=100,
        archived_lsn=90,
        not_archived=10,
        snapshot_at=NOW - timedelta(minutes=4),
    )
    return whole.model_copy(update=changes)


def make_status(*members: ClusterMember, **changes: Any) -> ClusterStatus:
    whole = ClusterStatus(
        name="gridiron",
        node="n1",
        now=NOW,
        members=members or tuple(map(make_member, (1, 2, 3))),
        partitions=tuple(map(make_partition, (1, 2, 3))),
        replication=2,
        wanted_replication=2,
        told=3,
        bucket=ClusterBucket(url="s3://b/p", reachable=True),
    )
    return whole.model_copy(update=changes)


def codes(status: ClusterStatus) -> list[tuple[str, str | None]]:
    return [(warning.code, warning.node) for warning in find_warnings(status)]


def test_a_whole_cluster_wants_nothing() -> None:
    assert find_warnings(make_status()) == ()


def test_a_node_that_is_down_leaves_none_to_spare() -> None:
    status = make_status(make_member(1), make_member(2), make_member(3, alive=False, manager=None))
    assert codes(status) == [("node_down", "n3"), ("no_spare_node", None)]
    down, spare = find_warnings(status)
    assert down.detail == (
        "n3 is down, or cut off from n1. Start it again; where its disk is lost, start another in its place, "
        "then `gridiron cluster replace n3`."
    )
    assert spare.detail == (
        "2 nodes are usable, and everything is kept on 2: where one more fails, all waits until it is back. "
        "Start another node."
    )


def test_of_four_nodes_one_may_be_down() -> None:
    members = (*map(make_member, (1, 2, 3)), make_member(4, alive=False, keeps_metadata=False))
    partitions = tuple(map(make_partition, (1, 2, 3, 4)))
    assert codes(make_status(*members, partitions=partitions)) == [("node_down", "n4")]


def test_a_majority_is_needed_beside_the_copies() -> None:
    members = (
        *map(make_member, (1, 2)),
        make_member(3, alive=False),
        make_member(4, keeps_metadata=False),
    )
    partitions = tuple(map(make_partition, (1, 2, 3, 4)))
    assert codes(make_status(*members, partitions=partitions)) == [
        ("node_down", "n3"),
        ("no_spare_node", None),
    ]


def test_a_node_that_is_cut_off_says_so_first() -> None:
    gone = (make_member(number, alive=False, manager=None) for number in (2, 3))
    status = make_status(make_member(1), *gone, replication=None)
    assert codes(status) == [("majority_lost", None), ("node_down", "n2"), ("node_down", "n3")]


def test_a_drained_node_leads_nothing() -> None:
    members = (*map(make_member, (1, 2, 3)), make_member(4, worker_state="draining"))
    assert codes(make_status(*members)) == [("node_draining", "n4")]


def test_a_node_that_came_back_in_the_middle_of_its_removal() -> None:
    half = {"storage_state": "read-only", "keeps_metadata": False}
    members = (*map(make_member, (1, 2, 3)), make_member(4, **half))
    partitions = tuple(map(make_partition, (1, 2, 3, 4)))
    (warning,) = find_warnings(make_status(*members, partitions=partitions))
    assert (warning.code, warning.node) == ("node_half_removed", "n4")
    assert warning.detail == (
        "n4 is back in the middle of its removal, and keeps nothing new: `gridiron cluster activate n4` "
        "undoes that; to remove it, stop it first."
    )
    gone = make_member(4, **half, alive=False, manager=None)
    assert codes(make_status(*members[:3], gone, partitions=partitions)) == [("node_down", "n4")]


def test_a_node_that_its_guardian_has_drained_is_not_for_an_operator_to_take_back() -> None:
    guarding = Guarding(
        state="drained", since=NOW, reason="no cell has served for 12 s", drains_in_last_hour=1
    )
    drained = make_member(4, worker_state="draining", manager=make_manager(guarding=guarding))
    (warning,) = find_warnings(make_status(*map(make_member, (1, 2, 3)), drained))
    assert warning.detail == (
        "n4 was drained by its guardian, as no cell has served for 12 s. It leads again once that is mended."
    )


@pytest.mark.parametrize(
    ("manager", "code", "detail"),
    [
        (
            make_manager(reachable=False, reason="Connection refused"),
            "manager_unreachable",
            "The manager of n2 does not answer n1: Connection refused.",
        ),
        (
            make_manager(ready=False, unready="cells: 0 of 2 serve"),
            "node_unready",
            "n2 is not ready: cells: 0 of 2 serve.",
        ),
        (
            make_manager(clock_ahead_seconds=-7.2),
            "clock_differs",
            (
                "The clock of n2 is 7 s behind that of n1: have all nodes keep their clocks, "
                "as with chrony or systemd-timesyncd."
            ),
        ),
        (
            make_manager(version="0.9"),
            "version_differs",
            "n2 runs Gridiron 0.9, and others 1.0: bring all nodes to one version.",
        ),
    ],
)
def test_what_a_manager_says(manager: MemberManager, code: str, detail: str) -> None:
    (warning,) = find_warnings(make_status(make_member(1), make_member(2, manager=manager), make_member(3)))
    assert (warning.code, warning.node, warning.detail) == (code, "n2", detail)


def test_partitions_that_wait() -> None:
    partitions = (
        make_partition(0, leader=None, active=False),
        make_partition(1, leader=None, active=False),
        make_partition(2, active=False),
    )
    assert [warning.detail for warning in find_warnings(make_status(partitions=partitions))] == [
        "Partitions 0, 1 have no leader: what belongs there waits.",
        "Partition 2 has a leader that is starting: what belongs there waits.",
    ]


def test_more_nodes_than_partitions() -> None:
    status = make_status(partitions=(make_partition(1),))
    (warning,) = find_warnings(status)
    assert warning.code == "few_partitions"
    assert warning.detail == (
        "3 nodes share 1 partitions, each led by one node at a time. So 2 of them lead nothing, and stand in "
        "where another fails."
    )


def test_everything_on_one_node() -> None:
    assert codes(make_status(replication=1)) == [("no_copies", None)]
    assert codes(make_status(replication=3, wanted_replication=2)) == [
        ("replication_differs", None),
        ("no_spare_node", None),
    ]


def test_snapshots_that_are_missing_or_old() -> None:
    partitions = (
        make_partition(0, archived_lsn=None, not_archived=None, snapshot_at=None),
        make_partition(1, snapshot_at=NOW - timedelta(hours=3), not_archived=20_000),
        make_partition(2, snapshot_at=NOW - timedelta(days=30), not_archived=5),  # nothing happens there
    )
    assert codes(make_status(partitions=partitions)) == [("no_snapshot", None), ("old_snapshot", None)]


def test_a_bucket_that_is_away() -> None:
    bucket = ClusterBucket(url="s3://b/p", reachable=False, reason="no answer within 3 s")
    (warning,) = find_warnings(make_status(bucket=bucket))
    assert (warning.code, warning.detail) == (
        "bucket_unavailable",
        (
            "n1 does not reach the bucket s3://b/p: no answer within 3 s. "
            "What runs goes on; nothing can be deployed."
        ),
    )
