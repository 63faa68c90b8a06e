"""What an operator sees of a mesh, and how he drains a node."""

from __future__ import annotations

from typing import Any

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
    own = sorted(node.name for node in mesh.nodes)
    for node in mesh.nodes:
        status = await_calm(node)
        assert (status["node"], names(status)) == (node.name, own)
        assert all(member["alive"] and member["manager"]["ready"] for member in status["members"])
        assert 0 not in {member["manager"]["copies"] for member in status["members"]}
        assert sum(leads(status, name) for name in own) == len(status["partitions"]) == 8
        assert [log["id"] for log in status["logs"]] == [each["id"] for each in status["partitions"]]
        assert {name for log in status["logs"] for name in log["nodes"]} == set(own)
        assert (status["replication"], status["bucket"]["reachable"]) == (2, True)


def test_a_node_alone_says_how_it_could_be_in_a_cluster(mesh: Mesh) -> None:
    with mesh.alone() as node:
        done = node.try_gridiron("cluster", "status", "--json")
    assert (done.returncode, "[node_alone]" in done.stderr) == (1, True)


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
