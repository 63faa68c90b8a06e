"""Connections that hold nothing for ever: uvicorn itself waits without an end for a request's head.

A client has `HEAD_LIMIT` to send the head of a request, counted from its connecting or its last answer, and
`READ_LIMIT` to take something of an answer off the manager's hands. An answer that has nothing to say for
hours, as that of a log that is followed, is cut by neither.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from gridiron.access.restraint import Rates, client_of

log = structlog.get_logger()

HEAD_LIMIT = timedelta(seconds=10)
READ_LIMIT = timedelta(seconds=60)

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""

MAX_CONNECTIONS, MAX_OF_ONE = 512, 384
"""At once, of all clients and of one of them, see `client_of`."""

FILES = 8 * MAX_CONNECTIONS
"""What the manager may have open, where it is allowed to: many times what clients can take of it."""

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
        """Begin to wait for a request, unless there are too many connections.

        Under TLS this is called twice, see `Sealed`: the second time changes nothing but the transport.
        """
        is_known = self in self.connections
        super().connection_made(transport)
        if not is_known:
            self._arrive(transport)

    def _arrive(self, transport: asyncio.Transport) -> None:
        self._until_head = _Alarm(transport.abort)
        self._until_read = _Alarm(transport.abort)
        address = self.client[0] if self.client else ""
        self.whose = client_of(address)
        clients = [each.whose for each in self.connections if isinstance(each, Connection)]
        if len(clients) > MAX_CONNECTIONS or clients.count(self.whose) > MAX_OF_ONE:
            if not _TOLD.take("", self.loop.time()):
                log.warning("connections.refused", address=address, count=len(clients))
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


class Sealed(SSLProtocol):
    """TLS around a connection, which is counted and waited for from its first moment.

    asyncio tells a protocol of a client only when the handshake is done: who never begins one would take up a
    file, and be seen by no limit. SSLProtocol is what asyncio puts there itself; its documentation leaves it
    out, so a test has to say that it still does this.
    """

    def __init__(self, context: ssl.SSLContext, connection: Connection) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
        )
        self._connection = connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as above
        """Count the client, then begin the handshake."""
        self._connection.connection_made(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[override]  # as above
        """Tell the connection, also where the handshake never ended. To be told twice does it no harm."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)


def make_protocol(context: ssl.SSLContext | None) -> type[asyncio.Protocol]:
    """Make what uvicorn takes as its `http`; with a context it speaks TLS, and uvicorn need not know."""
    if context is None:
        return Connection

    def make(**given: Any) -> Sealed:  # noqa: ANN401 - uvicorn's
        return Sealed(context, Connection(**given))

    return make  # type: ignore[return-value]  # all that uvicorn does with it is to call it


def raise_file_limit() -> None:
    """Let this process have `FILES` open, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
