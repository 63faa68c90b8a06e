"""A node alone becomes a mesh of three, with invocations in flight that it began alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import REPLICATION, Mesh
from tests.harness import wait_until
from tests.machines import switched

SECONDS = 300
SLEEP_MILLIS = 60_000
COUNTERS = 8
PARTITIONS = 4
NAME = "grown"
ALONE = {"cluster": None, "fabric_host": "127.0.0.1", "fabric_url": "http://localhost:5122"}
"""What differs where a node has no table: its settings were read with one."""


@pytest.mark.timeout(1200)
def test_a_node_alone_grows_to_three(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with switched() as switch:
        mesh = Mesh(switch, tmp_path)
        try:
            mesh.bucket.start()
            tell_story(mesh)
        finally:
            mesh.close()
    record_property("mesh", f"a node alone grew to three with sleeps of {SLEEP_MILLIS} ms in flight")


def tell_story(mesh: Mesh) -> None:
    first, *others = mesh.nodes
    table = {field: getattr(first._own, field) for field in ALONE}
    first.start(**ALONE, restate_partitions=PARTITIONS)
    first.await_ready(SECONDS)
    mesh.deploy(first, NAME, "1")
    running = first.operate("cluster", "grow", "--json")
    assert json.loads(running.stdout)["code"] == "grow_refused"
    counted = {key: add(first, key) for key in keys()}
    sleeping = [
        first.client.send(NAME, "work", {"number": number, "millis": SLEEP_MILLIS}) for number in range(20)
    ]

    first.stop()
    first.configure(**table)
    too_early = first.operate("manager")
    assert "[cluster_not_grown]" in too_early.stderr + too_early.stdout
    uploaded = grow(first)
    assert (uploaded["builds"], uploaded["partitions"], uploaded["changed"]) == (1, PARTITIONS, True)
    assert not grow(first)["changed"]
    first.configure(**ALONE)
    alone_again = first.operate("up")
    assert "[cluster_table_missing]" in alone_again.stderr + alone_again.stdout
    first.configure(**table)
    first.start()
    first.await_ready(SECONDS)
    assert first.answers(NAME, "1")

    with ThreadPoolExecutor(1) as waiting:
        growing = waiting.submit(grow, first)
        for node in others:
            node.start()
        grown = growing.result(SECONDS)
    assert (grown["replication"], grown["missing"]) == (REPLICATION, 0)
    for node in others:
        node.await_ready(SECONDS)

    assert [attach(first, each) for each in sleeping] == [
        {"begun": "1", "ended": "1", "value": number} for number in range(20)
    ]
    for node in mesh.nodes:
        wait_until(lambda node=node: node.answers(NAME, "1"), SECONDS, f"{node!r} answers")
        counted = {key: value + 1 for key, value in counted.items()}
        assert {key: add(node, key) for key in keys()} == counted
    wait_until(lambda: others_lead(first), SECONDS, "others lead, too")
    mesh.deploy(others[0], NAME, "2")
    for node in mesh.nodes:
        wait_until(lambda node=node: node.answers(NAME, "2"), SECONDS, f"{node!r} answers version 2")
    first.kill()
    wait_until(lambda: read_where_alive(others[0], counted), SECONDS, "what the first node began goes on")


def grow(node: MeshNode) -> dict[str, Any]:
    done = node.operate("cluster", "grow", "--timeout", "100", "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def keys() -> list[str]:
    return [f"key-{number}" for number in range(COUNTERS)]


def add(node: MeshNode, key: str) -> int:
    value: int = node.client.call(f"{NAME}-counter/{key}", "add")["value"]
    return value


def read_where_alive(node: MeshNode, counted: dict[str, int]) -> bool:
    """Read the counters by way of a node, which may wait for new leaders meanwhile."""
    try:
        read = {key: node.client.call(f"{NAME}-counter/{key}", "read")["value"] for key in keys()}
    except httpx2.TransportError:
        return False
    assert read == counted
    return True


def attach(node: MeshNode, invocation_id: str) -> dict[str, Any]:
    url = f"{node.settings.ingress_url}/restate/invocation/{invocation_id}/attach"
    response = httpx2.get(url, timeout=SECONDS, trust_env=False)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def others_lead(node: MeshNode) -> bool:
    """Whether other nodes lead partitions; which do is Restate's choice, and of few partitions not all."""
    members = node.gridiron("cluster", "status")["members"]
    return any(member["leads"] for member in members if member["name"] != node.name)
