"""What a node makes of what all of them say: a program stands in for restatectl, HTTP answers for nodes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from gridiron.errors import RestateUnavailable
from gridiron.restate.cluster import RestateCluster

FABRIC = "http://10.0.0.1:5122"


class Nodes:
    """Three nodes: what each says of itself, and what restatectl finds at each. The first one is asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.schemas = {"10.0.0.1": 4, "10.0.0.2": 4, "10.0.0.3": 4}
        self.alive = {"10.0.0.1", "10.0.0.2", "10.0.0.3"}  # as the first sees it
        self.asked: list[str] = []
        self.program = directory / "restatectl"
        self.program.write_text(
            f'#!/bin/sh\n[ "$4" = --json ] && exec cat "{directory}/${{1#--address=http://}}"\n'
        )
        self.program.chmod(0o755)

    async def fetch_incarnation(self) -> str:
        for host in self.schemas:
            (self.directory / f"{host}:5122").write_text(json.dumps(self._rows()))
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        return await RestateCluster(FABRIC, self.program, client).fetch_incarnation()

    def _rows(self) -> list[dict[str, object]]:
        nodes: list[dict[str, object]] = [
            {
                "kind": "node",
                "id": f"N{number}",
                "generation": f"N{number}:1",
                "name": f"n{number}",
                "address": f"http://{host}:5122/",
                "state": "alive" if host in self.alive else "dead",
                "worker_state": "active",
                "storage_state": "read-write",
                "metadata_server_state": "member",
            }
            for number, host in enumerate(self.schemas, 1)
        ]
        led = {"generation": "N2:1", "epoch": "e3", "mode": "Leader", "replay": "active", "replicas": "N1,N2"}
        return [*nodes, {"kind": "partition", "id": "0", **led}]

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        self.asked.append(host)
        node_id = f"N{host[-1]}:1"
        if host not in self.schemas or self.schemas[host] < 0:
            return httpx2.Response(503)
        return httpx2.Response(
            200, json={"node_id": node_id, "age": "9s", "schema_version": self.schemas[host]}
        )


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


async def test_all_that_are_alive_are_asked(nodes: Nodes) -> None:
    assert await nodes.fetch_incarnation() == "N1:1#1 0=N2:1/e3"
    assert sorted(nodes.asked) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


async def test_one_that_is_down_is_not_asked(nodes: Nodes) -> None:
    nodes.alive.remove("10.0.0.3")
    assert await nodes.fetch_incarnation() == "N1:1#1 0=N2:1/e3"
    assert sorted(nodes.asked) == ["10.0.0.1", "10.0.0.2"]


async def test_one_that_does_not_answer_and_is_not_known_to_be_down(nodes: Nodes) -> None:
    nodes.schemas["10.0.0.3"] = -1
    with pytest.raises(RestateUnavailable, match="n3 is not known to be down and does not answer"):
        await nodes.fetch_incarnation()


async def test_a_node_that_knows_registrations_which_this_one_does_not(nodes: Nodes) -> None:
    nodes.schemas["10.0.0.2"] = 5
    with pytest.raises(RestateUnavailable, match="does not know yet what n2 has registered"):
        await nodes.fetch_incarnation()
    nodes.schemas["10.0.0.1"] = 6  # it is the others that have to learn now
    assert await nodes.fetch_incarnation() == "N1:1#1 0=N2:1/e3"


async def test_what_is_not_understood_is_no_answer(nodes: Nodes) -> None:
    nodes.program.write_text('#!/bin/sh\necho \'[{"kind": "node"}]\'\n')
    with pytest.raises(RestateUnavailable, match=r"restatectl's answer is not understood: 0\.node\.id"):
        await nodes.fetch_incarnation()
