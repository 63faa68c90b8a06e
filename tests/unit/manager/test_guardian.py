"""A guardian, or several, in a cluster that lives in memory, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gridiron.errors import StorageFailed
from gridiron.manager import guardian as guardian_module
from gridiron.manager.api import Guarding
from gridiron.manager.guardian import DRAIN_FILE, Drains, Guardian, Times
from gridiron.manager.health import Seen
from gridiron.manager.looks import FINE, judge_reach, judge_workers
from gridiron.manager.members import Members
from gridiron.testing.cluster import REFUSAL, FakeCluster
from tests.unit.manager.conftest import NOW

DOWN, FULL = "no cell has served for {} s", "it is full"


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


class Node:
    """A manager's guardian, and whether there are cells."""

    def __init__(self, name: str, cluster: FakeCluster, directory: Path, time: Time) -> None:
        self.name, self.cluster, self.time = name, cluster, time
        self.directory = directory / name
        self.serving: bool | None = True
        self.start()

    def start(self) -> None:
        """Start its manager, or another one after that."""
        self.members = Members(self.cluster, self.time.now)
        self.guardian = Guardian(
            self.name, self.members, self.cluster, self.directory, Times(self.time, self.time.now)
        )

    @property
    def kept(self) -> Drains:
        return Drains.model_validate_json((self.directory / DRAIN_FILE).read_bytes())

    def state(self, state: str, since: int, reason: str = "", drains: int = 0) -> bool:
        at = NOW + timedelta(seconds=since)
        told = Guarding(state=state, since=at, reason=reason, drains_in_last_hour=drains)
        assert self.guardian.state == told
        return True


class Scene:
    def __init__(self, directory: Path) -> None:
        self.time = Time()
        self.cluster = FakeCluster(["n1", "n2", "n3"])
        self.nodes = [Node(name, self.cluster, directory, self.time) for name in ("n1", "n2", "n3")]

    async def live(self, seconds: int) -> None:
        """Let all guardians look, at once, in each of these seconds."""
        for _ in range(seconds):
            if int(self.time.seconds) % 5 == 0 and not self.cluster.away:
                await asyncio.gather(*(node.members.look() for node in self.nodes))
            await asyncio.gather(*(node.guardian.look(serving=node.serving) for node in self.nodes))
            self.time.seconds += 1


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_node_without_cells_is_drained_and_taken_back(scene: Scene) -> None:
    node = scene.nodes[2]
    await scene.live(3)
    assert node.state("active", 0)
    node.serving = False
    await scene.live(3)
    assert node.state("active", 0, DOWN.format(2))
    await scene.live(4)
    assert node.state("drained", 8, DOWN.format(6), 1)
    assert node.kept == Drains(drained_at=NOW + timedelta(seconds=8), begun_at=(NOW + timedelta(seconds=8),))
    node.serving = True
    await scene.live(5)
    assert node.state("drained", 8, "cells serve; it is taken back in 1 s", 1)
    await scene.live(10)
    assert node.state("active", 15, drains=1)
    assert scene.cluster.changes == [("n3", "draining"), ("n3", "active")]
    assert (node.guardian.drained, node.guardian.taken_back, node.guardian.drain_seconds) == (1, 1, 7)
    assert node.kept.drained_at is None
    assert node.kept.begun_at == (NOW + timedelta(seconds=8),)


@pytest.mark.parametrize("replication", [1, 2])
async def test_of_nodes_that_all_lose_their_cells_one_can_lead(scene: Scene, replication: int) -> None:
    scene.cluster.replication = replication
    for node in scene.nodes:
        node.serving = False
    await scene.live(20)
    assert sorted(scene.cluster.states()) == ["active"] * replication + ["draining"] * (3 - replication)
    assert len(scene.cluster.changes) == 3 - replication
    for node in scene.nodes:
        node.serving = True
    await scene.live(20)
    assert scene.cluster.states() == ["active"] * 3


async def test_a_drained_node_leads_where_no_other_can(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    await scene.live(10)
    for name in ("n2", "n3"):
        scene.cluster.set(name, alive=False)
    await scene.live(10)
    assert scene.cluster.changes == [("n1", "draining"), ("n1", "active")]
    assert node.guardian.state.reason == DOWN.format(19) + ", and no other node can lead"


async def test_an_operators_drain_is_not_undone(scene: Scene) -> None:
    node = scene.nodes[0]
    scene.cluster.set("n1", worker_state="draining")
    await scene.live(10)
    assert node.state("drained_by_operator", 0)
    node.serving = False
    await scene.live(20)
    node.serving = True
    node.start()
    await scene.live(20)
    assert scene.cluster.changes == []
    assert not node.directory.exists()


async def test_a_drain_of_its_own_that_somebody_undid_is_its_own_no_more(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    await scene.live(8)
    node.serving = True
    await scene.live(1)
    scene.cluster.set("n1", worker_state="active")
    await node.members.look()
    with capture_logs() as logs:
        await scene.live(1)
    assert [each["event"] for each in logs] == ["guardian.drain_forgotten"]
    assert (node.state("active", 9, drains=1), node.kept.drained_at) == (True, None)
    scene.cluster.set("n1", worker_state="draining")
    await scene.live(30)
    assert node.guardian.state.state == "drained_by_operator"
    assert scene.cluster.changes == [("n1", "draining")]


async def test_a_look_that_comes_late_does_not_tell_that_its_drain_was_undone(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    await scene.live(8)
    scene.cluster.set("n1", worker_state="active")
    await node.members.look()
    scene.cluster.set("n1", worker_state="draining")
    await scene.live(2)
    assert node.state("drained", 5, DOWN.format(9), 1)
    node.serving = True
    await scene.live(8)
    assert scene.cluster.changes == [("n1", "draining"), ("n1", "active")]


async def test_nodes_that_come_and_go_do_not_have_it_drained_each_time(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    for second in range(0, 600, 10):
        for name in ("n2", "n3"):
            scene.cluster.set(name, alive=second // 10 % 2 == 1)
        await scene.live(10)
    assert node.guardian.drained <= 8
    assert node.guardian.taken_back >= node.guardian.drained - 1
    assert "it may be drained again in" in node.guardian.state.reason


async def test_a_manager_that_starts_again_knows_its_drain(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    await scene.live(8)
    node.start()
    await scene.live(8)
    assert node.state("drained", 5, DOWN.format(7), 1)
    node.serving = True
    await scene.live(8)
    assert node.state("active", 21, drains=1)
    assert node.guardian.drain_seconds == 16


@pytest.mark.parametrize(("serving", "states"), [(True, ["active"]), (False, ["draining"])])
async def test_a_drain_that_was_only_written_down(scene: Scene, serving: bool, states: list[str]) -> None:
    node = scene.nodes[0]
    node.directory.mkdir()
    (node.directory / DRAIN_FILE).write_text(Drains(drained_at=NOW, begun_at=(NOW,)).model_dump_json())
    node.serving = serving
    await scene.live(8)
    assert [state for _, state in scene.cluster.changes] == states
    assert (node.kept.drained_at is None) == serving


async def test_a_file_that_is_damaged_has_no_drain_of_its_own(scene: Scene) -> None:
    node = scene.nodes[0]
    node.directory.mkdir()
    (node.directory / DRAIN_FILE).write_text("{")
    scene.cluster.set("n1", worker_state="draining")
    with capture_logs() as logs:
        await scene.live(10)
    assert [each["event"] for each in logs] == ["guardian.file_damaged"]
    assert node.state("drained_by_operator", 0)


async def test_on_a_full_disk_nothing_is_drained_that_would_not_be_taken_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _content: bytes) -> None:
        raise StorageFailed("Writing", str(path), FULL)

    node = scene.nodes[0]
    node.serving = False
    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(guardian_module, "write_kept", fail)
        await scene.live(12)
    assert scene.cluster.changes == []
    assert [(each["event"], each["code"]) for each in logs] == [("guardian.failed", "storage_failed")]
    assert FULL in node.guardian.state.reason
    await scene.live(5)
    assert scene.cluster.changes == [("n1", "draining")]
    assert node.state("drained", 15, DOWN.format(16), 1)


async def test_a_cluster_that_does_not_answer_is_told_once_and_asked_again(scene: Scene) -> None:
    node = scene.nodes[0]
    await scene.live(1)
    node.serving = False
    scene.cluster.away = True
    with capture_logs() as logs:
        await scene.live(30)
        scene.cluster.away = False
        await scene.live(10)
    assert [each["event"] for each in logs] == ["guardian.failed", "guardian.drained"]
    assert scene.cluster.changes == [("n1", "draining")]
    assert node.guardian.state.reason == DOWN.format(39)


async def test_what_the_cluster_refuses_was_no_drain(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    scene.cluster.replication = 3
    with capture_logs() as logs:
        await scene.live(30)
    assert [each["code"] for each in logs] == ["cluster_rejected"]
    assert (node.kept, node.guardian.drained) == (Drains(), 0)
    assert REFUSAL in node.guardian.state.reason
    scene.cluster.set("n1", worker_state="draining")  # an operator does
    node.serving = True
    await scene.live(30)
    assert node.guardian.state.state == "drained_by_operator"


async def test_until_the_nodes_are_known_it_does_nothing(scene: Scene) -> None:
    node = scene.nodes[0]
    node.serving = False
    scene.cluster.away = True
    await scene.live(20)
    assert node.state("unknown", 0, "what its worker is: not known")


async def test_it_looks_once_a_second(scene: Scene) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    node = scene.nodes[0]
    guardian = Guardian("n1", node.members, scene.cluster, node.directory, Times(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await guardian.watch(lambda: True)
    assert slept == [1, 1, 1]


SILENT = Seen(False, "who watches them does not answer", certain=False)
GONE = Seen(False, "nobody listens")
LATE = Seen(False, "no answer within 3 s", certain=False)


@pytest.mark.parametrize(
    ("proxy", "cells", "serving"),
    [
        (FINE, FINE, True),
        (FINE, Seen(True, "1 of 2 serve"), True),
        (FINE, GONE, False),
        (GONE, FINE, False),
        (GONE, SILENT, False),
        (GONE, None, False),
        (LATE, FINE, None),
        (FINE, LATE, None),
        (FINE, SILENT, None),
        (FINE, None, None),
        (None, FINE, None),
        (None, None, None),
    ],
)
def test_whether_workers_serve(proxy: Seen | None, cells: Seen | None, serving: bool | None) -> None:
    assert judge_workers(proxy, cells) is serving


@pytest.mark.parametrize(
    ("keepers", "reached", "ready"), [(3, 3, True), (3, 2, True), (3, 1, False), (2, 1, False), (1, 1, True)]
)
def test_a_node_is_with_most_of_those_that_decide(keepers: int, reached: int, ready: bool) -> None:
    assert judge_reach(keepers, reached, is_member=True).ready is ready
    assert judge_reach(keepers, reached, is_member=False) == Seen(False, "this node is in no cluster yet")
