"""Bodies of requests that are read whole, and so must not be large."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 2 * 1024 * 1024
"""Bytes: more than the variables and secrets that workerd takes. To read a body of JSON takes up to fifty
times its memory, and the manager answers nobody else meanwhile."""

IN_PIECES = "/bundles/"
"""Begins the paths whose bodies are taken piece by piece, and have limits of their own."""


class LimitedBodies:
    """Lets no more than `MAX_BODY` of a request's body through to an app: HTTPException 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(IN_PIECES):
            await self._app(scope, receive, send)
            return
        size = 0

        async def receive_some() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return message

        await self._app(scope, receive_some, send)
