"""Nodes that come and go for good, with invocations in flight."""

from __future__ import annotations

from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.judging import steady_load
from tests.acceptance.mesh.rig import Mesh


def test_a_node_that_lost_its_disk_is_replaced(mesh: Mesh, tell: Tell) -> None:
    here, lost, third = mesh.nodes
    with steady_load(mesh, "a node that lost its disk replaced", tell):
        lost.kill()
        lost.wipe()
        new = mesh.replace(lost, "n4")
        new.start()
        replaced = here.gridiron("cluster", "replace", lost.name, "--yes")
        mesh.await_healthy()
    assert replaced["removed"] == lost.name
    assert set(replaced["serving"]) == members(mesh) == {here.name, new.name, third.name}


def test_a_node_is_removed_for_good(mesh: Mesh, tell: Tell) -> None:
    here, _, gone = mesh.nodes
    mesh.join("n5").start()
    mesh.await_healthy()
    with steady_load(mesh, "a node of four removed for good", tell):
        gone.kill()
        mesh.leave(gone)
        here.gridiron("cluster", "remove", gone.name, "--yes")
        mesh.await_healthy()
    assert members(mesh) == {node.name for node in mesh.nodes}


def members(mesh: Mesh) -> set[str]:
    """The nodes that are alive, as each node sees them; all see the same."""
    seen = {
        frozenset(
            member["name"] for member in node.gridiron("cluster", "status")["members"] if member["alive"]
        )
        for node in mesh.nodes
    }
    assert len(seen) == 1, f"the nodes differ: {seen}"
    return set(seen.pop())
