"""A bundle directory with no room left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gridiron.cli.demo.subject import Subject
from tests.acceptance.disks import content_of, filled, small_disk
from tests.acceptance.world import ONE_CELL, World, problem


@dataclass(frozen=True)
class Full:
    """A node whose disk for bundles has no room left, with two drained builds and an active one."""

    world: World
    disk: Path
    drained: tuple[str, str]
    active: str


@pytest.fixture(scope="module")
def small(
    make_shared_node: Callable[..., Subject], world_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A node with a small disk for its bundles, whose sweep does nothing meanwhile."""
    disk = tmp_path_factory.mktemp("disk")
    with small_disk(disk, "8m"):
        world = World(make_shared_node(bundles_dir=disk, retain=0, **ONE_CELL), world_bundle)
        yield world
        world.node.stop()
        world.close()


@pytest.fixture
def full(small: World) -> Iterator[Full]:
    assert small.client.manager.post("/prune", json={}).status_code == 200  # of the tests before
    first, second, active = (small.deploy("full", version)["build_id"] for version in "123")
    for build_id in small.states().keys() - {first, second, active}:
        assert small.prune(build_id).status_code == 200
    disk = small.node.settings.bundles_dir
    with filled(disk):
        yield Full(small, disk, (first, second), active)


def test_a_full_disk_refuses_what_needs_room_and_nothing_else(full: Full) -> None:
    world = full.world
    before, content = world.picture(), content_of(full.disk)
    assert before.states == {**dict.fromkeys(full.drained, "drained"), full.active: "active"}
    refused = world.try_deploy("full", "4")
    assert (*problem(refused), refused.json()["step"]) == (500, "storage_failed", "stage")
    rolled_back = world.client.manager.post("/rollback", json={"name": "full"})
    assert (*problem(rolled_back), rolled_back.json()["step"]) == (500, "storage_failed", "stage")
    assert (content_of(full.disk), world.picture()) == (content, before)


def test_a_full_disk_is_freed_by_a_prune(full: Full) -> None:
    world = full.world
    pruned = world.client.manager.post("/prune", json={}).json()["pruned"]
    gone = {"unregistered": True, "files_removed": True}
    assert pruned == [{"build_id": build_id, **gone} for build_id in full.drained]
    assert world.states() == {full.active: "active"}
    fourth = world.deploy("full", "4")["build_id"]
    assert world.states() == {full.active: "drained", fourth: "active"}
    assert world.client.call("full", "version") == "4"


def test_a_manager_starts_on_a_full_disk(full: Full) -> None:
    before = full.world.picture()
    with full.world.dying("gridiron manager"):
        pass
    full.world.await_picture(before)


def test_readiness_names_a_full_disk_and_leaves_nothing_on_it(full: Full) -> None:
    content = content_of(full.disk)
    full.world.await_unready("bundle directory")
    assert content_of(full.disk) == content
