"""Clients of a manager's API, slow and busy ones, as a process of its own: `HOST PORT BUILD_ID TOKEN_FILE`.

A slow client connects and says nothing, sends its request or reads its answer a byte a second, or follows a
build that prints nothing. A busy one lists the builds without a pause. Whoever is cut off begins anew. The
end of its input ends it, and it prints what the busy ones got, and how clients of both kinds were cut off.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from gridiron.cli.credentials import read_token

SLOW, BUSY = 200, 50
STEP_SECONDS = 1.0
SMALL_BUFFER = 4096  # bytes, so that what a slow client does not read stays with the manager
PAUSE_SECONDS = 0.1  # before a client begins anew

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def main() -> None:
    """Be all clients until the input ends."""
    host, port, build_id, token_file = sys.argv[1:]
    clients = _run(host, int(port), build_id, read_token(Path(token_file)))
    print(json.dumps(asyncio.run(clients)))


async def _run(host: str, port: int, build_id: str, token: str) -> dict[str, int]:
    ends: Counter[str] = Counter()

    async def connect() -> Streams:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
        return await asyncio.open_connection(sock=connection, limit=SMALL_BUFFER)

    follow = _request(f"/deployments/{build_id}/logs?follow=true", token)
    describe, listing = _request("/openapi.json", token), _request("/deployments", token)
    kinds: tuple[Callable[[Streams], Awaitable[None]], ...] = (
        _say_nothing,
        lambda streams: _send_slowly(streams, listing),
        lambda streams: _read_slowly(streams, describe * 4),
        lambda streams: _follow(streams, follow),
    )
    async with asyncio.TaskGroup() as clients:
        tasks = [
            clients.create_task(_again(connect, kinds[number % len(kinds)], ends, "slow"))
            for number in range(SLOW)
        ]
        tasks += [
            clients.create_task(_again(connect, lambda streams: _list(streams, listing, ends), ends, "busy"))
            for _ in range(BUSY)
        ]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
    return dict(ends)


async def _again(
    connect: Callable[[], Awaitable[Streams]],
    act: Callable[[Streams], Awaitable[None]],
    ends: Counter[str],
    kind: str,
) -> None:
    while True:
        try:
            streams = await connect()
            try:
                await act(streams)
            finally:
                streams[1].close()
        except (OSError, asyncio.IncompleteReadError) as error:
            ends[f"{type(error).__name__} of {kind} ones"] += 1
        await asyncio.sleep(PAUSE_SECONDS)


def _request(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n".encode()


async def _say_nothing(streams: Streams) -> None:
    await streams[0].read(1)


async def _send_slowly(streams: Streams, request: bytes) -> None:
    for byte in request:
        streams[1].write(bytes([byte]))
        await streams[1].drain()
        await asyncio.sleep(STEP_SECONDS)


async def _read_slowly(streams: Streams, requests: bytes) -> None:
    streams[1].write(requests)
    while await streams[0].read(1):  # noqa: ASYNC110 - it waits for nothing but the time
        await asyncio.sleep(STEP_SECONDS)


async def _follow(streams: Streams, request: bytes) -> None:
    streams[1].write(request)
    while await streams[0].read(SMALL_BUFFER):
        pass


async def _list(streams: Streams, request: bytes, ends: Counter[str]) -> None:
    reader, writer = streams
    while True:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        ends[head.split()[1]] += 1


if __name__ == "__main__":
    main()
