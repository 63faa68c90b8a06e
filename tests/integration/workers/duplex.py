"""A client of HTTP/2 that reads an answer while it still sends, as Restate does and httpx does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events


class DuplexStream:
    """One request on a connection of its own. `open_stream` makes one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._received = b""
        self.frames: list[bytes] = []  # of the answer, as they came
        self.status: int | None = None
        self.ended = False

    async def open(self, authority: str, path: str, headers: Mapping[str, str]) -> None:
        self._http.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", path)]
        self._http.send_headers(1, [*pseudo, *headers.items()])
        await self._flush()

    async def send(self, data: bytes) -> None:
        self._http.send_data(1, data)
        await self._flush()

    async def end(self) -> None:
        self._http.end_stream(1)
        await self._flush()

    async def reset(self) -> None:
        self._http.reset_stream(1)
        await self._flush()

    async def receive(self, size: int) -> bytes:
        """Wait for so many bytes of the answer; fewer when it ends."""
        while len(self._received) < size and not self.ended:
            await self._read()
        data, self._received = self._received[:size], self._received[size:]
        return data

    async def _read(self) -> None:
        data = await self._reader.read(65_536)
        assert data, "the connection was closed"
        for event in self._http.receive_data(data):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    self.status = int(dict(headers or [])[":status"])
                case h2.events.DataReceived(data=chunk, flow_controlled_length=length):
                    self._received += chunk or b""
                    self.frames.append(chunk or b"")
                    self._http.acknowledge_received_data(length or 0, 1)
                case h2.events.StreamEnded():
                    self.ended = True
                case h2.events.StreamReset():
                    raise ConnectionResetError("the stream was reset")
        await self._flush()

    async def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
        await self._writer.drain()


@asynccontextmanager
async def open_stream(url: str, path: str, headers: Mapping[str, str]) -> AsyncIterator[DuplexStream]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    try:
        stream = DuplexStream(reader, writer)
        await stream.open(address.netloc, path, headers)
        yield stream
    finally:
        writer.close()
        await writer.wait_closed()
