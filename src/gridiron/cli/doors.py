"""The ways into a cluster: the managers of some of its nodes, of which one that can be reached is asked."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import httpx2

from gridiron.access.tls import NO_TLS, trust
from gridiron.cli.credentials import Way, is_local
from gridiron.errors import ManagerUnavailable
from gridiron.model import redact_url

CONNECT_LIMIT = timedelta(seconds=5)
SHORT_CONNECT_LIMIT = timedelta(seconds=2)
"""The same where another manager can be asked instead."""

ANSWER_LIMIT = timedelta(seconds=60)
"""How long a request may take that is no activation: a prune of many builds is the slowest of them."""

NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout)
"""Nothing of the request was sent then, so that no manager can have done anything."""

T = TypeVar("T")


class Doors:
    """Sends requests to the first manager of several that a connection leads to; a context manager.

    That one is asked from then on, until it cannot be reached. Whatever happens once there is a connection
    is the answer: a request that may have been received is not sent again. Every method raises
    ManagerUnavailable where no answer comes.
    """

    def __init__(self, ways: Sequence[Way], transport: httpx2.BaseTransport | None = None) -> None:
        """Take the ways, at least one, in the order in which they are tried."""
        self.connect_limit = CONNECT_LIMIT if len(ways) == 1 else SHORT_CONNECT_LIMIT
        self._doors = [_Door(way, transport, self.connect_limit) for way in ways]

    def __enter__(self) -> Self:
        for door in self._doors:
            door.http.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for door in self._doors:
            door.http.close()

    @property
    def url(self) -> str:
        """The manager that is asked next, as it may be shown."""
        return self._doors[0].url

    @property
    def are_local(self) -> bool:
        """Whether all are on this machine, as far as their URLs say."""
        return all(is_local(door.url) for door in self._doors)

    def request(self, method: str, path: str, **request: Any) -> httpx2.Response:  # noqa: ANN401 - httpx2's
        """Send a request and read the whole answer; `timeout` is in seconds."""
        given = self._limited(request)
        return self._try(lambda door: door.http.request(method, door.base + path, **given))

    @contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[httpx2.Response]:  # noqa: ANN401 - httpx2's
        """Send a request, and give the answer before its body is read; what breaks off then is httpx2's."""
        given = self._limited(request)
        with ExitStack() as stack:
            yield self._try(
                lambda door: stack.enter_context(door.http.stream(method, door.base + path, **given))
            )

    def _limited(self, request: dict[str, Any]) -> dict[str, Any]:
        """Let a request's own limit not be one for the connection too."""
        if "timeout" not in request:
            return request
        limit = httpx2.Timeout(request["timeout"], connect=self.connect_limit.total_seconds())
        return {**request, "timeout": limit}

    def _try(self, ask: Callable[[_Door], T]) -> T:
        unreached: list[tuple[_Door, str]] = []
        for door in self._doors:
            try:
                answer = ask(door)
            except NOT_CONNECTED as error:
                if _is_distrusted(error):  # that has to be seen, and mended
                    raise ManagerUnavailable(door.url, reason_of(error)) from error
                unreached.append((door, reason_of(error)))
                continue
            except (httpx2.RequestError, httpx2.InvalidURL) as error:
                raise ManagerUnavailable(door.url, reason_of(error)) from error
            if unreached:
                self._doors = [*self._doors[len(unreached) :], *(each for each, _ in unreached)]
            return answer
        urls, reasons = zip(*((door.url, reason) for door, reason in unreached), strict=True)
        raise ManagerUnavailable(", ".join(urls), ", ".join(dict.fromkeys(reasons)))


class _Door:
    """One manager, and what leads to it."""

    def __init__(self, way: Way, transport: httpx2.BaseTransport | None, connect_limit: timedelta) -> None:
        self.base = way.url.rstrip("/")
        self.url = redact_url(self.base)
        # no trust_env: a proxy for the internet is not the way to a node
        self.http = httpx2.Client(
            transport=transport,
            trust_env=False,
            timeout=httpx2.Timeout(ANSWER_LIMIT.total_seconds(), connect=connect_limit.total_seconds()),
            headers=way.headers,
            event_hooks={"request": [way.readers.watch] if way.readers else []},
            verify=way.context or (NO_TLS if self.url.startswith("http:") else trust(None)),
        )


def reason_of(error: Exception) -> str:
    """Say why a request got no answer, in a few words."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _is_distrusted(error: BaseException | None) -> bool:
    """Tell whether somebody answered, with a certificate that will not do."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
