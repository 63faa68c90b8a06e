"""What an operator sees of a mesh, and does with its nodes. Other stories are of work in flight."""

from __future__ import annotations

from typing import Any

from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import CANARY, Mesh
from tests.harness import wait_until

SECONDS = 120


def fetch_status(node: MeshNode) -> dict[str, Any]:
    status: dict[str, Any] = node.gridiron("cluster", "status")
    return status


def leads(status: dict[str, Any], name: str) -> int:
    return next(len(each["leads"]) for each in status["members"] if each["name"] == name)


def codes(status: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in status["warnings"]}


def names(status: dict[str, Any]) -> list[str]:
    return sorted(member["name"] for member in status["members"])


def await_calm(node: MeshNode) -> dict[str, Any]:
    """Wait until a node sees nothing that wants attention, but for snapshots, which take some minutes."""
    seen: list[dict[str, Any]] = []

    def is_calm() -> bool:
        seen.append(fetch_status(node))
        return codes(seen[-1]) <= {"no_snapshot"}

    wait_until(is_calm, SECONDS, "nothing wants attention")
    return seen[-1]


def test_every_node_shows_the_same_cluster(mesh: Mesh) -> None:
    own = ["n1", "n2", "n3"]
    for node in mesh.nodes:
        status = await_calm(node)
        assert (status["node"], names(status)) == (node.name, own)
        assert all(member["alive"] and member["manager"]["ready"] for member in status["members"])
        assert 0 not in {member["manager"]["copies"] for member in status["members"]}
        assert sum(leads(status, name) for name in own) == len(status["partitions"]) == 8
        assert (status["replication"], status["bucket"]["reachable"]) == (2, True)
    alone = mesh.alone.try_gridiron("cluster", "status", "--json")
    assert (alone.returncode, "[node_alone]" in alone.stderr) == (1, True)


def test_a_node_is_drained_and_taken_back(mesh: Mesh) -> None:
    asked, node = mesh.nodes[0], mesh.nodes[2]
    assert asked.gridiron("cluster", "drain", node.name)["changed"]
    status = fetch_status(asked)
    assert (leads(status, node.name), "node_draining" in codes(status)) == (0, True)
    assert node.answers(CANARY, "1")  # by way of those that lead
    assert asked.gridiron("cluster", "activate", node.name)["changed"]
    wait_until(lambda: leads(fetch_status(asked), node.name), SECONDS, "it leads again")
    audit = [(entry["route"], entry["event"], entry["about"]) for entry in asked.gridiron("audit")]
    assert ("/cluster/nodes/{node}/drain", "done", {"node": node.name}) in audit


def test_a_node_is_replaced_and_another_removed_for_good(mesh: Mesh, tell: Tell) -> None:
    asked, node = mesh.nodes[0], mesh.add("n4")
    node.start()
    node.await_ready(SECONDS)
    wait_until(lambda: leads(fetch_status(asked), "n4"), SECONDS, "n4 leads something")
    running = asked.try_gridiron("cluster", "remove", "n4", "--yes")
    assert "[node_running]" in running.stderr

    node.kill()
    node.wipe()
    wait_until(lambda: "node_down" in codes(fetch_status(asked)), SECONDS, "n4 is seen to be down")
    node.start(node_name="n5")
    node.await_ready(SECONDS)
    replaced = asked.gridiron("cluster", "replace", "n4", "--timeout", str(SECONDS))
    assert (replaced["removed"], sorted(replaced["serving"])) == ("n4", ["n1", "n2", "n3", "n5"])
    wait_until(lambda: node.answers(CANARY, "1"), SECONDS, "n5 answers calls")

    node.kill()
    wait_until(lambda: "node_down" in codes(fetch_status(asked)), SECONDS, "n5 is seen to be down")
    assert asked.gridiron("cluster", "remove", "n5", "--yes") == {"removed": "n5"}
    status = await_calm(asked)
    assert names(status) == ["n1", "n2", "n3"]
    assert sum(leads(status, name) for name in names(status)) == len(status["partitions"])
    tell("a node was replaced under another name, and that removed")
