"""A real node for each test that asks for one, and bundles to give it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.killing.campaign import Campaign, Victim
from tests.acceptance.killing.operations import Operation
from tests.acceptance.killing.trap import Trap
from tests.acceptance.nodes import Nodes
from tests.acceptance.world import ONE_CELL, WORKER, World
from tests.harness import Client


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(find_toolchain(load_settings()), tmp_path_factory.mktemp("probe"))


@pytest.fixture
def bundles(probe: Path, tmp_path: Path) -> ProbeBundles:
    return ProbeBundles(probe, tmp_path / "made")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.stop()


@pytest.fixture
def make_node(nodes: Nodes) -> Callable[..., Subject]:
    return nodes.make


@pytest.fixture(scope="module")
def make_shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Subject]]:
    """The same for a node that the tests of a module share; nothing is removed from it in between."""
    nodes = Nodes(tmp_path_factory.mktemp("shared"))
    still = {"sweep_seconds": 3600, "drain_grace_seconds": 3600}
    yield lambda **overrides: nodes.make(**{**still, **overrides})
    nodes.stop()


@pytest.fixture
def node(make_node: Callable[..., Subject]) -> Subject:
    return make_node()


@pytest.fixture
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


@pytest.fixture(scope="session")
def world_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toolchain = find_toolchain(load_settings())
    return build_probe(toolchain, tmp_path_factory.mktemp("world"), WORKER.read_text())


@pytest.fixture
def make_world(make_node: Callable[..., Subject], world_bundle: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**overrides: Any) -> World:
        worlds.append(World(make_node(**{**ONE_CELL, **overrides}), world_bundle))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture(scope="module")
def shared_world(make_shared_node: Callable[..., Subject], world_bundle: Path) -> Iterator[World]:
    """One for the tests of a module; nothing is removed in it unless a test does so."""
    world = World(make_shared_node(**ONE_CELL), world_bundle)
    yield world
    world.close()


@pytest.fixture
def make_campaign(
    nodes: Nodes, bundles: ProbeBundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[tuple[Operation, ...], Victim], Campaign]]:
    trap = Trap(tmp_path)
    trap.inject(monkeypatch)
    with ExitStack() as stack:

        def make(operations: tuple[Operation, ...], victim: Victim) -> Campaign:
            campaign = Campaign(nodes, bundles, trap, operations, victim)
            stack.callback(campaign.close)
            return campaign

        yield make
