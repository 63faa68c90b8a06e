"""The way in: who asks, how often, for what; and what of it is written down.

A request goes through `GuardedRoute` before anything of its body is read, so that nobody without a token can
make the manager work. What changes something says so by `Act.change`.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import structlog
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from gridiron.access.audit import AuditLog, Entry
from gridiron.access.restraint import FailedLogins, Rates, client_of
from gridiron.access.scopes import Caller, Kind, Scope
from gridiron.access.tokens import TokenStore, find_id, hide_tokens, read_id
from gridiron.egress import is_loopback
from gridiron.errors import (
    AuditUnavailable,
    Forbidden,
    GridironError,
    LoginsSlowed,
    RateExceeded,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TooMany,
    Unauthenticated,
)
from gridiron.manager.http.needs import NEEDS, Need, check_need
from gridiron.manager.http.problems import describe_problems, render_problem, render_unexpected
from gridiron.manager.http.request_ids import fetch_request_id

log = structlog.get_logger()

LOOPBACK = Caller(None, "loopback", (Scope(Kind.ADMIN),))
"""Who asks from this machine without a token, where GRIDIRON_OPEN_LOOPBACK lets him."""

ABOUT = ("build_id", "name", "token_id", "sha256", "node")
"""Parts of a path that are written down. A `key` is not: somebody may have put the secret itself there."""

SHOWN = 256
"""Characters of each that are written down: anybody can send them."""

WRITTEN = 16 * 1024
"""The same of a change: all scopes that a token can have (100 of 70), and at least 100 builds."""

Event = Literal["began", "done", "failed", "refused"]


async def _look_nowhere() -> None:
    """Look for new tokens on a node alone: there are none that it does not know."""


@dataclass
class Guard:
    """What decides over requests, and remembers them."""

    tokens: TokenStore
    audit: AuditLog
    rates: Rates
    open_loopback: bool
    now: Callable[[], datetime]
    monotonic: Callable[[], float] = time.monotonic  # seconds
    logins: FailedLogins = field(default_factory=FailedLogins)
    refusals: Rates = field(default_factory=lambda: Rates(0.1, 20))  # that are written down, of one client
    all_refusals: Rates = field(default_factory=lambda: Rates(2.0, 200))  # the same, of all clients
    left_out: int = 0  # refusals since the last one that was written down
    look: Callable[[], Awaitable[None]] = _look_nowhere  # for tokens that other nodes have made

    async def admit(self, request: Request, need: Need) -> Caller | None:
        """Let a request in and say who sends it, None where nobody needs to know; or raise why it is refused.

        That of a wrong token may come seconds later.
        """
        client = client_of(_address_of(request) or "")
        if need is Need.NOTHING:
            self._count(f"{client}, open")  # who floods the rest from there keeps no probe from its answer
            return None
        try:
            caller = await self._identify(request)
        except (TokenInvalid, TokenExpired):
            self._count(client)
            await self._hold_up(client)
            raise
        except TokenMissing:
            self._count(client)
            raise
        self._count(caller.token_id or client)
        return caller

    def count_stray(self, request: Request) -> None:
        """Count a request that no endpoint answers for its address, whoever sends it. Raises RateExceeded."""
        self._count(client_of(_address_of(request) or ""))

    async def _identify(self, request: Request) -> Caller:
        given = request.headers.get("authorization")
        if given is not None:
            scheme, _, text = given.partition(" ")
            if scheme.lower() != "bearer":
                raise TokenInvalid
            text = text.strip()
            if not self.tokens.knows(text):
                await self.look()
            return self.tokens.check(text, self.now())
        if self.open_loopback and _is_from_here(request):
            return LOOPBACK
        raise TokenMissing

    def _count(self, client: str) -> None:
        wait = self.rates.take(client, self.monotonic())
        if wait:
            raise RateExceeded(math.ceil(wait))

    async def _hold_up(self, client: str) -> None:
        wait = self.logins.note(client, self.monotonic())
        if wait.refused:
            raise LoginsSlowed(math.ceil(wait.seconds))
        await asyncio.sleep(wait.seconds)


class Act:
    """One request on its way through the manager."""

    def __init__(self, guard: Guard, request: Request, route: str) -> None:
        self._guard = guard
        self._request = request
        self._route = route
        self._id = secrets.token_hex(8)
        self._caller: Caller | None = None
        self.changed = False  # whether it came to a change

    @property
    def caller(self) -> Caller:
        """Who asks; there is one on every route that needs something."""
        if self._caller is None:
            raise AssertionError(f"nobody has to say who he is at {self._route}")
        return self._caller

    def check(self, name: str | None) -> None:
        """Raise ScopeMissing unless a name is the caller's to change; None: nobody knows whose it is."""
        self.caller.check_deploy(name)

    @asynccontextmanager
    async def change(self, **about: str | None) -> AsyncIterator[dict[str, str]]:
        """Write down that a change begins, and in the end what came of it; nothing is done in between if not.

        This gives what it is about, to which more may be added. Raises AuditUnavailable. A change that was
        made and whose end cannot be written down stands as begun, and the manager's log says so.
        """
        self.changed = True
        what = {key: value for key, value in about.items() if value is not None}
        await asyncio.to_thread(self._guard.audit.append, self._entry("began", what), synced=True)
        try:
            yield what
        except GridironError as error:
            await self._end("failed", what, render_problem(error).status, render_problem(error).code)
            raise
        except Exception:
            unexpected = render_unexpected()
            await self._end("failed", what, unexpected.status, unexpected.code)
            raise
        await self._end("done", what)

    @asynccontextmanager
    async def admitted(self, need: Need) -> AsyncIterator[None]:
        """Hold what a caller needs for the block; write down where he is refused, here or in it."""
        try:
            self._caller = await self._guard.admit(self._request, need)
            if self._caller is not None:
                check_need(need, self._caller)
            yield
        except (Unauthenticated, Forbidden, TooMany) as error:
            if not self.changed:  # else it stands there as failed
                await self._note_refusal(error)
            raise

    async def _end(
        self, event: Event, about: dict[str, str], status: int | None = None, code: str | None = None
    ) -> None:
        entry = self._entry(event, about, status=status, code=code)
        try:
            await asyncio.to_thread(self._guard.audit.append, entry, synced=True)
        except AuditUnavailable as error:
            outcome = f"{event}: {code}" if code else event
            log.error(  # noqa: TRY400 - the reason says it
                "audit.end_not_written", id=self._id, outcome=outcome, reason=error.reason
            )

    async def _note_refusal(self, error: GridironError) -> None:
        """Write a refusal down, unless there are too many. It stays one where that fails."""
        guard, client = self._guard, client_of(_address_of(self._request) or "")
        now = guard.monotonic()
        if guard.refusals.take(client, now) or guard.all_refusals.take("", now):
            guard.left_out += 1
            return
        given = {key: str(value) for key, value in self._request.path_params.items() if key in ABOUT}
        if "token_id" in given:  # it may be all of a token, or most of it
            given["token_id"] = read_id(given["token_id"]) or "…"
        about = {key: _cut(hide_tokens(value), SHOWN) for key, value in given.items()}
        problem = render_problem(error)
        left_out, guard.left_out = guard.left_out, 0  # now: others may be refused while this is written
        entry = self._entry("refused", about, status=problem.status, code=problem.code)
        entry = entry.model_copy(update={"left_out": left_out})
        try:
            await asyncio.to_thread(guard.audit.append, entry, synced=False)
        except AuditUnavailable as unwritten:
            guard.left_out += left_out + 1
            log.warning("audit.refusal_not_written", reason=unwritten.reason)

    def _entry(
        self, event: Event, about: dict[str, str], status: int | None = None, code: str | None = None
    ) -> Entry:
        claimed = find_id(self._request.headers.get("authorization", "").partition(" ")[2].strip())
        return Entry(
            id=self._id,
            at=self._guard.now(),
            event=event,
            token=self._caller.token_id if self._caller else claimed,
            name=self._caller.name if self._caller else None,
            address=_address_of(self._request),
            request_id=fetch_request_id(),
            method=self._request.method,
            route=self._route,
            about={key: _cut(hide_tokens(value), WRITTEN) for key, value in about.items()},
            status=status,
            code=code,
        )


async def _act_of(request: Request) -> Act:
    act: Act = request.state.act
    return act


Acting = Annotated[Act, Depends(_act_of)]
"""The request that an endpoint answers."""


class GuardedRoute(APIRoute):
    """An endpoint with what it needs, before which nothing of a request is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - FastAPI's
        (method,) = options["methods"]
        self._need = NEEDS[f"{method} {path}"]  # an endpoint that is not there is not made
        statuses = _statuses_of(method, self._need)
        options["responses"] = {**(options.get("responses") or {}), **describe_problems(*statuses)}
        if self._need is not Need.NOTHING:
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = {**extra, "security": [{"bearer": []}]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers a request."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            act = Act(request.app.state.guard, request, self.path)
            request.state.act = act
            async with act.admitted(self._need):
                return await handle(request)

        return guarded


def _statuses_of(method: str, need: Need) -> tuple[int, ...]:
    """Say with what a request may be refused before an endpoint sees it."""
    if need is Need.NOTHING:
        return (429,)
    return (401, 403, 429, 500, *((408, 413) if method in {"POST", "PUT"} else ()))


def _address_of(request: Request) -> str | None:
    return request.client.host if request.client else None


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _is_from_here(request: Request) -> bool:
    """Tell whether a program of this machine asks, and no page in a browser on it.

    A page can lead a name of its own to loopback (DNS rebinding): then `Host` has that name. It can also send
    a form to any address: then `Origin` has the page's.
    """
    if not is_loopback(_address_of(request) or ""):
        return False
    origin = request.headers.get("origin")
    try:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        is_ours = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:  # `[x`: an address that is none
        return False
    return is_loopback(host) and is_ours
