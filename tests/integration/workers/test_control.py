"""What is made of a control socket whose process ends, or goes wrong, while it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers.control import ask_once


@asynccontextmanager
async def listening(socket: Path, before_it_hangs_up: Callable[[], None]) -> AsyncIterator[None]:
    """Take a request on a socket, do something, and hang up without an answer."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1):  # nothing comes from who only sees whether somebody is there
            before_it_hangs_up()
        writer.transport.abort()

    server = await asyncio.start_unix_server(hang_up, socket)
    async with server:
        yield


async def test_a_cell_that_ends_while_it_is_asked_is_none(tmp_path: Path) -> None:
    socket = tmp_path / "cell.sock"
    async with listening(socket, socket.unlink):
        assert await ask_once(socket, "GET", "/builds") is None


async def test_a_cell_that_hangs_up_and_is_there_is_unknown(tmp_path: Path) -> None:
    socket = tmp_path / "cell.sock"
    async with listening(socket, lambda: None):
        with pytest.raises(WorkersUnavailable):
            await ask_once(socket, "GET", "/builds")
