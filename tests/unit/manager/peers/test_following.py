from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import httpx2
import pytest

from gridiron.manager import following as following_module
from gridiron.manager import own_logs
from gridiron.manager.api import LogEnd
from gridiron.manager.following import Following, Missing, order_first
from gridiron.manager.logs import Beat
from gridiron.manager.own_logs import Printed
from gridiron.manager.peers.api import LogNews
from gridiron.manager.peers.client import Newest, Peer, Peers
from gridiron.workers.log_files import Ring
from gridiron.workers.logs import LogEvent, Wanted
from tests.unit.manager.conftest import NOW, Manager, make_settings
from tests.unit.manager.test_logs import SECOND, event

N2, N3 = Peer("n2", "http://n2.test"), Peer("n3", "http://n3.test")
PATH, BUILD = "/demo/1-1", "demo-1-1"
SOON_SECONDS = 10


class Wire:
    """What other nodes send to one who follows: a line as it is put here, None for the end of an answer."""

    def __init__(self) -> None:
        self.members: tuple[Peer, ...] = (N2,)
        self.lines: dict[str, asyncio.Queue[LogNews | None]] = {"n2": asyncio.Queue(), "n3": asyncio.Queue()}
        self.away: set[str] = set()
        self.asked: list[tuple[str, str | None, str | None, str]] = []
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        self.peers = Peers(lambda: self.members, client, client)

    def send(self, node: str, *events: LogEvent, end: int) -> None:
        """Have a node print something, up to a byte of its log."""
        shown = tuple(each.model_copy(update={"node": node}) for each in events)
        self.lines[node].put_nowait(LogNews(events=shown, place={Ring.LINES: (1, end)}))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        node, params = str(request.url.host).removesuffix(".test"), request.url.params
        self.asked.append((node, params.get("since"), params.get("place"), params["limit"]))
        if node in self.away:
            raise httpx2.ConnectError("Connection refused", request=request)

        async def send() -> AsyncIterator[bytes]:
            while (news := await self.lines[node].get()) is not None:
                yield f"{news.model_dump_json()}\n".encode()

        return httpx2.Response(200, content=send())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(own_logs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(own_logs, "FLOW_SECONDS", 0.01)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def node(tmp_path: Path, wire: Wire) -> Manager:
    """Give n1 of the cluster."""
    cluster = {"address": "10.99.0.1", "peers": ["10.99.0.2"], "bucket": "s3://gridiron/mesh"}
    settings = make_settings(tmp_path, node_name="n1", cluster=cluster)
    manager = Manager(tmp_path, settings, peers=wire.peers)
    manager.cells.load(PATH)
    return manager


def follow(node: Manager, wire: Wire, limit: int = 10) -> Following:
    return Following(node.logs.own, wire.peers, PATH, Newest(Wanted(), limit), node.clock)


def said(events: tuple[LogEvent, ...]) -> list[tuple[str | None, str]]:
    return [(each.node, each.message) for each in events]


def make(message: str, second: int = 0) -> LogEvent:
    return event(message, second * SECOND, BUILD)


async def test_the_newest_of_all_come_first_by_time_and_then_what_each_prints(
    node: Manager, wire: Wire
) -> None:
    node.cells.log(PATH, make("a"), make("c", 2))
    wire.send("n2", make("b", 1), make("d", 3), end=20)
    async with asyncio.timeout(SOON_SECONDS), aclosing(follow(node, wire, limit=3).run()) as printed:
        assert said(await anext(printed)) == [("n2", "b"), ("n1", "c"), ("n2", "d")]
        wire.send("n2", make("e", 4), end=30)
        assert said(await anext(printed)) == [("n2", "e")]
        node.cells.log(PATH, make("f", 5))
        assert said(await anext(printed)) == [("n1", "f")]
    assert wire.asked == [("n2", None, None, "3")]


async def test_a_node_that_goes_away_is_told_and_followed_from_where_it_was(
    node: Manager, wire: Wire
) -> None:
    wire.send("n2", make("a"), end=20)
    async with asyncio.timeout(SOON_SECONDS), aclosing(follow(node, wire).run()) as printed:
        assert said(await anext(printed)) == [("n2", "a")]
        wire.away.add("n2")
        wire.lines["n2"].put_nowait(None)
        (gap,) = await anext(printed)
        assert (gap.kind, gap.time, gap.build_id, gap.node) == ("gap", NOW, BUILD, "n2")
        what = "what n2 prints is missing from here on, until it answers: its answer broke off"
        assert gap.message == what
        node.cells.log(PATH, make("b"))
        assert said(await anext(printed)) == [("n1", "b")]  # and the gap is told once
        wire.away.clear()
        wire.send("n2", make("c"), end=30)
        assert said(await anext(printed)) == [("n2", "c")]
    assert set(wire.asked[1:]) == {("n2", None, '{"lines":[1,20]}', "10")}


async def test_a_node_that_is_away_at_first_tells_later_what_it_printed_since(
    node: Manager, wire: Wire
) -> None:
    wire.away.add("n2")
    node.cells.log(PATH, make("a"))
    async with asyncio.timeout(SOON_SECONDS), aclosing(follow(node, wire, limit=1).run()) as printed:
        first = await anext(printed)
        assert [each.kind for each in first] == ["log", "gap"]
        assert first[1].message.endswith("until it answers: Connection refused")
        wire.away.clear()
        wire.send("n2", make("b"), end=20)
        assert said(await anext(printed)) == [("n2", "b")]
    assert wire.asked[0] == ("n2", None, None, "1")
    assert wire.asked[-1] == ("n2", NOW.isoformat(), None, str(own_logs.AT_ONCE))


async def test_a_node_that_joins_is_followed_too(node: Manager, wire: Wire) -> None:
    wire.send("n2", make("a"), end=20)
    wire.send("n3", make("b"), end=20)
    async with asyncio.timeout(SOON_SECONDS), aclosing(follow(node, wire).run()) as printed:
        assert said(await anext(printed)) == [("n2", "a")]
        wire.members = (N2, N3)
        wire.send("n2", make("c"), end=30)
        found = said(await anext(printed))
        while len(found) < 2:
            found += said(await anext(printed))
        assert sorted(found) == [("n2", "c"), ("n3", "b")]


async def test_the_end_comes_when_all_are_quiet(
    node: Manager, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_logs, "BEAT_SECONDS", 0.0)
    build = await node.activate()
    wire.send("n2", end=0)
    followed = await node.logs.follow(build.build_id, Wanted(), 10)
    async with asyncio.timeout(SOON_SECONDS):
        assert await anext(followed) == Beat()
        node.logs.close()
        rest = [news async for news in followed if news != Beat()]
    assert rest == [LogEnd(build_id=build.build_id, reason="The manager is stopping.", again=True)]


def test_a_limit_takes_nothing_away_of_what_is_missing() -> None:
    gap = make("missing")
    parts = [
        Printed((make("a"), make("c", 2)), {}),
        Missing((gap,)),
        None,
        Printed((make("b", 1),), {}),
    ]
    assert order_first(parts, 2) == (make("b", 1), make("c", 2), gap)
    assert order_first(parts, 0) == (gap,)
