"""Asks the other nodes of a cluster, all at once, and each for a limited time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import httpx2
from pydantic import TypeAdapter, ValidationError

from gridiron.manager.api import PROBLEM_MEDIA_TYPE, LogList, Problem
from gridiron.manager.http.request_ids import HEADER, fetch_request_id
from gridiron.manager.peers.api import Copied, LogNews, NodeBuilds, NodeHealth
from gridiron.manager.peers.signing import Signature
from gridiron.model import Address, Value, describe_validation
from gridiron.workers.control import ANSWER_LIMIT
from gridiron.workers.log_files import Place, Ring
from gridiron.workers.logs import Wanted

CONNECT_LIMIT = timedelta(seconds=1)
READ_LIMIT = timedelta(seconds=1)
"""How long an answer may take: somebody waits for what all nodes say."""

LOG_LIMIT = ANSWER_LIMIT + timedelta(seconds=1)
"""The same of an answer for which the node asks its cells, of which one may hang."""

COPY_LIMIT = timedelta(seconds=30)
"""How long a node may take to fetch a build from the bucket: 64 MiB at 20 Mbit/s."""

SILENCE_LIMIT = timedelta(seconds=20)
"""How long a node that is followed may say nothing: it gives a sign of life every ten seconds."""

MAX_ASKED, MAX_FOLLOWED = 64, 256
"""Connections at once: less than a manager takes of one client. Those who follow have some of their own, so
that they hold up nothing else."""

KEPT_OPEN = 20
"""Connections that nobody uses at the moment."""

V = TypeVar("V", bound=Value)

PLACE: TypeAdapter[Mapping[Ring, tuple[int, int]]] = TypeAdapter(dict[Ring, tuple[int, int]])
"""A place in a log, as it goes over the network."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node of the cluster."""

    node: str
    url: str  # of its port for the nodes, with no slash at its end


@dataclass(frozen=True, slots=True)
class Unreached:
    """A node that did not do as it was asked, and why."""

    node: str
    reason: str
    code: str | None = None  # of the problem, where it answered one


Members = Callable[[], tuple[Peer, ...]]
"""Gives the other nodes of the cluster, as they are known at that moment, without any I/O."""


@dataclass(frozen=True, slots=True)
class Newest:
    """What is to come of a log: the newest `limit` events that are wanted, behind a place or of all."""

    wanted: Wanted
    limit: int
    place: Place | None = None

    @property
    def query(self) -> dict[str, str]:
        """The parameters that ask for this."""
        query = {"level": self.wanted.level, "limit": str(self.limit)}
        if self.wanted.since is not None:
            query["since"] = self.wanted.since.isoformat()
        if self.place is not None:
            query["place"] = PLACE.dump_json(self.place).decode()
        return query


class Peers:
    """The other nodes of a cluster.

    Whatever becomes of a node, the others' answers come: a node that has none stands there as Unreached.
    """

    def __init__(self, members: Members, asking: httpx2.AsyncClient, following: httpx2.AsyncClient) -> None:
        """Take who they are, and two clients that sign; both stay the caller's to close."""
        self.members = members
        self._asking = asking
        self._following = following

    async def copy(self, address: Address) -> Mapping[Peer, Copied | Unreached]:
        """Have every node fetch a copy of a build. Safe to repeat; one that has a copy answers at once."""
        return await self._ask_all("POST", f"/builds{address.path}/copy", Copied, COPY_LIMIT)

    async def fetch_builds(self) -> Mapping[Peer, NodeBuilds | Unreached]:
        """Ask every node what it has of all builds."""
        return await self._ask_all("GET", "/builds", NodeBuilds, READ_LIMIT)

    async def fetch_nodes(self) -> Mapping[Peer, NodeHealth | Unreached]:
        """Ask every node how it is."""
        return await self._ask_all("GET", "/node", NodeHealth, READ_LIMIT)

    async def fetch_logs(self, path: str, newest: Newest) -> Mapping[Peer, LogList | Unreached]:
        """Ask every node for what the build at a path has printed there."""
        return await self._ask_all("GET", f"/builds{path}/logs", LogList, LOG_LIMIT, newest.query)

    async def follow(
        self, peer: Peer, path: str, newest: Newest
    ) -> AsyncGenerator[LogNews | Unreached, None]:
        """Follow what the build at a path prints on one node. The last thing that comes is why it ended."""
        try:
            async with aclosing(self._stream(f"{peer.url}/builds{path}/logs", newest)) as stream:
                async for news in stream:
                    yield news
        except _Unanswered as error:
            yield Unreached(peer.node, error.reason, error.code)

    async def _stream(self, url: str, newest: Newest) -> AsyncGenerator[LogNews, None]:
        """Read what a node sends; in the end, and whatever that is, raise _Unanswered."""
        params = {**newest.query, "follow": "true"}
        request = self._following.build_request(
            "GET", url, params=params, headers=_headers(), timeout=_timeout(SILENCE_LIMIT)
        )
        async with _answered_within(LOG_LIMIT):
            response = await self._following.send(request, stream=True)
        try:
            lines = response.aiter_lines()
            async with _answered_within(LOG_LIMIT):
                await _check(response)
                line = await anext(lines, None)
            while line is not None:
                news = _read(line, LogNews)
                if news.problem is not None:
                    raise _Unanswered(news.problem)
                yield news
                async with _answered_within(SILENCE_LIMIT):
                    line = await anext(lines, None)
        finally:
            await response.aclose()
        raise _Unanswered("its answer broke off")

    async def _ask_all(
        self, method: str, path: str, kind: type[V], limit: timedelta, params: Mapping[str, str] | None = None
    ) -> Mapping[Peer, V | Unreached]:
        async def ask(peer: Peer) -> V | Unreached:
            try:
                async with _answered_within(limit):
                    response = await self._asking.request(
                        method, peer.url + path, params=params, headers=_headers(), timeout=_timeout(limit)
                    )
                    await _check(response)
                return _read(response.content, kind)
            except _Unanswered as error:
                return Unreached(peer.node, error.reason, error.code)

        peers = self.members()
        return dict(zip(peers, await asyncio.gather(*map(ask, peers)), strict=True))


@asynccontextmanager
async def open_peers(members: Members, signature: Signature) -> AsyncIterator[Peers]:
    """Make what asks the other nodes, for as long as the block lasts."""

    def connect(connections: int) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=KEPT_OPEN)
        return httpx2.AsyncClient(trust_env=False, auth=signature, limits=limits)

    async with connect(MAX_ASKED) as asking, connect(MAX_FOLLOWED) as following:
        yield Peers(members, asking, following)


class _Unanswered(Exception):
    """A node did not do as it was asked."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@asynccontextmanager
async def _answered_within(limit: timedelta) -> AsyncIterator[None]:
    """Limit how long a node may take, and raise _Unanswered for whatever goes wrong on the way to it."""
    try:
        async with asyncio.timeout(limit.total_seconds()):
            yield
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise _Unanswered("it does not answer in time") from error
    except (httpx2.RequestError, httpx2.InvalidURL) as error:
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
        raise _Unanswered(reason) from error


async def _check(response: httpx2.Response) -> None:
    """Raise _Unanswered for an answer that is a refusal."""
    if response.is_success:
        return
    await response.aread()
    media_type = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != PROBLEM_MEDIA_TYPE:
        raise _Unanswered(f"HTTP {response.status_code} with no problem in it: is it a manager?")
    problem = _read(response.content, Problem)
    raise _Unanswered(problem.detail, problem.code)


def _read(text: str | bytes, kind: type[V]) -> V:
    """Read what a node says, without what it says that this version does not know. Raises _Unanswered."""
    try:
        return kind.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        problems = describe_validation(list(error.errors(include_url=False))[:3])
        raise _Unanswered(f"its answer is not understood; of another version? {problems}") from error


def _headers() -> dict[str, str]:
    """Have what a request makes other nodes do stand in their logs under its id."""
    request_id = fetch_request_id()
    return {} if request_id is None else {HEADER: request_id}


def _timeout(limit: timedelta) -> httpx2.Timeout:
    return httpx2.Timeout(limit.total_seconds(), connect=CONNECT_LIMIT.total_seconds())
