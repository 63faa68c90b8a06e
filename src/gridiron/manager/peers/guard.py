"""The way in for other nodes: a request is taken where it is signed."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute

from gridiron.access.restraint import Rates
from gridiron.errors import PeerClockDiffers, PeerUnknown
from gridiron.manager.peers.signing import Asked, check

log = structlog.get_logger()


@dataclass
class PeerGuard:
    """What decides over requests of other nodes."""

    key: bytes  # as `derive_key` gives it
    now: Callable[[], datetime]
    told: Rates = field(default_factory=lambda: Rates(per_second=0.1, burst=1))  # of one address

    async def admit(self, request: Request) -> None:
        """Let a request in, or raise PeerUnknown or PeerClockDiffers.

        Nothing of its body is kept: no request to a node has one to be read.
        """
        body = sha256()
        async for piece in request.stream():
            body.update(piece)
        asked = Asked(request.method, _target_of(request), body.hexdigest())
        try:
            check(self.key, request.headers.get("authorization"), self.now(), asked)
        except (PeerUnknown, PeerClockDiffers) as error:
            address = request.client.host if request.client else ""
            if not self.told.take(address, time.monotonic()):
                log.warning("peers.refused", address=address, code=error.code, reason=str(error))
            raise

    def count_stray(self, _request: Request) -> None:
        """Do nothing about a request that no endpoint answers."""


class PeerRoute(APIRoute):
    """An endpoint for other nodes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await request.app.state.guard.admit(request)
            return await handle(request)

        return guarded


def _target_of(request: Request) -> str:
    """Give a request's path and query as they were sent."""
    query: bytes = request.scope["query_string"]
    path: bytes = request.scope["raw_path"]
    return (path + b"?" + query if query else path).decode("latin-1")
