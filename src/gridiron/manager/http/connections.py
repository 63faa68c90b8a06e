"""Connections that hold nothing for ever: uvicorn itself waits without an end for a request's head.

A client has `HEAD_LIMIT` to send the head of a request, counted from its connecting or its last answer, and
`READ_LIMIT` to take something of an answer off the manager's hands. An answer that has nothing to say for
hours, as that of a log that is followed, is cut by neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gridiron.access.restraint import Rates

log = structlog.get_logger()

HEAD_LIMIT = timedelta(seconds=10)
READ_LIMIT = timedelta(seconds=60)

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""

MAX_CONNECTIONS, MAX_OF_ONE = 512, 384
"""At once, of all clients and of one address: a process may usually have 1,024 files open."""


_TOLD = Rates(per_second=0.1, burst=1)
"""How often the log says that there were too many: they may be a flood."""


class _Alarm:
    """Does something after a while, unless it is turned off before."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._timer: asyncio.TimerHandle | None = None

    def set(self, limit: timedelta) -> None:
        self.turn_off()
        self._timer = asyncio.get_running_loop().call_later(limit.total_seconds(), self._act)

    def turn_off(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(H11Protocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        """Begin to wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        self._until_head = _Alarm(transport.abort)
        self._until_read = _Alarm(transport.abort)
        address = self.client[0] if self.client else None
        if self._is_too_many(address):
            if not _TOLD.take("", self.loop.time()):
                log.warning("connections.refused", address=address, count=len(self.connections))
            transport.abort()
        else:
            self._until_head.set(HEAD_LIMIT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timers."""
        self._until_head.turn_off()
        self._until_read.turn_off()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take in what has come; a head that is whole ends the wait."""
        super().handle_events()
        if self._is_answering():
            self._until_head.turn_off()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it was there already."""
        super().on_response_complete()
        if not self._is_answering() and not self.transport.is_closing():
            self._until_head.set(HEAD_LIMIT)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._until_read.set(READ_LIMIT)

    def resume_writing(self) -> None:
        """Go on, as it has."""
        super().resume_writing()
        self._until_read.turn_off()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None until the first, whatever uvicorn declares
        return cycle is not None and not cycle.response_complete

    def _is_too_many(self, address: str | None) -> bool:
        clients = [each.client for each in self.connections if isinstance(each, Connection)]
        same = sum(client is not None and client[0] == address for client in clients)
        return len(clients) > MAX_CONNECTIONS or same > MAX_OF_ONE
