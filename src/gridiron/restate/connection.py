"""One way to send requests to Restate: time limits, and failures as errors of this program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from gridiron.errors import RestateUnavailable
from gridiron.model import describe_validation

CONNECT_LIMIT = timedelta(seconds=3)
"""How long a connection may take to open. Restate is on this machine or in its network."""

MAX_REASON = 4000
"""Characters of an answer that become part of an error; a script's stack fits, an uploaded body does not."""

MAX_PROBLEMS = 3
"""Fields of an answer that is not understood which an error names."""

T = TypeVar("T")


class ErrorBody(BaseModel):
    """What Restate's admin API and ingress put into the body of a failure."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message: str
    restate_code: str | None = None  # of the admin API


class Connection:
    """Sends requests to one of Restate's ports; an asynchronous context manager.

    `client` is used as it is and left open; without one, a client is made, and closed at the end.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient | None = None) -> None:
        self.url = url.rstrip("/")
        self._owned = client is None
        # no trust_env: a proxy for the internet is not the way to a node
        self._http = client if client is not None else httpx2.AsyncClient(trust_env=False)
        self._timeout = httpx2.Timeout(None, connect=CONNECT_LIMIT.total_seconds())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._owned:
            await self._http.aclose()

    async def send(
        self,
        method: str,
        path: str,
        limit: timedelta | None,
        **request: Any,  # noqa: ANN401 - httpx2's own parameters
    ) -> httpx2.Response:
        """Send a request and read the whole answer, in `limit` (None: however long it takes).

        Raises RestateUnavailable when no whole answer arrives.
        """
        try:
            async with asyncio.timeout(limit.total_seconds() if limit else None):
                return await self._http.request(method, self.url + path, timeout=self._timeout, **request)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise self.unavailable(f"no answer to {method} {path} in time") from error
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise self.unavailable(str(error) or type(error).__name__) from error

    def unavailable(self, reason: str) -> RestateUnavailable:
        """Make the error that says why nothing usable came from here."""
        return RestateUnavailable(self.url, cut(reason))

    def understand(self, response: httpx2.Response, parse: Callable[[bytes], T]) -> T:
        """Read an answer. Raises RestateUnavailable when it has another form than this version knows."""
        with self._understanding(response):
            return parse(response.content)

    @contextmanager
    def _understanding(self, response: httpx2.Response) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            problems = describe_validation(list(error.errors(include_url=False))[:MAX_PROBLEMS])
            path = response.request.url.path
            raise self.unavailable(f"its answer to {path} is not understood: {problems}") from error


def was_connected(error: RestateUnavailable) -> bool:
    """Tell whether something of the request may have been received by whoever did not answer it."""
    return not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)


def parse_error_body(content: bytes) -> ErrorBody | None:
    """Read the body of a failure; None when it is not one of Restate's."""
    try:
        return ErrorBody.model_validate_json(content)
    except ValidationError:
        return None


def cut(text: str) -> str:
    """Keep as much of a text from outside as fits into an error."""
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}… ({len(text)} characters in all)"
