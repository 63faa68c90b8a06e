"""How a node behaves to those who run it: readiness, an orderly stop, settings that change."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.nodes import OFFSETS
from tests.acceptance.world import World
from tests.harness import Client, alive, manager_of, wait_until
from tests.integration.sources.origin import Origin, drip, serving, status

PROMISE_SECONDS = 5
"""Within which readiness turns."""


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with serving() as origin:
        yield origin


@pytest.fixture(scope="module")
def workerd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What leads to workerd, until a test lets it lead elsewhere."""
    link = tmp_path_factory.mktemp("programs") / "workerd"
    link.symlink_to(find_toolchain(load_settings()).workerd().path)
    return link


@pytest.fixture(scope="module")
def world(
    make_shared_node: Callable[..., Subject], world_bundle: Path, origin: Origin, workerd: Path
) -> Iterator[World]:
    origin.answers["/"] = status(403)  # what an object store says to somebody without credentials
    settings = {"s3_endpoint": origin.url, "source_http": True, "source_allow": "127.0.0.0/8"}
    world = World(make_shared_node(cells=1, workerd=workerd, **settings), world_bundle)
    yield world
    world.close()


# -- what a node says of itself --------------------------------------------------------------------------


def test_a_node_in_order_is_so_to_its_status_and_its_doctor(world: World) -> None:
    wait_until(lambda: world.unready() == (200, []), what=str(world.unready()))
    status = world.node.run("status")
    assert (status["ready"], status["reason"], status["builds"]) == (True, "", {})
    assert (status["cells"]["size"], len(status["cells"]["cells"])) == (1, 1)
    assert status["node"]["settings"] == {"live": [], "restart": [], "problem": None}
    lines = {line["check"]: line for line in world.node.run("doctor")}
    settings = world.node.settings
    for purpose, port in settings.ports._asdict().items():
        meaning = f"{purpose} at 127.0.0.1: this node listens there"
        assert (lines[f"port {port}"]["state"], lines[f"port {port}"]["meaning"]) == ("ok", meaning)
    assert lines["manager"]["meaning"] == f"{settings.manager_url}/health/ready answers"
    assert lines["clock"]["meaning"].endswith("as Restate has it")
    assert lines["object store"]["state"] == "ok"


# -- readiness -------------------------------------------------------------------------------------------


def test_what_hangs_is_named_and_so_is_its_return(world: World) -> None:
    hanging = ["restate admin", "restate ingress", "haproxy", "cells"]
    wait_until(world.is_ready)
    with world.frozen("restate-server"), world.frozen("haproxy"), world.frozen("gridiron workers"):
        wait_until(lambda: world.unready() == (503, hanging), PROMISE_SECONDS, what=str(world.unready()))
        health = world.client.manager.get("/health/ready").json()
        assert health["reason"] == "; ".join(f"{name}: no answer within 3 s" for name in hanging)
        assert health["since"] == min(c["since"] for c in health["components"] if not c["ready"])
        assert "/" not in json.dumps(health)  # no path and no URL: everybody may read it
    wait_until(world.is_ready, PROMISE_SECONDS, what=str(world.unready()))


def test_cells_that_do_not_come_back_are_named(world: World, workerd: Path) -> None:
    wait_until(world.is_ready)
    program = workerd.readlink()
    workerd.unlink()
    workerd.symlink_to("/bin/false")
    os.kill(world.pid_of("workerd"), signal.SIGKILL)
    wait_until(lambda: world.unready() == (503, ["cells"]), PROMISE_SECONDS, what=str(world.unready()))
    assert world.client.manager.get("/health/ready").json()["reason"] == "cells: 0 of 1 serve"
    workerd.unlink()
    workerd.symlink_to(program)
    wait_until(world.is_ready, 20, what=str(world.unready()))  # the next cell may be tried late


def test_an_object_store_that_is_away_is_shown_and_no_more(world: World, origin: Origin) -> None:
    wait_until(lambda: world.unready() == (200, []), what=str(world.unready()))
    origin.answers["/"] = status(503)
    wait_until(lambda: world.unready() == (200, ["object store"]), PROMISE_SECONDS)
    origin.answers["/"] = status(403)
    wait_until(lambda: world.unready() == (200, []), PROMISE_SECONDS)


# -- an orderly stop -------------------------------------------------------------------------------------

SLOW = """
import inner from "./inner.js";
export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname.endsWith("/discover")) await scheduler.wait(1200);
    return inner.fetch(request, env, ctx);
  },
};
"""


@pytest.fixture
def slow(bundles: ProbeBundles) -> Path:
    """A bundle whose activation takes more than a second."""
    bundle = bundles.make("1", "slow")
    (bundle / "index.js").rename(bundle / "inner.js")
    (bundle / "index.js").write_text(SLOW)
    return bundle


def follow_activation(client: Client, body: dict[str, Any], at_step: str, act: Callable[[], None]) -> Any:
    """Activate, do something when a step has begun, and give the last event's data."""
    headers = {"accept": "text/event-stream"}
    with client.manager.stream("POST", "/activate", json=body, headers=headers) as events:
        data: Any = None
        for line in events.iter_lines():
            if line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                if data.get("step") == at_step:
                    act()
    return data


def refuses(node: Subject) -> bool:
    """Whether a new connection is refused."""
    try:
        httpx2.get(f"{node.settings.manager_url}/health/live", timeout=5)
    except httpx2.ConnectError:
        return True
    return False


def test_a_source_that_never_ends_holds_no_stop_up(world: World, origin: Origin) -> None:
    origin.answers["/endless"] = drip
    manager = manager_of(world.node)
    body = {"source": f"{origin.url}/endless", "name": "endless", "version": "1"}
    told = follow_activation(world.client, body, "fetch", lambda: os.kill(manager, signal.SIGTERM))
    assert (told["code"], told["step"]) == ("manager_stopping", "fetch")
    wait_until(lambda: not alive([manager]), 5)
    wait_until(world.is_ready)


@pytest.mark.parametrize("whole_node", [False, True])
def test_what_is_under_way_ends_before_the_manager_does(
    world: World, slow: Path, bundles: ProbeBundles, whole_node: bool
) -> None:
    node = world.node
    assert node.pid is not None
    manager = manager_of(node)
    archive = f"an upload that is no archive, {whole_node}".encode() * 1000
    with closing(Client(node)) as client, closing(Client(node)) as uploader, ThreadPoolExecutor() as pool:
        printer = client.activate(bundles.make("1", "quiet"), "1", name="quiet")["build_id"]
        followed = pool.submit(client.manager.get, f"/deployments/{printer}/logs", params={"follow": "true"})

        def in_two() -> Iterator[bytes]:
            yield archive[:1000]
            wait_until(lambda: refuses(node), 5)
            yield archive[1000:]

        def stop() -> None:
            nonlocal uploaded
            if uploaded is None:
                path = f"/bundles/{hashlib.sha256(archive).hexdigest()}"
                uploaded = pool.submit(uploader.manager.put, path, content=in_two())
                wait_until(lambda: any((node.settings.bundles_dir / ".staging").glob("up-*")))
                os.kill(node.pid if whole_node else manager, signal.SIGTERM)  # type: ignore[arg-type]

        uploaded: Any = None
        body = {"source": slow.as_uri(), "name": "slow", "version": str(whole_node)}
        activated = follow_activation(client, body, "discover", stop)
        assert activated["outcome"] == "activated"
        assert uploaded.result().status_code == 201
        end = json.loads(followed.result().text.strip().rsplit("data: ", 1)[1])
        assert end == {"build_id": printer, "reason": "The manager is stopping.", "again": True}
    wait_until(lambda: not alive([manager]), 5)
    if whole_node:
        assert node.wait() == 0
    else:
        wait_until(lambda: "name=manager" in node.log, what=node.log)
        assert "how='exit code 0'" in node.log
        wait_until(world.is_ready)


# -- settings that change --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "gridiron.toml"


@pytest.fixture
def configured(tmp_path: Path, config: Path) -> Iterator[Subject]:
    """A node that has its settings from a file, as a user's has."""
    settings = choose_settings(tmp_path / "node", next(OFFSETS))
    config.write_text(f'data_dir = "{settings.data_dir}"\nport_offset = {settings.port_offset}\ncells = 1\n')
    node = Subject(settings, tmp_path)
    node._environment = {**os.environ, "GRIDIRON_CONFIG": str(config)}
    node.start()
    yield node
    node.stop()


def test_settings_are_taken_up_on_sighup(configured: Subject, config: Path) -> None:
    node, written = configured, config.read_text()
    assert node.pid is not None
    archive = b"x" * (1024 * 1024 + 1)
    path = f"/bundles/{hashlib.sha256(archive).hexdigest()}"
    with closing(Client(node)) as client:
        assert client.manager.put(path, content=archive).status_code == 201
        config.write_text(written + "source_mib = 1\nworkers_port = 9999\n")
        os.kill(node.pid, signal.SIGHUP)
        wait_until(lambda: "settings.reloaded" in node.log, what=node.log)
        assert "settings.need_restart changed=['workers_port', 'workers_url']" in node.log
        refused = client.manager.put(path, content=archive)
        assert (refused.status_code, refused.json()["code"]) == (422, "source_too_large")
        config.write_text("nonsense = [")
        os.kill(node.pid, signal.SIGHUP)
        wait_until(lambda: "settings.not_reloaded" in node.log, what=node.log)
        assert client.manager.put(path, content=archive).status_code == 422
        assert client.is_ready()


def test_a_node_that_is_told_to_read_its_settings_while_it_starts_starts(tmp_path: Path) -> None:
    node = Subject(choose_settings(tmp_path / "node", next(OFFSETS), cells=1), tmp_path)
    try:
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(node.start)
            wait_until(lambda: node.pid is not None and "identity.taken_up" in node.log)
            while not started.done():
                os.kill(node.pid or 0, signal.SIGHUP)
                time.sleep(0.05)
            assert started.result().startswith("ready ")
        assert "role.ended" not in node.log
    finally:
        node.stop()
