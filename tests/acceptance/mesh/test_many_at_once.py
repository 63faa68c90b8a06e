"""Activations that are sent to several nodes at once: last of all that deploy, as sixty builds are left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.rig import Mesh
from tests.harness import wait_until

NAMES = [f"at-once-{number}" for number in range(10)]
VERSIONS = [str(number) for number in range(5)]


def test_fifty_activations_at_once(mesh: Mesh, tell: Tell) -> None:
    wanted = list(product(NAMES, VERSIONS))
    for name, version in wanted:
        mesh.bundles.make(version, name)
    deployed = at_once(
        [
            lambda node=mesh.nodes[number % 3], name=name, version=version: mesh.deploy(node, name, version)
            for number, (name, version) in enumerate(wanted)
        ]
    )
    assert {answer["outcome"] for answer in deployed} == {"activated"}
    ids = {answer["build_id"] for answer in deployed}
    assert len(ids) == len(wanted)
    for node in mesh.nodes:
        wait_until(lambda node=node: builds_of(node.client.builds()).keys() == ids, what=f"{node!r} has all")
        found = builds_of(node.client.builds())
        assert Counter((build["name"], build["version"]) for build in found.values()) == Counter(wanted)
        active = {build["name"]: build for build in found.values() if build["state"] == "active"}
        assert active.keys() == set(NAMES)
        assert all(node.answers(name, build["version"]) for name, build in active.items())
    slowest = max(answer["timings_ms"]["total"] for answer in deployed) / 1000
    tell(f"50 activations of 10 names, sent to three nodes at once: the last took {slowest:.1f} s")


def test_the_same_activation_on_all_nodes_at_once(mesh: Mesh) -> None:
    mesh.bundles.make("1", "same")
    deployed = at_once([lambda node=node: mesh.deploy(node, "same", "1") for node in mesh.nodes])
    assert sorted(answer["outcome"] for answer in deployed) == ["activated", "unchanged", "unchanged"]
    assert len({answer["build_id"] for answer in deployed}) == 1
    for node in mesh.nodes:
        assert [build["version"] for build in node.client.builds(name="same")] == ["1"]
        assert node.answers("same", "1")


def at_once(acts: Sequence[Callable[[], dict[str, Any]]]) -> list[dict[str, Any]]:
    """Do all of these side by side; give what came of each."""
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]


def builds_of(listed: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The builds among these that the fifty activations were for, by id."""
    return {build["build_id"]: build for build in listed if build["name"] in NAMES}
