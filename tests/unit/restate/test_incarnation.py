from __future__ import annotations

import asyncio
import time

import httpx2
import pytest

from gridiron.errors import RestateUnavailable
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.incarnation import NodePort, parse_age

URL = "http://restate.test:5122"
LEADERS = 'restate_num_active_partition_leaders{cluster_name="c",node_name="n1"} '


class Node:
    """Restate's own port, and what was asked of it."""

    def __init__(self) -> None:
        self.node_id: str | None = "N1:2"
        self.metrics = f'restate_num_partitions{{node_name="n1"}} 2\n{LEADERS}2\n'
        self.started = time.monotonic() - 10
        self.asked: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/metrics":
            return httpx2.Response(200, text=self.metrics)
        age = time.monotonic() - self.started
        return httpx2.Response(200, json={"node_id": self.node_id, "age": f"{int(age * 1e9)}ns"})


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def port(node: Node) -> NodePort:
    return NodePort(URL, httpx2.AsyncClient(transport=httpx2.MockTransport(node)))


async def test_each_start_is_looked_at_once(node: Node, port: NodePort) -> None:
    first = await port.fetch_incarnation()
    assert [await port.fetch_incarnation() for _ in range(2)] == [first] * 2
    assert node.asked == ["/health", "/metrics", "/health", "/health"]
    node.node_id = "N1:3"
    second = await port.fetch_incarnation()
    assert node.asked[-2:] == ["/health", "/metrics"]
    node.started += (
        1  # another start of the same number: with other data, and older than when it was seen last
    )
    third = await port.fetch_incarnation()
    assert node.asked[-2:] == ["/health", "/metrics"]
    assert len({first, second, third}) == 3


async def test_looks_at_once_see_one_start(port: NodePort) -> None:
    assert len(set(await asyncio.gather(*(port.fetch_incarnation() for _ in range(20))))) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("504ms 245µs 696ns", 0.504245696), ("1h 2m 3s 54ms", 3723.054), ("2d 1s", 172801.0)],
)
def test_an_age_is_read(text: str, seconds: float) -> None:
    assert parse_age(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "metrics",
    ["", "restate_num_partitions 2\n", f"restate_num_partitions 2\n{LEADERS}1\n", f"{LEADERS}2\n"],
)
async def test_while_partitions_lack_a_leader_it_is_starting(
    metrics: str, node: Node, port: NodePort
) -> None:
    whole, node.metrics = node.metrics, metrics
    with pytest.raises(RestateUnavailable, match="not all of its partitions have a leader"):
        await port.fetch_incarnation()
    node.metrics = whole
    await port.fetch_incarnation()


async def test_before_it_has_joined_it_is_starting(node: Node, port: NodePort) -> None:
    node.node_id = None
    with pytest.raises(RestateUnavailable, match="it is starting"):
        await port.fetch_incarnation()


async def test_another_program_on_that_port_is_no_restate() -> None:
    for answer in (httpx2.Response(404), httpx2.Response(200, text="<html>")):
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _, answer=answer: answer))
        with pytest.raises(RestateUnavailable):
            await NodePort(URL, client).fetch_incarnation()


async def test_without_the_node_nothing_is_known_of_its_start() -> None:
    async with RestateAdmin("http://restate.test:9070") as restate:
        with pytest.raises(RestateUnavailable, match="nothing tells"):
            await restate.fetch_incarnation()
