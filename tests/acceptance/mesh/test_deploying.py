"""What one node of a mesh is told, all of them do."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import Mesh
from tests.harness import wait_until

ROUNDS = 9
MOST = 3
"""How many times as long it may take on all nodes as on one alone, on the same two cores."""

RETIRED_SECONDS = 120
"""Until the loop has come to a build: those of tests before are its turn first, one at a time."""

COPY_SECONDS = 60
"""Until a copy of what is gone goes, too: two rounds of the loop."""


def test_a_build_is_deployed_called_read_and_rolled_back_on_whichever_node(mesh: Mesh) -> None:
    n1, n2, n3 = mesh.nodes
    first = n1.gridiron(*deployment(mesh, "1"))
    assert n2.gridiron("call", "story", "say", '"told on the second"') == "1"
    wait_until(
        lambda: "told on the second" in printed(n3, first["build_id"]), what="the third shows the logs"
    )
    second = n2.gridiron(*deployment(mesh, "2"))
    assert second["replaces"] == [first["build_id"]]
    assert [node.gridiron("call", "story", "version") for node in mesh.nodes] == ["2", "2", "2"]
    third = n2.gridiron("rollback", "story")
    assert [node.gridiron("call", "story", "version") for node in mesh.nodes] == ["1", "1", "1"]
    wait_until(
        lambda: states(n3) == [states(n1)[0], "retired", "active"], RETIRED_SECONDS, "the second is retired"
    )
    n3.gridiron("prune", second["build_id"], "--yes")
    for node in mesh.nodes:
        wait_until(lambda node=node: second["build_id"] not in builds(node), what=f"{node!r} knows of it")
        assert third["build_id"] in builds(node)
        copy = node.settings.bundles_dir / second["build_id"]
        wait_until(lambda copy=copy: not copy.exists(), COPY_SECONDS, f"{node!r} has no copy any more")


def test_a_new_version_serves_on_all_nodes_soon(mesh: Mesh, tell: Tell) -> None:
    mesh_took, alone_took = [], []
    with mesh.alone() as alone:
        for version in map(str, range(ROUNDS)):
            for node in (mesh.nodes[0], alone):  # what the version before was in the way of is not measured
                wait_until(
                    lambda node=node: not drained(node), RETIRED_SECONDS, "the loops have nothing to do"
                )
            alone_took.append(deploy_everywhere(mesh, [alone], version))
            mesh_took.append(deploy_everywhere(mesh, mesh.nodes, version))
    ratio = statistics.median(mesh_took) / statistics.median(alone_took)
    tell(
        f"from `activate` to served everywhere: {statistics.median(mesh_took):.2f} s on three nodes, "
        f"{statistics.median(alone_took):.2f} s on one alone, {ratio:.1f} times as long (medians of {ROUNDS})"
    )
    assert ratio <= MOST


def deployment(mesh: Mesh, version: str) -> tuple[str, ...]:
    directory = mesh.bundles.make(version, "story")
    return ("deploy", str(directory), "--name", "story", "--version", version)


def printed(node: MeshNode, build_id: str) -> str:
    return "\n".join(json.loads(line)["message"] for line in node.lines("logs", build_id))


def builds(node: MeshNode) -> dict[str, dict[str, Any]]:
    return {build["build_id"]: build for build in node.client.builds(name="story")}


def states(node: MeshNode) -> list[str]:
    return [build["state"] for build in builds(node).values()]


def drained(node: MeshNode) -> list[str]:
    """The builds that a loop has something to do with."""
    return [build["build_id"] for build in node.client.builds() if build["state"] in {"draining", "drained"}]


def deploy_everywhere(mesh: Mesh, nodes: Sequence[MeshNode], version: str) -> float:
    """Deploy on the first node; give the seconds until all have it, and answer calls by it."""
    mesh.bundles.make(version, "quick")  # beforehand

    def await_served(node: MeshNode) -> None:
        wait_until(lambda: node.serves(path), 30, f"{node!r} serves {path}")
        wait_until(lambda: node.answers("quick", version), 30, f"{node!r} routes to {path}")

    with ThreadPoolExecutor(len(nodes)) as each:
        began = time.monotonic()
        path = mesh.deploy(nodes[0], "quick", version)["path"]
        list(each.map(await_served, nodes))
        return time.monotonic() - began
