"""A relay before a server of HTTP, which counts what is asked of it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

CHUNK = 65_536
READY_SECONDS = 10

_BEGINNING = re.compile(rb"(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP/1\.1\r\n")
"""Of a request. What a client sends begins with one wherever it had its answer to the one before."""


class Requests:
    """What was asked so far: a method and the path with its query, and how often."""

    def __init__(self, host: str, port: int) -> None:
        """Take the address at which it listens."""
        self.url = f"http://{host}:{port}"
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, chunk: bytes) -> None:
        """Count what begins a request."""
        if found := _BEGINNING.match(chunk):
            self._counts[found[1].decode(), found[2].decode(errors="replace")] += 1

    def take(self) -> Counter[tuple[str, str]]:
        """Give what was asked since this was called last."""
        taken, self._counts = self._counts, Counter()
        return taken


@contextmanager
def counting(host: str, server: tuple[str, int]) -> Iterator[Requests]:
    """Relay from a free port of an address to a server, in this thread's network, while the block lasts."""
    started = threading.Event()
    found: list[tuple[Requests, Callable[[], object]]] = []

    async def relay() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # at the end, those that are open are cancelled, which is no failure of theirs
            with suppress(OSError, asyncio.CancelledError):
                await _relay(reader, writer, server, requests)
            writer.close()

        async with await asyncio.start_server(serve, host, 0) as listener:
            requests = Requests(host, listener.sockets[0].getsockname()[1])
            found.append((requests, lambda: loop.call_soon_threadsafe(stop.set)))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(relay()), name="count requests", daemon=True)
    thread.start()
    started.wait(READY_SECONDS)
    requests, stop = found[0]
    try:
        yield requests
    finally:
        stop()
        thread.join(READY_SECONDS)


async def _relay(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: tuple[str, int], requests: Requests
) -> None:
    there, to_there = await asyncio.open_connection(*server)
    try:
        await asyncio.gather(_pass(reader, to_there, requests), _pass(there, writer, None))
    finally:
        to_there.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Requests | None
) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            if requests is not None:
                requests.note(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
