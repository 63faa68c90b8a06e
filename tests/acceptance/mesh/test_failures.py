"""What befalls a mesh with 200 invocations in flight: all are answered, once, by the right version."""

from __future__ import annotations

from gridiron.restate.config import restate_config_path
from tests.acceptance.mesh.conftest import Tell
from tests.acceptance.mesh.judging import last, steady_load
from tests.acceptance.mesh.rig import Mesh
from tests.harness import alive, wait_until

CUT_SECONDS = 20
AWAY_SECONDS = 30
DEAD_SECONDS = 8
MORE = "72 MiB"


def test_a_node_is_killed(mesh: Mesh, tell: Tell) -> None:
    first = mesh.nodes[0]  # which made the cluster
    with steady_load(mesh, "a node killed", tell):
        first.kill()
        last(DEAD_SECONDS)
        first.start()
        mesh.await_healthy()


def test_the_network_of_a_node_is_cut(mesh: Mesh, tell: Tell) -> None:
    node = mesh.nodes[1]
    with steady_load(mesh, f"the network of a node cut for {CUT_SECONDS} s", tell):
        node.cut()
        try:
            last(CUT_SECONDS)
        finally:
            node.heal()
        mesh.await_healthy()


def test_only_the_cells_of_a_node_are_dead(mesh: Mesh, tell: Tell) -> None:
    node = mesh.nodes[2]
    with steady_load(mesh, f"only the cells of a node dead for {AWAY_SECONDS} s", tell):
        with node.cells_held():
            last(AWAY_SECONDS)
        mesh.await_healthy()


def test_a_manager_is_killed(mesh: Mesh, tell: Tell) -> None:
    node = mesh.nodes[0]
    with steady_load(mesh, "a manager killed", tell):
        killed = node.kill_manager()
        wait_until(lambda: not alive([killed]))
        mesh.await_healthy()


def test_the_bucket_is_away(mesh: Mesh, tell: Tell) -> None:
    with steady_load(mesh, f"the bucket away for {AWAY_SECONDS} s", tell):
        with mesh.bucket.away():
            last(AWAY_SECONDS)
        mesh.await_healthy()


def test_all_nodes_get_new_settings_one_at_a_time(mesh: Mesh, tell: Tell) -> None:
    what = "all nodes stopped and started with new settings, in turn, behind a load balancer"
    with mesh.balanced() as url, steady_load(mesh, what, tell, [url]):
        for node in mesh.nodes:
            node.stop()
            node.start(restate_memory=MORE)
            mesh.await_healthy()
    configs = [restate_config_path(node.settings).read_text() for node in mesh.nodes]
    assert [MORE in config for config in configs] == [True, True, True]
