from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import httpx2
import pytest

from gridiron.manager.api import LogList, Problem
from gridiron.manager.peers import client as client_module
from gridiron.manager.peers.api import Copied, LogNews, NodeBuilds
from gridiron.manager.peers.client import Newest, Peer, Peers, Unreached
from gridiron.model import Address
from gridiron.workers.log_files import Ring
from gridiron.workers.logs import Wanted
from tests.unit.manager.conftest import NOW
from tests.unit.manager.test_logs import event

N2, N3, N4 = (Peer(f"n{n}", f"http://10.99.0.{n}:8082") for n in (2, 3, 4))
ADDRESS = Address(name="demo", version="1", timestamp=1)
ALL = Newest(Wanted(), 10)

Answer = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


def ask(answer: Answer, *peers: Peer) -> Peers:
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return Peers(lambda: peers, client, client)


def found(node: str) -> NodeBuilds:
    loaded = {"cell-1": {"/demo/1-1": 2}}
    return NodeBuilds(
        node=node, version="1.0.0", copies=frozenset({"demo-1-1"}), loaded=loaded, quarantined=()
    )


async def test_each_node_has_its_answer_or_the_reason_why_not() -> None:
    problem = Problem(title="Bucket", status=503, detail="The bucket is away.", code="bucket_unavailable")

    async def answer(request: httpx2.Request) -> httpx2.Response:
        match request.url.host:
            case "10.99.0.2":
                return httpx2.Response(200, text=found("n2").model_dump_json())
            case "10.99.0.3":
                raise httpx2.ConnectError("[Errno 111] Connection refused", request=request)
            case _:
                media_type = {"content-type": "application/problem+json"}
                return httpx2.Response(503, text=problem.model_dump_json(), headers=media_type)

    assert await ask(answer, N2, N3, N4).fetch_builds() == {
        N2: found("n2"),
        N3: Unreached("n3", "Connection refused"),
        N4: Unreached("n4", "The bucket is away.", "bucket_unavailable"),
    }


async def test_a_node_that_is_slow_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "READ_LIMIT", timedelta(seconds=0.05))

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "10.99.0.2":
            await asyncio.Event().wait()
        return httpx2.Response(200, text=found("n3").model_dump_json())

    assert await ask(answer, N2, N3).fetch_builds() == {
        N2: Unreached("n2", "it does not answer in time"),
        N3: found("n3"),
    }


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (404, "<html>", "HTTP 404 with no problem in it: is it a manager?"),
        (
            200,
            '{"node": "n2"}',
            (
                "its answer is not understood; of another version? version: Field required; copies: Field "
                "required; loaded: Field required"
            ),
        ),
    ],
)
async def test_what_is_no_answer_is_none(status: int, text: str, reason: str) -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, text=text)

    assert await ask(answer, N2).fetch_builds() == {N2: Unreached("n2", reason)}


async def test_what_a_newer_node_says_besides_is_ignored() -> None:
    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"present": True, "seconds": 1})

    assert await ask(answer, N2).copy(ADDRESS) == {N2: Copied(present=True)}


async def test_what_is_asked_for() -> None:
    asked = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.method, request.url.path, dict(request.url.params)))
        return httpx2.Response(200, text=LogList(events=(), silent=()).model_dump_json())

    peers = ask(answer, N2)
    await peers.fetch_logs("/demo/1-1", Newest(Wanted("warn", NOW), 3))
    [_ async for _ in peers.follow(N2, "/demo/1-1", Newest(Wanted(), 10, {Ring.LINES: (1, 20)}))]
    await peers.copy(ADDRESS)
    assert asked == [
        (
            "GET",
            "/builds/demo/1-1/logs",
            {"level": "warn", "limit": "3", "since": "2026-11-01T12:00:00+00:00"},
        ),
        (
            "GET",
            "/builds/demo/1-1/logs",
            {"level": "debug", "limit": "10", "place": '{"lines":[1,20]}', "follow": "true"},
        ),
        ("POST", "/builds/demo/1-1/copy", {}),
    ]


async def follow(*lines: str, status: int = 200) -> list[LogNews | Unreached]:
    async def send() -> AsyncIterator[bytes]:
        for line in lines:
            yield line.encode()

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=send())

    return [news async for news in ask(answer, N2).follow(N2, "/demo/1-1", ALL)]


NEWS = LogNews(events=(event("a"), event("b")), place={Ring.LINES: (1, 20)})


async def test_what_is_followed_comes_line_by_line_and_ends_with_the_reason() -> None:
    line = f"{NEWS.model_dump_json()}\n"
    broken = Unreached("n2", "its answer broke off")
    assert await follow(line[:20], line[20:], '{"new": 1}\n') == [NEWS, LogNews(), broken]
    assert await follow() == [broken]
    assert await follow(line, '{"problem": "The disk is full."}\n', line) == [
        NEWS,
        Unreached("n2", "The disk is full."),
    ]
    (unread,) = await follow(line[:20])
    assert isinstance(unread, Unreached)
    assert unread.reason.startswith("its answer is not understood; of another version? ")
    assert await follow("no", status=502) == [
        Unreached("n2", "HTTP 502 with no problem in it: is it a manager?")
    ]


async def test_a_node_that_falls_silent_is_followed_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE_LIMIT", timedelta(seconds=0.05))

    async def send() -> AsyncIterator[bytes]:
        yield f"{NEWS.model_dump_json()}\n".encode()
        await asyncio.Event().wait()

    async def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=send())

    assert [news async for news in ask(answer, N2).follow(N2, "/demo/1-1", ALL)] == [
        NEWS,
        Unreached("n2", "it does not answer in time"),
    ]
