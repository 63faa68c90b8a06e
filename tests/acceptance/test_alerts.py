"""Each alert fires when its fault is there and clears when it is mended: a real node, a real Prometheus.

Times are shortened; nothing else of the rules is.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.disks import small_disk
from tests.acceptance.nodes import Nodes
from tests.harness import Client, manager_of, pid_of, wait_until
from tests.prometheus import DASHBOARD, Hurry, Prometheus, read_rules, running_prometheus

CELLS = 2
HURRY = Hurry(window="8s", seconds={300: 3, 86400: 1})
LIMIT_SECONDS = 60

EMPTY = {"Draining builds"}
"""Panels that show nothing on a node that is well."""

MISCHIEF = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const hoard = [];
const mischief = restate.service({
  name: "@SERVICE@",
  handlers: {
    hoard: async (_ctx, bytes) => hoard.push(new Uint8Array(bytes).fill(1)),
    fail: async () => { throw new Error("on purpose"); },
    loop: async () => { while (true); },
    wait: async (ctx) => { await ctx.run("begin", () => 1); await ctx.sleep(3_600_000); },
    version: async () => "@VERSION@",
  },
});
const bidirectional = JSON.parse("@BIDIRECTIONAL@");
export default { fetch: restate.createEndpointHandler({ services: [mischief], bidirectional }) };
"""


class Scene:
    """A node, and what can go wrong with it."""

    def __init__(self, node: Subject, client: Client, bundles: ProbeBundles) -> None:
        self.node = node
        self.client = client
        self.bundles = bundles

    def deploy(self, service: str, version: str = "1") -> str:
        activated = self.client.activate(self.bundles.make(version, service), version, name=service)
        return str(activated["build_id"])

    def kill_invocation(self, invocation: str) -> None:
        killed = self.client.admin.patch(f"/invocations/{invocation}/kill")
        assert killed.is_success, killed.text

    def cells(self) -> list[dict[str, Any]]:
        cells: list[dict[str, Any]] = self.client.manager.get("/workers").json()["cells"]
        return cells

    # -- faults; what is behind `yield` mends each -----------------------------------------------------------

    @contextmanager
    def activations_that_fail(self) -> Iterator[None]:
        for _ in range(4):
            body = {"source": "file:///nowhere/at/all", "name": "nowhere", "version": "1"}
            assert self.client.manager.post("/activate", json=body).status_code == 422
        yield

    @contextmanager
    def requests_without_a_build(self) -> Iterator[None]:
        for _ in range(40):
            assert self.client.workers.post("/nobody/1-1/invoke/a/b").status_code == 404
        yield

    @contextmanager
    def a_handler_that_throws(self) -> Iterator[None]:
        self.deploy("failing")
        invocation = self.client.send("failing", "fail", None)
        yield
        self.kill_invocation(invocation)

    @contextmanager
    def an_invocation_that_lasts(self) -> Iterator[None]:
        build = self.deploy("lasting")
        invocation = self.client.send("lasting", "wait", None)
        wait_until(lambda: self.client.show(build)["invocations"]["pinned"] == 1)
        self.deploy("lasting", "2")
        yield
        self.kill_invocation(invocation)

    @contextmanager
    def a_disk_without_room(self) -> Iterator[None]:
        bundles = self.node.settings.bundles_dir
        room = os.statvfs(bundles)
        filler = bundles / ".filler"
        filler.write_bytes(bytes(int(room.f_bavail * room.f_frsize - 0.05 * room.f_blocks * room.f_frsize)))
        yield
        filler.unlink()

    @contextmanager
    def a_build_that_hoards(self) -> Iterator[None]:
        build = self.deploy("hoarding")
        (name,) = (each["cell"] for each in self.client.show(build)["nodes"][0]["cells"] if each["loaded"])
        (cell,) = (each for each in self.cells() if each["cell"] == name)
        self.client.call("hoarding", "hoard", int(0.96 * cell["memory_limit"]) - cell["memory"])
        yield
        assert self.client.manager.post("/workers/restart").status_code == 200

    @contextmanager
    def cells_that_are_killed(self) -> Iterator[None]:
        for _ in range(3):
            pids = wait_until(self.serving_cells)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda old=pids: not old & {cell["pid"] for cell in self.cells()})  # type: ignore[misc]
        yield

    def serving_cells(self) -> set[int] | None:
        """The cells, once there are as many as there should be."""
        serving = {cell["pid"] for cell in self.cells() if cell["serving"]}
        return serving if len(serving) == CELLS else None

    @contextmanager
    def a_build_that_hangs(self) -> Iterator[None]:
        build = self.deploy("hanging")
        self.client.send("hanging", "loop", None)
        yield
        removed = self.client.manager.post("/prune", json={"build_id": build, "force": True})
        assert removed.status_code == 200, removed.text

    @contextmanager
    def a_bundle_directory_that_is_not_mounted(self) -> Iterator[None]:
        with small_disk(self.node.settings.bundles_dir, "1m"):
            yield

    @contextmanager
    def a_restate_that_hangs(self) -> Iterator[None]:
        with stopped(pid_of(self.node, "restate-server")):
            yield

    @contextmanager
    def a_manager_that_hangs(self) -> Iterator[None]:
        with stopped(manager_of(self.node)):
            yield


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


ROUNDS: tuple[tuple[tuple[Callable[[Scene], AbstractContextManager[None]], ...], set[str]], ...] = (
    (
        (
            Scene.an_invocation_that_lasts,
            Scene.a_build_that_hoards,
            Scene.a_handler_that_throws,
            Scene.a_disk_without_room,
            Scene.activations_that_fail,
            Scene.requests_without_a_build,
        ),
        {
            "GridironDrainStuck",
            "GridironCellNearMemoryLimit",
            "GridironBuildFailing",
            "GridironDiskNearlyFull",
            "GridironActivationsFailing",
            "GridironRequestsRefused",
        },
    ),
    ((Scene.cells_that_are_killed,), {"GridironCellsRestarting"}),
    ((Scene.a_build_that_hangs,), {"GridironBuildQuarantined"}),
    (
        (Scene.a_bundle_directory_that_is_not_mounted,),
        {"GridironLoopStalled", "GridironComponentDown", "GridironNodeNotReady"},
    ),
    ((Scene.a_restate_that_hangs,), {"GridironRestateUnreachable"}),
    ((Scene.a_manager_that_hangs,), {"GridironManagerDown"}),
)
"""Faults that are there at once, and the alerts that they are to raise."""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    built = build_probe(find_toolchain(load_settings()), tmp_path / "built", MISCHIEF)
    disk = tmp_path / "disk"
    disk.mkdir()
    nodes = Nodes(tmp_path)
    with small_disk(disk, "100m"):
        try:
            node = nodes.make(
                cells=CELLS, cell_memory_mib=400, bundles_dir=disk / "bundles", drain_grace_seconds=3600
            )
            client = Client(node)
            yield Scene(node, client, ProbeBundles(built, tmp_path / "made"))
            client.close()
        finally:
            nodes.stop()


@pytest.fixture
def prometheus(scene: Scene, tmp_path: Path) -> Iterator[Prometheus]:
    settings = scene.node.settings
    port = settings.ports.manager + 10
    with running_prometheus(tmp_path / "prometheus", port, settings, HURRY) as prometheus:
        wait_until(
            lambda: prometheus.query("count_over_time(gridiron_component_ready[5s]) >= 3"), LIMIT_SECONDS
        )
        yield prometheus


@pytest.mark.timeout(600)
def test_each_alert_fires_for_its_fault_and_clears_when_it_is_mended(
    scene: Scene, prometheus: Prometheus
) -> None:
    assert set().union(*(alerts for _, alerts in ROUNDS)) == {rule["alert"] for rule in read_rules()}
    scene.deploy("healthy")
    scene.client.call("healthy", "version")
    assert prometheus.firing() == set()
    for faults, alerts in ROUNDS:
        with ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault(scene))
            for alert in sorted(alerts):
                prometheus.await_firing(alert)
        wait_until(lambda: prometheus.firing() == set(), LIMIT_SECONDS, f"{alerts} clear")
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            assert prometheus.query(expression) or panel["title"] in EMPTY, (panel["title"], expression)
