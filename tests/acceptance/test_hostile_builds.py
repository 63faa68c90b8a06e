"""Builds that do what they can to take a node down, and neighbours that lose no call by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.hostile import BRING_DOWN, HOSTILE_SOURCE, WASTE
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, wait_until
from tests.load import constant_load


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> ProbeBundles:
    directory = tmp_path_factory.mktemp("hostile")
    built = build_probe(find_toolchain(load_settings()), directory / "built", HOSTILE_SOURCE)
    return ProbeBundles(built, directory / "made")


@pytest.fixture
def node(make_node: Callable[..., Subject]) -> Subject:
    return make_node(cells=1, cell_memory_mib=600)  # one cell, so that all builds are neighbours


def workers_of(client: Client) -> dict[str, Any]:
    response = client.manager.get("/workers")
    assert response.status_code == 200, response.text
    return response.json()


def shared_cells(client: Client) -> list[int]:
    return [cell["pid"] for cell in workers_of(client)["cells"] if cell["own"] is None]


@pytest.mark.parametrize("deed", BRING_DOWN)
def test_what_brings_cells_down_is_quarantined_and_its_neighbours_lose_no_call(
    node: Subject, client: Client, bundles: ProbeBundles, hostile: ProbeBundles, deed: str
) -> None:
    client.activate(bundles.make("1"), "1")
    build_id = client.activate(hostile.make("1", "hostile"), "1", name="hostile")["build_id"]
    with constant_load(node.settings.ingress_url) as load:
        wait_until(lambda: len(load.answers) > 20)
        client.send("hostile", deed, None)
        shown = wait_until(lambda: (s := client.show(build_id))["quarantine"] and s, 60, node.log)
        assert shown["quarantine"]["reason"] in {"hung", "died", "memory_exhausted"}
        counted = f'gridiron_builds_quarantined{{reason="{shown["quarantine"]["reason"]}"}} 1.0'
        wait_until(lambda: counted in client.manager.get("/metrics").text.splitlines())
        wait_until(lambda: len(workers_of(client)["cells"]) == 2)
        cells, before = shared_cells(client), len(load.answers)
        # it goes on in its own cell, and nobody notices
        wait_until(lambda: client.show(build_id)["invocations"]["attempting"] == 1)
        wait_until(lambda: len(load.answers) > before + 200)
        assert shared_cells(client) == cells
        # what there is stays known, and can be removed
        assert client.show(build_id)["nodes"] is not None
        # a new version is not in quarantine
        mended = client.activate(hostile.make("2", "hostile"), "2", name="hostile")["build_id"]
        assert client.call("hostile", "well") == "2"
        assert client.show(mended)["quarantine"] is None
        removed = client.manager.post("/prune", json={"build_id": build_id, "force": True})
        assert removed.status_code == 200, removed.text
        assert removed.json()["pruned"][0]["unregistered"] is True
    assert load.failures == []
    neighbour = client.builds(name="probe")[0]
    assert (neighbour["quarantine"], neighbour["state"]) == (None, "active")


@pytest.mark.parametrize("deed", WASTE)
def test_what_only_wastes_loses_its_neighbours_no_call(
    node: Subject, client: Client, bundles: ProbeBundles, hostile: ProbeBundles, deed: str
) -> None:
    client.activate(bundles.make("1"), "1")
    client.activate(hostile.make("1", "hostile"), "1", name="hostile")
    with constant_load(node.settings.ingress_url) as load:
        wait_until(lambda: len(load.answers) > 20)
        client.send("hostile", deed, None)
        before = len(load.answers)
        wait_until(lambda: len(load.answers) > before + 200, 60)
    assert load.failures == []
    assert len(node.log) < 50_000_000  # of a flood, only as much as anybody may read
