"""An id for each request: whoever asks finds in the log what became of it."""

from __future__ import annotations

import re
import secrets

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-request-id"
SANE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
"""What is taken from a client; anything else could pretend to be more than an id in a log."""


class RequestIds:
    """Takes a request's id from its header or makes one; binds it for the log, and puts it into the answer.

    What a request begins has the id in its context, and keeps it after the answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get(HEADER, ""))
        structlog.contextvars.clear_contextvars()  # each request has a task and so a context of its own
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def choose_request_id(given: str) -> str:
    """Give the id that a client gave, if it is sane, or a new one."""
    return given if SANE.fullmatch(given) else secrets.token_hex(8)


def fetch_request_id() -> str | None:
    """Give the id of the request that this is done for; None where it is done for none."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    return None if request_id is None else str(request_id)
