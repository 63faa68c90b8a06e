"""The control sockets of a cell and of the pool, from the outside: one question, one answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.errors import WorkersUnavailable

ANSWER_LIMIT = timedelta(seconds=5)
"""How long a cell may take to answer: a handler that computes holds up everything else in its cell."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes that are read of an answer. The router's have a kilobyte, one with logs up to six megabytes."""


class Control:
    """A socket that takes orders, and the connection to it that is kept."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        transport = httpx2.AsyncHTTPTransport(uds=str(socket), verify=NO_TLS)
        self._client = httpx2.AsyncClient(transport=transport, trust_env=False)

    async def ask(
        self, method: str, path: str, limit: timedelta = ANSWER_LIMIT, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Ask; None where nobody listens on the socket (any more), so that whom it belongs to has ended.

        Raises WorkersUnavailable when there is no answer in time, or not one of a cell's kind: then nothing
        is known.
        """
        url, seconds = f"http://cell{path}", limit.total_seconds()
        try:
            async with self._client.stream(method, url, timeout=seconds, json=body) as response:
                content = await read_answer(response)
        except httpx2.ConnectError as error:
            if is_nobody_there(error):
                return None
            raise WorkersUnavailable(f"unix:{self._socket}", str(error) or type(error).__name__) from error
        except httpx2.TransportError as error:
            if await self._has_ended():  # while it was asked
                return None
            raise WorkersUnavailable(f"unix:{self._socket}", str(error) or type(error).__name__) from error
        return _decode(self._socket, response.status_code, content)

    async def _has_ended(self) -> bool:
        """Tell whether nobody listens on the socket; one that hangs does, as the kernel answers for it."""
        try:
            _, writer = await asyncio.open_unix_connection(self._socket)
        except OSError as error:
            return is_nobody_there(error)
        writer.close()
        await writer.wait_closed()
        return False

    async def close(self) -> None:
        """Let go of the connection. Safe to repeat."""
        await self._client.aclose()


async def ask_once(
    socket: Path,
    method: str,
    path: str,
    limit: timedelta = ANSWER_LIMIT,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Ask and let go of the connection; see `Control.ask`."""
    control = Control(socket)
    try:
        return await control.ask(method, path, limit, body)
    finally:
        await control.close()


def is_nobody_there(error: BaseException | None) -> bool:
    """Tell whether an attempt to connect failed because no process listens: no such file, or refused."""
    while error is not None:
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            return True
        error = error.__cause__ or error.__context__  # the HTTP client uses both
    return False


async def read_answer(response: httpx2.Response) -> bytes:
    """Read an answer as it came over the wire, or little more of it than `MAX_ANSWER`."""
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > MAX_ANSWER:
            break
    return bytes(content)


def _decode(socket: Path, status: int, content: bytes) -> dict[str, Any]:
    begin = content[:200].decode(errors="replace")
    if status != 200:
        raise WorkersUnavailable(f"unix:{socket}", f"HTTP {status}: {begin}")
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WorkersUnavailable(f"unix:{socket}", f"its answer is no JSON: {begin}") from error
    if not isinstance(answer, dict):
        raise WorkersUnavailable(f"unix:{socket}", f"an unexpected answer: {begin}")
    return answer
