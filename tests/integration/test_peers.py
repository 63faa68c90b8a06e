"""Two managers' servers for each other, over real connections on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from gridiron.errors import BuildNotFound, PeerUnknown, PortTaken, SettingsInvalid
from gridiron.manager.health import HealthChecker
from gridiron.manager.node_status import NodeReader
from gridiron.manager.peers.api import LogNews, NodeBuilds, NodeHealth
from gridiron.manager.peers.builds import OwnBuilds
from gridiron.manager.peers.client import Newest, Peer, Unreached, open_peers
from gridiron.manager.peers.guard import PeerGuard
from gridiron.manager.peers.running import listening
from gridiron.manager.peers.server import OwnNode, make_peer_app
from gridiron.manager.peers.signing import Signature, derive_key
from gridiron.toolchain.programs import find_toolchain
from gridiron.workers.log_files import Place
from gridiron.workers.logs import LogEvent, Wanted
from tests.harness import free_port
from tests.unit.manager.conftest import Manager, make_settings

KEY = bytes(range(32))
PATH, BUILD = "/demo/1-1", "demo-1-1"
SOON_SECONDS = 20
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


def print_line(node: Manager, message: str) -> None:
    """Have the build print something."""
    logs = node.cells.logs
    assert logs is not None
    event = LogEvent(time=NOW, kind="log", level="info", message=message, build_id=BUILD, cell="cell-1")
    logs.append(BUILD, [event])


@asynccontextmanager
async def serving(node: Manager, peer: Peer) -> AsyncIterator[None]:
    """Serve a node at the URL of a peer."""
    settings = node.settings
    reader = NodeReader(node.context, find_toolchain(settings), lambda: settings)
    own = OwnNode(OwnBuilds(node.context), node.logs.own, reader, HealthChecker(()))
    app = make_peer_app(own, PeerGuard(derive_key(KEY), now), Counter())
    url = urlsplit(peer.url)
    assert url.hostname
    assert url.port
    async with listening(app, url.hostname, url.port):
        try:
            yield
        finally:
            node.logs.close()


def make_node(directory: Path, name: str) -> Manager:
    directory.mkdir()
    return Manager(directory, make_settings(directory, node_name=name))


async def read(followed: AsyncIterator[LogNews | Unreached]) -> tuple[list[str], Place]:
    """Give the messages that come next, and up to where they are."""
    news = await anext(followed)
    assert isinstance(news, LogNews)
    return [event.message for event in news.events], news.place


async def test_nodes_ask_each_other_and_hear_who_is_away(tmp_path: Path) -> None:
    nodes = [Peer("n2", f"http://127.0.0.1:{free_port()}"), Peer("n3", f"http://127.0.0.2:{free_port()}")]
    async with (
        asyncio.timeout(SOON_SECONDS),
        serving(make_node(tmp_path / "2", "n2"), nodes[0]),
        open_peers(lambda: tuple(nodes), Signature(KEY, "n1", now)) as peers,
    ):
        builds = await peers.fetch_builds()
        health = await peers.fetch_nodes()
        assert isinstance(builds[nodes[0]], NodeBuilds)
        assert isinstance(health[nodes[0]], NodeHealth)
        away = Unreached("n3", "All connection attempts failed")
        assert (builds[nodes[1]], health[nodes[1]]) == (away, away)


async def test_a_node_that_stops_is_followed_on_from_where_it_was(tmp_path: Path) -> None:
    node, peer = make_node(tmp_path / "2", "n2"), Peer("n2", f"http://127.0.0.1:{free_port()}")
    newest = Newest(Wanted(), 10)
    async with asyncio.timeout(SOON_SECONDS), open_peers(lambda: (peer,), Signature(KEY, "n1", now)) as peers:
        async with AsyncExitStack() as server, aclosing(peers.follow(peer, PATH, newest)) as followed:
            await server.enter_async_context(serving(node, peer))
            print_line(node, "a")
            assert (await read(followed))[0] == ["a"]
            print_line(node, "b")
            messages, place = await read(followed)
            assert messages == ["b"]
            stopping = asyncio.create_task(server.aclose())
            assert [news async for news in followed] == [Unreached("n2", "its answer broke off")]
            await stopping
        print_line(node, "c")
        again = peers.follow(peer, PATH, replace(newest, place=place))
        async with serving(node.restart(), peer), aclosing(again) as followed:
            assert (await read(followed))[0] == ["c"]


async def test_who_has_another_key_learns_nothing(tmp_path: Path) -> None:
    node, peer = make_node(tmp_path / "2", "n2"), Peer("n2", f"http://127.0.0.1:{free_port()}")
    print_line(node, "a")
    async with (
        asyncio.timeout(SOON_SECONDS),
        serving(node, peer),
        open_peers(lambda: (peer,), Signature(bytes(32), "n1", now)) as peers,
    ):
        (builds,) = (await peers.fetch_builds()).values()
        (log,) = (await peers.fetch_logs(PATH, Newest(Wanted(), 10))).values()
        (news,) = [news async for news in peers.follow(peer, PATH, Newest(Wanted(), 10))]
    assert builds == log == news == Unreached("n2", str(PeerUnknown()), "peer_unknown")


async def test_a_port_that_is_taken_and_an_address_that_is_not_here() -> None:
    app, port = FastAPI(), free_port()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortTaken) as taken:
        async with listening(app, "127.0.0.1", port):
            pytest.fail("somebody else listens there")
    assert (taken.value.port, taken.value.setting) == (port, "GRIDIRON_PEER_PORT")
    with pytest.raises(SettingsInvalid, match=r"cluster\.address: the manager cannot listen at 192\.0\.2\.1"):
        async with listening(app, "192.0.2.1", port):
            pytest.fail("this machine does not have that address")


async def test_what_fails_beside_the_server_is_raised_and_the_server_ends() -> None:
    port = free_port()
    with pytest.raises(ExceptionGroup) as raised:
        async with listening(FastAPI(), "127.0.0.1", port):
            raise BuildNotFound("demo-1-1")
    assert [type(error) for error in raised.value.exceptions] == [BuildNotFound]
    with socket.create_server(("127.0.0.1", port)):
        pass
