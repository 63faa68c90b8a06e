"""Clients that hold on to connections, against a real server: none keeps anything for ever."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
import trustme
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import h11_impl

from gridiron.manager.http import connections
from gridiron.manager.http.connections import MAX_HEAD, make_protocol, raise_file_limit

LIMIT = timedelta(seconds=0.4)
SOON_SECONDS = 10

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event; `serving` has the deadline."""
    while not condition():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.01)


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer at once; `/slow` after more than the limits, `/large` with more than buffers hold."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * LIMIT.total_seconds())
    body = b"x" * (64 * 1024 * 1024) if scope["path"] == "/large" else b"hello"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    config = uvicorn.Config(
        app,
        port=0,
        http=make_protocol(context),
        lifespan="off",
        log_config=None,
        h11_max_incomplete_event_size=MAX_HEAD,
    )
    server = uvicorn.Server(config)
    server.capture_signals = suppress  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(4 * SOON_SECONDS):
        tasks.create_task(server.serve(), name="serve")
        await until(lambda: server.started)
        yield server, server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_LIMIT", LIMIT)
    monkeypatch.setattr(connections, "READ_LIMIT", LIMIT)


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Tell whether the server ends a connection; read what it says until then."""
    try:
        async with asyncio.timeout(SOON_SECONDS):
            await reader.read()
    except ConnectionResetError:
        return True
    return reader.at_eof()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost: a\r\n",  # a head without an end
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",  # a request, and no other
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nab",  # answered before it is whole
    ],
)
async def test_a_client_that_keeps_the_manager_waiting_is_cut_off(sent: bytes) -> None:
    async with serving() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await is_cut(reader)
        writer.close()
        await until(lambda: not server.server_state.connections)


async def test_a_head_that_comes_byte_by_byte_is_cut_off() -> None:
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        cut = asyncio.create_task(is_cut(reader))
        for byte in b"GET / HTTP/1.1\r\nhost: " + b"a" * 10_000:
            if cut.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert await cut
        writer.close()


async def test_a_head_that_is_too_large_is_refused() -> None:
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 2 * MAX_HEAD)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    async with serving() as (server, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        await until(lambda: server.server_state.connections)
        await until(lambda: not server.server_state.connections)
        writer.close()


async def test_an_answer_that_takes_long_is_not_cut() -> None:
    async with serving() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_more_connections_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_OF_ONE", 3)
    monkeypatch.setattr(connections, "HEAD_LIMIT", timedelta(seconds=SOON_SECONDS))
    async with serving() as (_, port):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        assert await is_cut(opened[3][0])
        writer = opened[0][1]
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await opened[0][0].readline()) == b"HTTP/1.1 200 OK\r\n"
        for _, each in opened:
            each.close()


async def test_a_client_of_ipv6_is_one_whatever_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_OF_ONE", 3)
    addresses = iter([f"2001:db8::{number}" for number in range(3)] + ["2001:db8:0:1::1", "2001:db8::9"])
    monkeypatch.setattr(h11_impl, "get_remote_addr", lambda _: (next(addresses), 1))
    monkeypatch.setattr(connections, "HEAD_LIMIT", timedelta(seconds=SOON_SECONDS))
    async with serving() as (server, port):
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        await until(lambda: len(server.server_state.connections) == 4)
        opened.append(await asyncio.open_connection("127.0.0.1", port))
        assert await opened[4][0].read() == b""
        assert len(server.server_state.connections) == 4
        for _, each in opened:
            each.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def contexts(authority: trustme.CA) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make a server's, and that of a client who trusts it."""
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"])
async def test_who_does_not_end_the_handshake_is_cut_off(authority: trustme.CA, sent: bytes) -> None:
    async with serving(contexts(authority)[0]) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await until(lambda: server.server_state.connections)
        assert await is_cut(reader)
        writer.close()
        await until(lambda: not server.server_state.connections)


async def test_a_client_without_a_handshake_counts(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    monkeypatch.setattr(connections, "MAX_OF_ONE", 3)
    monkeypatch.setattr(connections, "HEAD_LIMIT", timedelta(seconds=SOON_SECONDS))
    server_context, client_context = contexts(authority)
    async with serving(server_context) as (server, port):
        secure = await asyncio.open_connection("localhost", port, ssl=client_context)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await is_cut(opened[2][0])
        for _, each in opened:
            each.close()
        await until(lambda: len(server.server_state.connections) == 1)
        secure[1].write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert (await secure[0].read()).endswith(b"hello")
        secure[1].close()
        await until(lambda: not server.server_state.connections)


async def test_the_server_stops_while_a_client_owes_its_handshake(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    monkeypatch.setattr(connections, "HEAD_LIMIT", timedelta(seconds=10 * SOON_SECONDS))
    async with serving(contexts(authority)[0]) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server.server_state.connections)
        server.should_exit = True
        assert await is_cut(reader)
        writer.close()


def test_the_manager_may_have_more_files_open_than_clients_can_take() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(connections.FILES, hard) if hard != resource.RLIM_INFINITY else connections.FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted // 2, hard))
    try:
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
