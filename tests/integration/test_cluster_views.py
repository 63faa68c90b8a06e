"""What a node makes of what all of them say: a program stands in for restatectl, HTTP answers for nodes."""

from __future__ import annotations

import json
import time
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
        self._began = time.monotonic_ns()
        self.schemas = {"10.0.0.1": 4, "10.0.0.2": 4, "10.0.0.3": 4}
        self.alive = {"10.0.0.1", "10.0.0.2", "10.0.0.3"}  # as the first sees it
        self.started = dict.fromkeys(self.schemas, 1)  # how often each was
        self.asked: list[str] = []
        self.program = directory / "restatectl"
        self.program.write_text(
            f'#!/bin/sh\necho asked >>"{directory}/log"\n'
            f'[ "$4" = --json ] && exec cat "{directory}/${{1#--address=http://}}"\n'
        )
        self.program.chmod(0o755)
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        self._cluster = RestateCluster(FABRIC, self.program, client)

    @property
    def queries(self) -> int:
        """How often restatectl was started."""
        log = self.directory / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    async def fetch_incarnation(self) -> str:
        self._write()
        return await self._cluster.fetch_incarnation()

    async def fetch_start(self) -> str:
        self._write()
        return await self._cluster.fetch_start()

    async def catch_up(self) -> None:
        self._write()
        await self._cluster.catch_up()

    def _write(self) -> None:
        for host in self.schemas:
            (self.directory / f"{host}:5122").write_text(json.dumps(self._rows()))

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
        if host not in self.schemas or self.schemas[host] < 0:
            return httpx2.Response(503)
        node_id = f"N{host[-1]}:{self.started[host]}"
        age = f"{time.monotonic_ns() - self._began}ns"
        return httpx2.Response(
            200, json={"node_id": node_id, "age": age, "schema_version": self.schemas[host]}
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


async def test_its_start_is_its_own_affair_once_all_was_looked_at(nodes: Nodes) -> None:
    assert await nodes.fetch_start() == "N1:1#1"
    assert nodes.queries == 3
    nodes.asked.clear()
    assert await nodes.fetch_start() == "N1:1#1"
    assert nodes.asked == ["10.0.0.1"]
    nodes.started["10.0.0.1"] = 2
    assert await nodes.fetch_start() == "N1:2#2"
    assert nodes.queries == 6


async def test_to_catch_up_costs_a_request_to_each_node(nodes: Nodes) -> None:
    await nodes.fetch_start()
    nodes.asked.clear()
    await nodes.catch_up()
    assert sorted(nodes.asked) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert nodes.queries == 3


async def test_it_has_not_caught_up_while_a_node_may_know_more(nodes: Nodes) -> None:
    await nodes.fetch_start()
    nodes.schemas["10.0.0.2"] = 5
    with pytest.raises(RestateUnavailable, match="does not know yet what n2 has registered"):
        await nodes.catch_up()
    nodes.schemas["10.0.0.1"] = 5
    await nodes.catch_up()
    nodes.schemas["10.0.0.2"] = -1
    with pytest.raises(RestateUnavailable, match="n2 is not known to be down and does not answer"):
        await nodes.catch_up()


async def test_it_catches_up_without_a_node_that_is_down_and_not_without_most(nodes: Nodes) -> None:
    await nodes.fetch_start()
    nodes.alive.remove("10.0.0.3")
    nodes.schemas["10.0.0.3"] = -1
    await nodes.catch_up()
    nodes.alive.remove("10.0.0.2")
    nodes.schemas["10.0.0.2"] = -1
    for _ in range(2):  # the second time nobody is left to be asked
        with pytest.raises(RestateUnavailable, match="cut off from the others"):
            await nodes.catch_up()


async def test_what_is_not_understood_is_no_answer(nodes: Nodes) -> None:
    nodes.program.write_text('#!/bin/sh\necho \'[{"kind": "node"}]\'\n')
    with pytest.raises(RestateUnavailable, match=r"restatectl's answer is not understood: 0\.node\.id"):
        await nodes.fetch_incarnation()
