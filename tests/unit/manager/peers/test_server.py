from __future__ import annotations

from datetime import timedelta

import httpx2
import pytest

import gridiron
from gridiron.manager.api import LogList
from gridiron.manager.peers.api import NodeBuilds, NodeHealth
from gridiron.workers.status import PoolQuarantined
from tests.unit.manager.conftest import NOW
from tests.unit.manager.peers.conftest import Mesh
from tests.unit.manager.test_logs import event


def code_of(response: httpx2.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


async def test_who_has_another_key_is_refused(mesh: Mesh) -> None:
    for client in (mesh.connect(bytes(32)), httpx2.AsyncClient(transport=httpx2.ASGITransport(mesh.app))):
        refused = await client.get("http://n2.test/builds")
        assert code_of(refused) == (401, "peer_unknown")
        assert refused.headers["www-authenticate"] == 'Gridiron-Peer realm="gridiron"'


async def test_whose_clock_differs_is_told(mesh: Mesh) -> None:
    client = mesh.connect()
    request = client.build_request("GET", "/builds")
    signed = await anext(client.auth.async_auth_flow(request))  # type: ignore[union-attr]
    mesh.clock.now += timedelta(seconds=61)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(mesh.app)) as bare:
        assert code_of(await bare.send(signed)) == (401, "peer_clock_differs")


async def test_what_a_node_has_of_all_builds(mesh: Mesh) -> None:
    here, there = await mesh.n1.activate("1"), await mesh.n1.activate("2")
    async with mesh.connect() as client:
        await client.post(f"/builds{there.path}/copy")
        mesh.n2.cells.load(there.path, in_flight=3)
        mesh.n2.cells.quarantine(there.path, NOW)
        answer = await client.get("/builds")
    assert NodeBuilds.model_validate_json(answer.content) == NodeBuilds(
        node="n2",
        version=gridiron.__version__,
        copies=frozenset({there.build_id}),
        loaded={"cell-1": {there.path: 3}},
        quarantined=(PoolQuarantined(path=there.path, since=NOW, reason="hung", cell="cell-9"),),
    )
    assert here.build_id not in answer.text


async def test_a_silent_cell_is_unknown_and_not_empty(mesh: Mesh) -> None:
    mesh.n2.cells.silence()
    async with mesh.connect() as client:
        answer = NodeBuilds.model_validate_json((await client.get("/builds")).content)
    assert (answer.loaded, answer.copies) == (None, frozenset())


async def test_a_node_fetches_a_copy_when_it_is_asked_to(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    assert mesh.n2.stored == []
    async with mesh.connect() as client:
        for _ in range(2):
            answer = await client.post(f"/builds{build.path}/copy")
            assert (answer.status_code, answer.json()) == (200, {"present": True})
    assert mesh.n2.stored == [build.build_id]


async def test_a_node_loads_what_it_has_fetched(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    async with mesh.connect() as client:
        await client.post(f"/builds{build.path}/copy")
        assert mesh.n2.restate.requests == ["discover"]
        mesh.n2.restate.down = "no answer"  # it is loaded by its first call then
        assert (await client.post(f"/builds{build.path}/copy")).status_code == 200


@pytest.mark.parametrize("path", ["/demo/1-1", "/demo/1", "/Demo/1-1", "/demo/..%2F1-1"])
async def test_what_there_is_not_cannot_be_copied(mesh: Mesh, path: str) -> None:
    async with mesh.connect() as client:
        answer = await client.post(f"/builds{path}/copy")
    assert answer.status_code == 404
    assert answer.json()["code"] in {"build_not_found", "path_not_found"}
    assert mesh.n2.stored == []


async def test_a_bucket_that_is_away_is_named(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    mesh.objects.away = True
    async with mesh.connect() as client:
        answer = await client.post(f"/builds{build.path}/copy")
    assert code_of(answer) == (503, "bucket_unavailable")


async def test_what_was_printed_there(mesh: Mesh) -> None:
    build = await mesh.n1.activate("1")
    events = [event(message, timedelta(seconds=n), build.build_id) for n, message in enumerate("abc")]
    mesh.n2.cells.load(build.path)
    mesh.n2.cells.log(build.path, *events)
    asked = {"since": (NOW + timedelta(seconds=1)).isoformat(), "level": "info", "limit": "1", "new": "1"}
    async with mesh.connect() as client:
        answer = await client.get(f"/builds{build.path}/logs", params=asked)
        everything = await client.get("/builds/gone/1-1/logs")
    shown = events[2].model_copy(update={"node": "n2"})
    assert LogList.model_validate_json(answer.content) == LogList(events=(shown,), silent=())
    assert LogList.model_validate_json(everything.content) == LogList(events=(), silent=())


@pytest.mark.parametrize("asked", [{"limit": "10001"}, {"level": "loud"}, {"place": "{"}, {"since": "now"}])
async def test_a_parameter_that_is_none(mesh: Mesh, asked: dict[str, str]) -> None:
    async with mesh.connect() as client:
        answer = await client.get("/builds/demo/1-1/logs", params=asked)
    assert code_of(answer) == (422, "request_invalid")


async def test_how_a_node_is(mesh: Mesh) -> None:
    async with mesh.connect() as client:
        answer = NodeHealth.model_validate_json((await client.get("/node")).content)
    assert (answer.status.node, answer.health.ready) == ("n2", True)
    (listener,) = (each for each in answer.status.listens if each.purpose == "peers")
    assert (listener.host, listener.port, listener.is_loopback) == ("10.99.0.2", 8082, False)
