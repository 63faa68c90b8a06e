"""What clients are told of a cluster: n2 answers, and n3 is away."""

from __future__ import annotations

from datetime import timedelta

from gridiron.manager.api import CellView, LogList, NodeView
from gridiron.manager.logs import merge_logs
from gridiron.manager.peers.client import Unreached
from gridiron.workers.logs import Wanted
from tests.unit.manager.conftest import NOW, Manager
from tests.unit.manager.peers.conftest import AWAY, Mesh
from tests.unit.manager.test_logs import SECOND, event

N3_AWAY = NodeView(node="n3", loaded=None, cells=(), reason=AWAY)


async def test_a_build_has_an_entry_for_each_node(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.n1.cells.load(build.path, in_flight=2)
    view = await mesh.n1.deployments.fetch(build.build_id)
    (page,) = (await mesh.n1.deployments.fetch_page(None, None, None, 10)).deployments
    assert (
        view.nodes
        == page.nodes
        == (
            NodeView(
                node="n1",
                loaded=True,
                cells=(CellView(cell="cell-1", loaded=True, in_flight=2),),
                present=True,
                quarantined=False,
            ),
            NodeView(
                node="n2",
                loaded=False,
                cells=(CellView(cell="cell-1", loaded=False, in_flight=0),),
                present=False,
                quarantined=False,
            ),
            N3_AWAY,
        )
    )


async def test_a_quarantine_elsewhere_is_told(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.n2.cells.quarantine(build.path, NOW)
    view = await mesh.n1.deployments.fetch(build.build_id)
    assert view.quarantine is None
    assert [node.quarantined for node in view.nodes or ()] == [False, True, None]
    assert view.is_quarantined


async def test_cells_that_do_not_answer_are_unknown_for_their_node_alone(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.n1.cells.silence()
    view = await mesh.n1.deployments.fetch(build.build_id)
    assert view.nodes is not None
    assert view.nodes[0] == NodeView(
        node="n1", loaded=None, cells=(), present=True, quarantined=False, reason="its cells do not answer"
    )
    assert [node.loaded for node in view.nodes] == [None, False, None]


async def test_a_node_alone_is_told_of_as_before(manager: Manager) -> None:
    build = await manager.activate("1")
    view = await manager.deployments.fetch(build.build_id)
    cells = (CellView(cell="cell-1", loaded=True, in_flight=0),)
    assert view.nodes == (NodeView(node="n1", loaded=True, cells=cells, quarantined=False),)
    manager.cells.silence()
    assert (await manager.deployments.fetch(build.build_id)).nodes is None


async def test_a_log_is_that_of_all_nodes_by_time(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.n2.cells.load(build.path)
    a, b, c, d = (event(text, n * SECOND, build.build_id) for n, text in enumerate("abcd"))
    mesh.n1.cells.log(build.path, a, c)
    mesh.n2.cells.log(build.path, b, d)
    mesh.n2.cells.silence("cell-2")
    found = await mesh.n1.logs.fetch(build.build_id, Wanted(), 3)
    assert [(each.message, each.node) for each in found.events] == [("b", "n2"), ("c", "n1"), ("d", "n2")]
    assert found.silent == ("cell-2 of n2", "n3")


def test_the_newest_of_all_lists_are_left() -> None:
    a, b, c = (event(text, n * SECOND) for n, text in enumerate("abc"))
    lists = {
        "n1": LogList(events=(a, c), silent=("cell-1",)),
        "n2": LogList(events=(b,), silent=("workers",)),
        "n3": Unreached("n3", "away"),
    }
    silent = ("cell-1 of n1", "workers of n2", "n3")
    assert merge_logs(lists, 2) == LogList(events=(b, c), silent=silent)
    assert merge_logs(lists, 0) == LogList(events=(), silent=silent)


async def test_what_was_printed_on_another_node_outlives_the_bucket_there(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.n2.cells.load(build.path)
    mesh.n2.cells.log(build.path, event("a", timedelta(0), build.build_id))
    mesh.objects.away = True
    async with mesh.connect() as client:
        answer = await client.get(f"/builds{build.path}/logs")
    assert [each["message"] for each in answer.json()["events"]] == ["a"]
