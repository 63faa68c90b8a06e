"""What can lie about on a node, and what becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.disks import content_of, read_only
from tests.acceptance.world import ONE_CELL, World, problem, shape
from tests.contract.restate_servers import running
from tests.harness import wait_until

FOREIGN_WORKER = Path(__file__).parents[1] / "contract" / "restate_worker.mjs"


@pytest.fixture(scope="module")
def world(make_shared_node: Callable[..., Subject], world_bundle: Path) -> Iterator[World]:
    """One node for all of these tests, as each leaves it whole. What is drained retires within a second.

    Those that wipe Restate come first: what others register by hand, or leave in flight, does not come back.
    """
    world = World(make_shared_node(sweep_seconds=0.5, drain_grace_seconds=0.5, **ONE_CELL), world_bundle)
    yield world
    world.close()


def await_sweeps(world: World) -> None:
    """Wait until what was there before has been swept: what was replaced after it has retired."""
    number = len(world.states(name="sweeps"))
    old = world.deploy("sweeps", f"{number}")["build_id"]
    world.deploy("sweeps", f"{number + 1}")
    wait_until(lambda: world.client.show(old)["state"] == "retired", what=world.node.log)


# -- Restate's data are gone -----------------------------------------------------------------------------


def wipe_while_stopped(world: World) -> None:
    world.node.stop()
    shutil.rmtree(world.node.settings.restate_dir)
    world.node.start()


def wipe_while_running(world: World) -> None:
    with world.dying("restate-server"):
        shutil.rmtree(world.node.settings.restate_dir)


def wipe_with_the_registry(world: World) -> None:
    with world.dying("gridiron manager"):
        wipe_while_running(world)
        registry_of(world).unlink()


def registry_of(world: World) -> Path:
    return world.node.settings.manager_state_dir / "state.json"


@pytest.mark.parametrize("wipe", [wipe_while_stopped, wipe_with_the_registry, wipe_while_running])
def test_all_that_restate_has_lost_is_registered_again_newest_last(
    wipe: Callable[[World], None], world: World
) -> None:
    name = wipe.__name__.replace("_", "-")
    cart, stock = f"{name}-cart", f"{name}-stock"
    first = world.deploy(name, "1", {cart: shape(), stock: shape()})["build_id"]
    second = world.deploy(name, "2", {cart: shape()}, breaking=True)["build_id"]
    third = world.deploy(name, "3", {cart: shape()})["build_id"]
    states = {first: "active", second: "retired", third: "active"}
    wait_until(lambda: world.states(name=name) == states, what=world.node.log)
    before = world.picture()
    assert (before.newest[cart], before.newest[stock]) == (third, first)
    assert (before.answers[cart], before.answers[stock]) == ("3", "1")
    wipe(world)
    world.await_picture(before)
    fourth = world.deploy(name, "4", {cart: shape()})["build_id"]
    assert world.newest() == {**before.newest, cart: fourth}


# -- files are gone, or damaged --------------------------------------------------------------------------


def test_the_build_before_takes_over_when_the_files_of_the_newest_are_deleted(world: World) -> None:
    world.deploy("deleted", "1")
    world.bring("deleted", "isPausedAfterAStep", "paused", pinned=True)  # so that it is still registered
    new = world.deploy("deleted", "2")["build_id"]
    (old,) = (build_id for build_id in world.states(name="deleted") if build_id != new)
    shutil.rmtree(world.node.settings.bundles_dir / new)
    wait_until(lambda: world.states(name="deleted") == {old: "active"}, what=world.node.log)
    assert world.newest()["deleted"] == old
    assert new not in world.registered().values()
    assert problem(world.client.manager.get(f"/deployments/{new}")) == (404, "build_not_found")
    assert world.client.call("deleted", "version") == "1"


@contextmanager
def deleted(world: World, build_id: str) -> Iterator[None]:
    """Take the files of a build away, and put them back in the end. No cell has it loaded."""
    directory, aside = world.node.settings.bundles_dir / build_id, world.node.settings.data_dir / "aside"
    directory.rename(aside)
    try:
        assert world.client.manager.post("/workers/restart").status_code == 200
        await_sweeps(world)
        yield
    finally:
        aside.rename(directory)


def test_files_that_come_back_heal_the_newest_build_and_what_is_pinned_to_it(world: World) -> None:
    build = world.deploy("healed", "1")
    stuck = world.bring("healed", "failsAfterAStep", "backing-off", pinned=True)
    with deleted(world, build["build_id"]):
        shown = world.client.show(build["build_id"])
        assert (shown["state"], shown["reason"], shown["invocations"], shown["size"]) == (
            "failed",
            "its files are gone; newest for healed; 1 invocation is pinned to it",
            {"pinned": 1, "attempting": 0},
            None,
        )
        assert [holder["invocation_id"] for holder in shown["held_by"]] == [stuck]
        assert problem(world.prune(build["build_id"])) == (409, "build_in_use")
        waiting = world.bring("healed", "version", "backing-off", pinned=False)
        assert world.newest()["healed"] == build["build_id"]
    assert world.states(name="healed") == {build["build_id"]: "active"}
    assert world.attach(waiting) == "1"
    world.open(build)
    assert world.attach(stuck) == {"begun": "1", "ended": "1"}


def test_files_that_come_back_heal_a_draining_build(world: World) -> None:
    build = world.deploy("drains", "1")
    old = build["build_id"]
    stuck = world.bring("drains", "failsAfterAStep", "backing-off", pinned=True)
    new = world.deploy("drains", "2")["build_id"]
    with deleted(world, old):
        assert world.states(name="drains") == {old: "failed", new: "active"}
        assert world.client.show(old)["reason"] == "its files are gone; 1 invocation is pinned to it"
        assert world.client.call("drains", "version") == "2"
    assert world.states(name="drains") == {old: "draining", new: "active"}
    world.open(build)
    assert world.attach(stuck) == {"begun": "1", "ended": "1"}
    wait_until(lambda: world.states(name="drains") == {old: "retired", new: "active"})


@pytest.mark.parametrize("what", ["half", "nothing"])
def test_damaged_metadata_leave_the_build_alone_and_can_be_mended(what: str, world: World) -> None:
    name = f"damaged-{what}"
    build = world.deploy(name, "1")["build_id"]
    metadata = world.node.settings.bundles_dir / build / "metadata.json"
    whole = metadata.read_bytes()
    metadata.write_bytes(whole[: len(whole) // 2] if what == "half" else b"")
    await_sweeps(world)
    shown = world.client.show(build)
    assert (shown["state"], shown["name"], shown["services"]) == (
        "failed",
        name,
        [{"name": name, "active": True}],
    )
    assert shown["reason"].startswith("metadata.json is damaged")
    assert world.newest()[name] == build
    assert problem(world.prune(build)) == (409, "build_in_use")
    assert world.client.manager.post("/workers/restart").status_code == 200
    waiting = world.bring(name, "version", "backing-off", pinned=False)
    metadata.write_bytes(whole)
    assert world.states(name=name) == {build: "active"}
    assert world.attach(waiting) == "1"


def test_a_directory_that_is_no_build_stays_until_it_is_pruned(world: World) -> None:
    directory = world.node.settings.bundles_dir / "left-over-1"
    directory.mkdir()
    (directory / "metadata.json").write_text("{")
    await_sweeps(world)
    shown = world.client.show("left-over-1")
    assert (shown["state"], shown["name"], shown["deployment_id"]) == ("failed", None, None)
    assert directory.is_dir()
    states = world.states()
    pruned = world.prune("left-over-1").json()["pruned"]
    assert pruned == [{"build_id": "left-over-1", "unregistered": False, "files_removed": True}]
    assert not directory.exists()
    assert world.states() == {each: state for each, state in states.items() if each != "left-over-1"}


# -- the registry is not what it was ---------------------------------------------------------------------


def test_a_registry_of_a_later_version_is_kept_aside_and_rebuilt(world: World) -> None:
    world.deploy("future", "1")
    before, shown = world.picture(), kept_of(world)
    state = registry_of(world)
    with world.dying("gridiron manager"):
        later = {**json.loads(state.read_text()), "format": 2, "colour": "red"}
        state.write_text(json.dumps(later))
    world.await_picture(before)
    assert kept_of(world) == shown
    assert json.loads(state.with_name("state.damaged.json").read_text()) == later


def kept_of(world: World) -> list[dict[str, object]]:
    """What a registry that is rebuilt must say again."""
    fields = ("build_id", "deployment_id", "services", "protocol", "created_at", "drained_at")
    return [{field: build[field] for field in fields} for build in world.client.builds()]


def test_timestamps_go_on_after_a_clock_that_was_ahead(world: World) -> None:
    world.deploy("ahead", "1")
    before, state = world.picture(), registry_of(world)
    last = 32_503_680_000_000  # in the year 3000
    with world.dying("gridiron manager"):
        state.write_text(json.dumps({**json.loads(state.read_text()), "last_timestamp": last}))
    world.await_picture(before)
    assert world.deploy("ahead", "2")["build_id"] == f"ahead-2-{last + 1}"
    assert world.client.call("ahead", "version") == "2"


# -- registrations of others -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Foreigner:
    """An endpoint that Gridiron knows nothing of."""

    url: str
    control_url: str

    def serve(self, path: str, *services: str) -> str:
        """Serve services at a path; give the uri."""
        handlers = [{"name": name, "type": None} for name in ("answer", "version")]
        described = [{"name": name, "type": "Service", "handlers": handlers} for name in services]
        body = {"path": path, "services": described, "protocol": "BidiStream"}
        assert httpx2.post(self.control_url, json=body).status_code == 204
        return f"{self.url}{path}"


@pytest.fixture(scope="module")
def foreigner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreigner]:
    node = find_toolchain(load_settings()).node().path
    log = tmp_path_factory.mktemp("foreigner") / "log"
    with running((str(node), str(FOREIGN_WORKER)), log, first_line=True) as said:
        ports = json.loads(said)
        yield Foreigner(f"http://127.0.0.1:{ports['data']}", f"http://127.0.0.1:{ports['control']}")


@pytest.mark.parametrize("path", ["/by/hand", "/by-hand/1-1"], ids=["any path", "the path of a build"])
def test_what_was_registered_by_hand_is_left_alone_and_owns_its_services(
    path: str, world: World, foreigner: Foreigner
) -> None:
    service = f"hand{len(path)}"
    uri = foreigner.serve(path, service)
    by_hand = world.register_by_hand(uri)
    await_sweeps(world)
    assert by_hand in world.registered()
    assert not [build_id for build_id in world.states() if build_id.startswith("by-hand-")]
    offered = {service: shape("Service", "answer", "version")}
    refused = world.try_deploy("by-hand", "1", offered)
    assert problem(refused) == (409, "service_taken")
    assert uri in refused.json()["detail"]
    assert world.states(name="by-hand") == {}
    taking = world.deploy("by-hand", "1", offered, takeover=True)
    assert taking["takes_over"] == {service: uri}
    assert world.client.call(service, "answer") == "1"
    await_sweeps(world)
    assert by_hand in world.registered()
    assert world.prune(taking["build_id"], force=True).status_code == 200
    assert world.client.call(service, "answer", "the other's") == "the other's"


def test_nobody_can_register_a_build_by_hand_at_another_path(world: World) -> None:
    """Restate does not sign what stands before its own path, so a build answers at its address alone."""
    build = world.deploy("twice", "1")
    uri = f"{world.node.settings.workers_url}{build['path']}/by/hand"
    refused = world.try_register_by_hand(uri)
    assert (refused.is_success, "request_signature_misdirected" in refused.text) == (False, True)
    await_sweeps(world)
    assert world.newest()["twice"] == build["build_id"]


# -- two managers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", ["manager_state_dir", "bundles_dir"])
def test_a_second_manager_of_a_directory_is_refused(shared: str, world: World, tmp_path: Path) -> None:
    settings = world.node.settings
    own = {"manager_state_dir": tmp_path / "state", "bundles_dir": tmp_path / "bundles"} | {
        shared: getattr(settings, shared)
    }
    other = settings.model_copy(update={**own, "manager_port": settings.manager_port + 1})
    before = world.picture()
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", "manager"],
        env={**os.environ, **other.environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    path, pid = getattr(settings, shared), world.pid_of("gridiron manager")
    told = f"error: {path} is in use by process {pid}. Stop it, or give another directory."
    assert (ended.returncode, ended.stderr) == (1, f"{told}  [directory_in_use]\n")
    assert world.picture() == before


# -- the bundle directory --------------------------------------------------------------------------------


@contextmanager
def unmounted(world: World) -> Iterator[Path]:
    """Put the bundle directory aside, and an empty one in its place, as where a disk was not mounted."""
    directory, aside = world.node.settings.bundles_dir, world.node.settings.data_dir / "aside"
    directory.rename(aside)
    directory.mkdir()
    try:
        yield directory
    finally:
        shutil.rmtree(directory)
        aside.rename(directory)
        world.await_ready()


def test_a_bundle_directory_that_is_not_mounted_removes_nothing(world: World) -> None:
    world.deploy("kept", "1")
    world.bring("kept", "isPausedAfterAStep", "paused", pinned=True)
    world.deploy("kept", "2")
    before = world.picture()
    with unmounted(world) as directory:
        refused = (500, "storage_failed")
        assert problem(world.client.manager.get("/deployments")) == refused
        assert problem(world.try_deploy("kept", "3")) == refused
        assert problem(world.client.manager.post("/prune", json={})) == refused
        with saying(world, "sweep.failed", 3):
            pass
        with saying(world, "[bundles_elsewhere]"), world.dying("gridiron manager"):
            pass
        assert sorted(world.registered().values()) == before.registered
        assert world.answers() == before.answers
        assert content_of(directory).keys() == {".lock"}
    assert world.picture() == before


def test_readiness_names_a_bundle_directory_that_is_not_mounted(world: World) -> None:
    with unmounted(world):
        world.await_unready("bundle directory")


@contextmanager
def saying(world: World, text: str, times: int = 1) -> Iterator[None]:
    """Wait until the node has said something so often, counted from what is done inside."""
    before = world.node.log.count(text)
    yield
    wait_until(lambda: world.node.log.count(text) >= before + times, 60, what=text)


def test_a_read_only_disk_changes_nothing_until_it_can_be_written(world: World) -> None:
    old = world.deploy("locked", "1")["build_id"]
    stuck = world.bring("locked", "isPausedAfterAStep", "paused", pinned=True)
    new = world.deploy("locked", "2")["build_id"]
    directory = world.node.settings.bundles_dir
    await_sweeps(world)
    before, content = world.picture(), content_of(directory)
    with read_only(directory):
        assert problem(world.try_deploy("locked", "3")) == (500, "storage_failed")
        assert problem(world.prune(new, force=True)) == (500, "storage_failed")
        world.await_unready("bundle directory")
        assert world.picture() == before
        with saying(world, "action.failed", 2):
            world.change(stuck, "kill")  # so that the old build is drained, and to be retired
        assert (world.newest(), world.client.call("locked", "version")) == (before.newest, "2")
        assert content_of(directory) == content
    wait_until(lambda: world.states(name="locked") == {old: "retired", new: "active"}, 60)
    assert sorted(world.registered().values()) == [each for each in before.registered if each != old]
    third = world.deploy("locked", "3")["build_id"]
    assert world.newest() == {**before.newest, "locked": third}


# -- a slow Restate --------------------------------------------------------------------------------------


def test_nothing_is_removed_while_restate_does_not_answer(world: World) -> None:
    old = world.deploy("frozen", "1")["build_id"]
    world.bring("frozen", "isPausedAfterAStep", "paused", pinned=True)
    world.deploy("frozen", "2")
    await_sweeps(world)
    before = world.picture()
    with world.frozen("restate-server"), ThreadPoolExecutor() as pool:
        shown = pool.submit(world.client.show, old)
        refused = pool.submit(world.prune, old)
        pruned = pool.submit(world.client.manager.post, "/prune", json={})
        view = shown.result()
        assert (view["state"], view["invocations"], view["held_by"]) == ("unknown", None, None)
        assert problem(refused.result()) == (503, "drain_unknown")
        assert pruned.result().json() == {"dry_run": False, "pruned": [], "kept": []}
    assert world.picture() == before


def test_an_activation_outlasts_a_short_silence_of_restate(world: World) -> None:
    first = world.deploy("patient", "1")["build_id"]
    with ThreadPoolExecutor() as pool:
        with world.frozen("restate-server"):
            second = pool.submit(world.deploy, "patient", "2")
            wait_until(lambda: not world.is_ready(), 8)  # it takes three seconds
        assert second.result()["replaces"] == [first]
    assert world.newest()["patient"] == second.result()["build_id"]
    assert world.client.call("patient", "version") == "2"
