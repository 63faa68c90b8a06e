"""Bodies of requests that are read whole, and so must neither be large nor take for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2 * 1024 * 1024
"""Bytes: more than the variables and secrets that workerd takes. To read a body of JSON takes up to fifty
times its memory, and the manager answers nobody else meanwhile."""

BODY_LIMIT = timedelta(seconds=30)
"""For all of a body: 70 kB/s are enough for the largest."""

IN_PIECES = "/bundles/"
"""Begins the paths whose bodies are taken piece by piece, and have limits of their own."""


class LimitedBodies:
    """Lets no more than `MAX_BODY` of a request's body through to an app, for no longer than `limit`."""

    def __init__(self, app: ASGIApp, limit: timedelta = BODY_LIMIT) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. What reads its body has HTTPException 413 or 408 raised to it."""
        if scope["type"] != "http" or scope["path"].startswith(IN_PIECES):
            await self._app(scope, receive, send)
        else:
            await self._app(scope, _Body(receive, self._limit).receive, send)


class _Body:
    """What is left of a request's body and of its time."""

    def __init__(self, receive: Receive, limit: timedelta) -> None:
        self._receive = receive
        self._limit = limit
        self._deadline: float | None = None  # from the first time that somebody reads
        self._size = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # who waits for the client to go may do so for hours
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limit.total_seconds()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        self._complete = not message.get("more_body", False)
        return message
