"""Nodes whose cells stay down, that are cut off, or that somebody drains: who leads, and who is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gridiron.restate.cluster import RestateCluster
from gridiron.restate.port import WorkerState
from gridiron.settings import load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.judging import last, steady_load
from tests.acceptance.mesh.load import Load
from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import Mesh
from tests.harness import alive, wait_until
from tests.prometheus import Hurry, Prometheus, read_rules, running_prometheus

MOVED_SECONDS = 120
"""Until calls that sleep for up to 9 s have ended on other nodes, on a slow machine."""

CUT_SECONDS = 15
UNREADY_SECONDS = 8
"""Within which a node that is cut off says so: a look each second, of 2 s at the most, and a slow machine."""

QUIET_SECONDS = 8
"""Longer than a guardian waits for before it takes back what it has drained itself."""

PAUSE_SECONDS = 0.5
HURRY = Hurry("5s", {})
PORT = 9090


def test_the_cells_of_a_node_stay_down(mesh: Mesh, tell: Tell) -> None:
    node = max(mesh.nodes, key=led)
    assert led(node) > 0
    with steady_load(mesh, f"the cells of {node.name} down until others had done its work", tell) as load:
        began, before = time.monotonic(), load.sent
        with node.cells_held():
            await_state(node, "drained")
            drained = time.monotonic() - began
            wait_until(lambda: answered(load, before), MOVED_SECONDS, "all that was in flight is answered")
            moved = time.monotonic() - began
            await_metric(lambda: led(node) == 0, f"others lead what {node!r} led")
        back = time.monotonic()
        await_state(node, "active")
        taken_back = time.monotonic() - back
        mesh.await_healthy()
    tell(
        f"cells down: drained after {drained:.1f} s, all that was in flight answered after {moved:.1f} s, "
        f"taken back {taken_back:.1f} s after the end"
    )
    assert metric(node, "gridiron_cluster_node_changes_total", change="drain") >= 1


def test_a_node_that_is_cut_off_says_so_and_no_other_does(mesh: Mesh, tell: Tell) -> None:
    cut, *others = mesh.nodes
    began = time.monotonic()
    cut.cut()
    try:
        with cut.machine.inside():
            wait_until(lambda: not is_ready(local(cut)), UNREADY_SECONDS, f"{cut!r} says that it is cut off")
        took = time.monotonic() - began
        while time.monotonic() - began < CUT_SECONDS:
            assert [is_ready(node.settings.manager_url) for node in others] == [True, True]
            with cut.machine.inside():
                assert not is_ready(local(cut))
    finally:
        cut.heal()
    healed = time.monotonic()
    cut.await_ready()
    tell(f"cut off: not ready after {took:.1f} s, ready {time.monotonic() - healed:.1f} s after the end")


def test_what_an_operator_drains_stays_drained(mesh: Mesh) -> None:
    node = mesh.nodes[1]
    try:
        change(mesh, node, "draining")
        await_state(node, "drained_by_operator")
        killed = node.kill_manager()
        wait_until(lambda: not alive([killed]))
        node.await_ready()
        await_state(node, "drained_by_operator")
        last(QUIET_SECONDS)
        assert state_of(node) == "drained_by_operator"
    finally:
        change(mesh, node, "active")
    await_state(node, "active")


@pytest.fixture
def prometheus(mesh: Mesh, tmp_path: Path) -> Iterator[Prometheus]:
    """One that reads the last node."""
    with running_prometheus(tmp_path / "prometheus", PORT, mesh.nodes[2].settings, HURRY) as prometheus:
        yield prometheus


def test_the_alerts_of_a_cluster(mesh: Mesh, prometheus: Prometheus) -> None:
    other, _, node = mesh.nodes
    assert {rule["alert"] for rule in read_rules(1)} == {"GridironNodeDrained", "GridironMemberDown"}
    with node.cells_held():
        prometheus.await_firing("GridironNodeDrained")
    await_state(node, "active")
    other.kill()
    try:
        prometheus.await_firing("GridironMemberDown")
    finally:
        other.start()
    mesh.await_healthy()
    wait_until(lambda: not {"GridironNodeDrained", "GridironMemberDown"} & prometheus.firing(), 60)


def local(node: MeshNode) -> str:
    """Where its manager is found on its own machine."""
    return f"http://127.0.0.1:{node.settings.ports.manager}"


def is_ready(manager_url: str) -> bool:
    response = httpx2.get(f"{manager_url}/health/ready", timeout=5, trust_env=False)
    assert response.status_code in {200, 503}, response.text
    return response.status_code == 200


def change(mesh: Mesh, node: MeshNode, state: WorkerState) -> None:
    """Do what an operator does, from another node."""
    fabric = f"http://{mesh.nodes[0].machine.address}:{mesh.nodes[0].settings.ports.fabric}"

    async def do() -> None:
        cluster = RestateCluster(fabric, find_toolchain(load_settings()).restatectl().path)
        try:
            (member,) = [each for each in await cluster.fetch_nodes() if each.name == node.name]
            await cluster.set_worker_state(member.node_id, state)
        finally:
            await cluster.aclose()

    asyncio.run(do())


def answered(load: Load, sent: int) -> bool:
    """Whether all of the first calls have their answer."""
    numbers = {int(outcome.key.rpartition("-")[2]) for outcome in load.outcomes}
    return numbers >= set(range(1, sent + 1))


def await_state(node: MeshNode, state: str) -> None:
    await_metric(lambda: state_of(node) == state, f"{node!r} is {state}")


def await_metric(condition: Callable[[], bool], what: str) -> None:
    """Wait for what a node tells, and ask it seldom: the load is made by the same process."""

    def look() -> bool:
        last(PAUSE_SECONDS)
        return condition()

    wait_until(look, 60, what)


def state_of(node: MeshNode) -> str:
    (state,) = [labels["state"] for labels, value in samples(node, "gridiron_cluster_node_state") if value]
    return state


def led(node: MeshNode) -> float:
    """How many partitions it leads."""
    return metric(node, "gridiron_cluster_partitions_led")


def metric(node: MeshNode, name: str, **wanted: str) -> float:
    (value,) = [value for labels, value in samples(node, name) if labels == wanted]
    return value


def samples(node: MeshNode, name: str) -> list[tuple[dict[str, str], float]]:
    """What its manager tells under a name: labels and a value."""
    told = node.client.manager.get("/metrics").text
    text = "\n".join(line for line in told.splitlines() if name in line)
    found = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return [(sample.labels, sample.value) for sample in found if sample.name == name]
