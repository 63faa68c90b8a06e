"""A cluster of three nodes as its operator changes it: Restate's part is a fake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import gridiron
from gridiron.cluster import Cluster
from gridiron.errors import (
    NodeNeeded,
    NodeNotFound,
    NodeRunning,
    RestateUnavailable,
)
from gridiron.manager.api import Health, NodeStatus, WrittenSettings
from gridiron.manager.cluster_api import (
    ClusterBucket,
    ClusterLog,
    ClusterMember,
    ClusterPartition,
    Grown,
    MemberManager,
    NodeChanged,
    NodeRemoved,
)
from gridiron.manager.cluster_control import ClusterControl
from gridiron.manager.cluster_status import StatusReader, find_snapshots
from gridiron.manager.members import Members
from gridiron.manager.peers.api import NodeBuilds, NodeHealth
from gridiron.manager.peers.client import Peer, Unreached
from gridiron.objects.port import Listed
from gridiron.restate.segments import Segment
from gridiron.restate.view import Member, Partition, View
from gridiron.testing.objects import FakeObjects
from tests.unit.manager.conftest import NOW, Manager, make_settings

READY = Health(ready=True, reason="", since=NOW, components=())


def make_member(number: int) -> Member:
    return Member(
        node_id=f"N{number}",
        generation=f"N{number}:1",
        name=f"n{number}",
        address=f"http://10.0.0.{number}:5122",
        alive=True,
        worker_state="active",
        storage_state="read-write",
        keeps_metadata=True,
    )


def make_partition(number: int) -> Partition:
    return Partition(number, f"N{number}:1", "e1", True, ("N1", "N2"), 20, 12)


SEGMENTS = (
    Segment(2, 0, frozenset({"N2", "N3"})),
    Segment(1, 1, frozenset({"N1", "N2"})),
    Segment(1, 0, frozenset({"N3", "N9"})),
)
LOGS = (ClusterLog(id=1, nodes=("n1", "n2"), parts=2), ClusterLog(id=2, nodes=("n2", "n3"), parts=1))


class FakeRestate:
    """ClusterChanging, of nodes that all see the same at once."""

    def __init__(self) -> None:
        self.members = {f"n{number}": make_member(number) for number in (1, 2, 3)}
        self.replication = 2
        self.changes: list[str] = []
        self.majority = True
        self.meanwhile: tuple[str, str] | None = None  # what another operator does right after a change

    def set(self, name: str, **changes: Any) -> None:
        self.members[name] = replace(self.members[name], **changes)

    async def fetch_view(self) -> View:
        return View(tuple(self.members.values()), tuple(map(make_partition, (1, 2))))

    async def fetch_nodes(self) -> tuple[Member, ...]:
        return tuple(self.members.values())

    async def fetch_replication(self) -> int:
        if not self.majority:
            raise RestateUnavailable("http://10.0.0.1:5122", "no majority")
        return self.replication

    async def fetch_segments(self) -> tuple[Segment, ...]:
        if not self.majority:
            raise RestateUnavailable("http://10.0.0.1:5122", "no majority")
        return SEGMENTS

    async def set_worker_state(self, node_id: str, state: str) -> None:
        self.changes.append(f"{node_id} {state}")
        self.set(node_id.lower(), worker_state=state)
        if self.meanwhile is not None:
            (name, other), self.meanwhile = self.meanwhile, None
            self.set(name, worker_state=other)

    async def set_replication(self, replication: int) -> None:
        self.changes.append(f"replication {replication}")
        self.replication = replication

    async def create_snapshots(self) -> None:
        self.changes.append("snapshots")

    async def restore_node(self, node_id: str) -> None:
        self.changes.append(f"restore {node_id}")
        self.set(node_id.lower(), storage_state="read-write", keeps_metadata=True)

    async def remove_node(self, node_id: str) -> None:
        self.changes.append(f"remove {node_id}")
        del self.members[node_id.lower()]


class FakePeers:
    """PeersReading: n2 answers, and its clock is ahead; n3 does not."""

    def __init__(self) -> None:
        self.named = "n2"

    async def fetch_nodes(self) -> Mapping[Peer, NodeHealth | Unreached]:
        status = NodeStatus(
            node=self.named,
            version="9.9",
            programs={},
            started_at=NOW,
            now=NOW + timedelta(seconds=2),
            listens=(),
            urls={},
            disk=None,
            settings=WrittenSettings(live=(), restart=(), problem=None),
        )
        answer = NodeHealth(status=status, health=READY)
        return {Peer("n2", "http://n2"): answer, Peer("n3", "http://n3"): Unreached("n3", "refused")}

    async def fetch_builds(self) -> Mapping[Peer, NodeBuilds | Unreached]:
        answer = NodeBuilds(
            node="n2",
            version="9.9",
            copies=frozenset({"a", "b"}),
            loaded={"cell-0": {"/a": 0}, "cell-1": {"/a": 1}},
            quarantined=(),
        )
        return {Peer("n2", "http://n2"): answer, Peer("n3", "http://n3"): Unreached("n3", "refused")}


class Operated:
    """A control, and what it acts on."""

    def __init__(self, directory: Path) -> None:
        self.restate, self.peers, self.objects = FakeRestate(), FakePeers(), FakeObjects()
        cluster = Cluster(
            address="10.0.0.1", peers=("10.0.0.2", "10.0.0.3"), replication=2, bucket="s3://bucket/mesh"
        )
        manager = Manager(directory, make_settings(directory, node_name="n1", cluster=cluster))
        status = StatusReader(cluster, self.restate, self.peers, self.objects)
        members = Members(self.restate)  # type: ignore[arg-type] - of a RestateCluster it asks only for nodes
        self.control = ClusterControl(manager.context, self.restate, members, status)


@pytest.fixture
def operated(tmp_path: Path) -> Operated:
    return Operated(tmp_path)


async def test_how_a_cluster_is(operated: Operated) -> None:
    operated.restate.set("n3", alive=False)
    operated.objects.put("restate/1/latest.json", b"{}")
    status = await operated.control.fetch_status(READY)
    (stored,) = operated.objects.list("restate")
    own = MemberManager(
        reachable=True,
        ready=True,
        version=gridiron.__version__,
        clock_ahead_seconds=0,
        copies=None,  # its store is one of a node alone
        loaded=0,
    )
    other = own.model_copy(update={"version": "9.9", "clock_ahead_seconds": 2.0, "copies": 2, "loaded": 1})

    def member(number: int, leads: tuple[int, ...], **more: Any) -> ClusterMember:
        fields = make_member(number)
        return ClusterMember(
            name=fields.name,
            node_id=fields.node_id,
            address=fields.address,
            worker_state="active",
            storage_state="read-write",
            keeps_metadata=True,
            leads=leads,
            **{"alive": True, **more},
        )

    assert status.members == (
        member(1, (1,), manager=own),
        member(2, (2,), manager=other),
        member(3, (), alive=False, manager=None),
    )
    first = ClusterPartition(
        id=1,
        leader="n1",
        epoch="e1",
        active=True,
        replicas=("n1", "n2"),
        applied_lsn=20,
        archived_lsn=12,
        not_archived=8,
        snapshot_at=stored.modified_at,
    )
    assert status.partitions[0] == first
    assert status.logs == LOGS
    assert (status.node, status.replication, status.wanted_replication, status.told) == ("n1", 2, 2, 3)
    assert status.bucket == ClusterBucket(url=operated.objects.url, reachable=True)
    assert [warning.code for warning in status.warnings] == ["node_down", "version_differs", "no_spare_node"]


async def test_what_is_away_is_unknown_and_no_failure(operated: Operated) -> None:
    operated.restate.majority = False
    operated.objects.away = True
    status = await operated.control.fetch_status(READY)
    assert (status.replication, status.logs) == (None, None)
    assert not status.bucket.reachable
    assert {"manager_unreachable", "bucket_unavailable"} <= {each.code for each in status.warnings}


async def test_another_node_at_an_address_is_not_taken_for_the_one_that_was(operated: Operated) -> None:
    operated.peers.named = "n4"
    status = await operated.control.fetch_status(READY)
    assert status.members[1].manager == MemberManager(reachable=False, reason="n4 answers at its address")


async def test_a_node_is_drained_and_taken_back(operated: Operated) -> None:
    control = operated.control
    drained = NodeChanged(node="n2", worker_state="draining", changed=True)
    assert await control.drain("n2") == drained
    assert await control.drain("n2") == drained.model_copy(update={"changed": False})
    active = NodeChanged(node="n2", worker_state="active", changed=True)
    assert await control.activate("n2") == active
    assert await control.activate("n2") == active.model_copy(update={"changed": False})
    assert operated.restate.changes == ["N2 draining", "N2 active"]


@pytest.mark.parametrize("worker_state", ["draining", "active"])
async def test_a_removal_that_was_begun_is_undone(operated: Operated, worker_state: str) -> None:
    half = {"worker_state": worker_state, "storage_state": "read-only", "keeps_metadata": False}
    operated.restate.set("n3", **half)
    active = NodeChanged(node="n3", worker_state="active", changed=True)
    assert await operated.control.activate("n3") == active
    assert operated.restate.members["n3"] == make_member(3)
    assert await operated.control.activate("n3") == active.model_copy(update={"changed": False})
    assert operated.restate.changes == ["restore N3", "N3 active"]


async def test_what_is_kept_by_a_node_that_is_down_is_left_alone(operated: Operated) -> None:
    operated.restate.set("n3", alive=False, worker_state="draining", storage_state="read-only")
    operated.restate.set("n2", worker_state="draining", storage_state="data-loss")
    for name in ("n2", "n3"):
        await operated.control.activate(name)
    assert operated.restate.changes == ["N2 active", "N3 active"]


async def test_the_last_node_that_could_lead_is_not_drained(operated: Operated) -> None:
    operated.restate.set("n2", alive=False)
    operated.restate.set("n3", worker_state="draining")
    with pytest.raises(NodeNeeded) as refused:
        await operated.control.drain("n1")
    assert str(refused.value) == (
        "n1 was not drained: no other node is alive and active, so that nothing would run. "
        "Start another node first, or let one lead again: `gridiron cluster activate NODE`."
    )
    assert operated.restate.changes == []


async def test_of_two_that_drain_the_last_two_nodes_each_takes_it_back(operated: Operated) -> None:
    operated.restate.set("n3", alive=False)
    operated.restate.meanwhile = ("n2", "draining")
    with pytest.raises(NodeNeeded):
        await operated.control.drain("n1")
    assert operated.restate.changes == ["N1 draining", "N1 active"]


async def test_a_node_that_is_down_is_removed(operated: Operated) -> None:
    operated.restate.set("n3", alive=False)
    assert await operated.control.remove("n3") == NodeRemoved(node="n3", node_id="N3")
    with pytest.raises(NodeNotFound):
        await operated.control.remove("n3")
    assert operated.restate.changes == ["remove N3"]


async def test_what_is_needed_is_not_removed(operated: Operated) -> None:
    with pytest.raises(NodeRunning):
        await operated.control.remove("n3")
    operated.restate.set("n3", alive=False)
    operated.restate.set("n2", worker_state="draining")
    with pytest.raises(NodeNeeded) as refused:
        await operated.control.remove("n3")
    assert str(refused.value) == (
        "n3 was not removed: 1 other nodes are alive and active, and everything is kept on 2. "
        "Start another node first; it joins by itself."
    )
    operated.restate.majority = False
    with pytest.raises(RestateUnavailable):
        await operated.control.remove("n3")
    assert operated.restate.changes == []


@pytest.mark.parametrize("verb", ["drain", "activate", "remove"])
async def test_a_node_that_there_is_not(operated: Operated, verb: str) -> None:
    with pytest.raises(NodeNotFound):
        await getattr(operated.control, verb)("n9")
    assert operated.restate.changes == []


async def test_a_cluster_grows_once_there_are_nodes(operated: Operated) -> None:
    operated.restate.replication = 1
    operated.restate.set("n2", alive=False)
    operated.restate.set("n3", alive=False)
    missing = Grown(replication=1, wanted_replication=2, changed=False, missing=1)
    assert await operated.control.grow() == missing
    operated.restate.set("n2", alive=True)
    grown = Grown(replication=2, wanted_replication=2, changed=True, missing=0)
    assert await operated.control.grow() == grown
    assert await operated.control.grow() == grown.model_copy(update={"changed": False})
    assert operated.restate.changes == ["snapshots", "snapshots", "replication 2"]


def test_when_snapshots_were_stored() -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    listed = [
        Listed(key, 1, "e", at)
        for key in ("restate/0/latest.json", "restate/0/lsn_1/metadata.json", "restate/latest.json")
    ]
    assert find_snapshots(listed) == {0: at}


async def test_a_node_alone_says_how_it_could_be_in_a_cluster(manager: Manager) -> None:
    async with manager.serve() as client:
        answers = [
            await client.get("/cluster"),
            await client.post("/cluster/nodes/n2/drain"),
            await client.delete("/cluster/nodes/n2"),
        ]
        audit = (await client.get("/audit")).json()["entries"]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "node_alone")] * 3
    assert "`gridiron cluster grow`" in answers[0].json()["detail"]
    assert audit == []
