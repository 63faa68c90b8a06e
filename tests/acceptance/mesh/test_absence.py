"""Deployments while a node is away: it has them when it is back, and nothing else under their addresses."""

from __future__ import annotations

import json
from typing import Any

from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import Mesh
from tests.harness import wait_until


def test_a_deployment_while_a_node_is_down(mesh: Mesh) -> None:
    here, there, away = mesh.nodes
    mesh.deploy(here, "down", "1")
    away.kill()
    wait_until(lambda: here.answers("down", "1"), what="others lead what it led")
    deployed = mesh.deploy(here, "down", "2")
    assert {copy["node"]: copy["present"] for copy in deployed["copies"]} == {
        there.name: True,
        away.name: False,
    }
    assert [node.answers("down", "2") for node in (here, there)] == [True, True]
    away.start()
    mesh.await_healthy()
    wait_until(lambda: away.serves(deployed["path"]), what=f"{away!r} serves {deployed['path']}")
    assert away.answers("down", "2")


def test_a_deployment_while_a_node_is_cut_off(mesh: Mesh) -> None:
    here, _, away = mesh.nodes
    mesh.deploy(here, "cut", "1")
    away.cut()
    try:
        wait_until(lambda: here.answers("cut", "1"), what="others lead what it led")
        deployed = mesh.deploy(here, "cut", "2")
        refused = deploy_inside(mesh, away, "cut", "3")
        assert refused["code"] in {"bucket_unavailable", "restate_unavailable"}, refused
    finally:
        away.heal()
    mesh.await_healthy()
    wait_until(lambda: [node.answers("cut", "2") for node in mesh.nodes] == [True] * 3, what=f"{mesh.nodes}")
    assert [node.serves(deployed["path"]) for node in mesh.nodes] == [True] * 3
    contents = [content_of_builds(node, "cut") for node in mesh.nodes]
    assert contents[0].keys() == {"1", "2"}
    assert contents == [contents[0]] * 3


def deploy_inside(mesh: Mesh, node: MeshNode, name: str, version: str) -> dict[str, Any]:
    """Try to deploy on a node from its own machine; give the problem."""
    directory = mesh.bundles.make(version, name)
    done = node.try_gridiron("deploy", str(directory), "--name", name, "--version", version, "--json")
    assert done.returncode != 0, done.stdout
    problem: dict[str, Any] = json.loads(done.stdout)
    return problem


def content_of_builds(node: MeshNode, name: str) -> dict[str, tuple[str, str]]:
    """What a node has under each address of a name: by version, the build and its digest."""
    return {build["version"]: (build["build_id"], build["sha256"]) for build in node.client.builds(name=name)}
