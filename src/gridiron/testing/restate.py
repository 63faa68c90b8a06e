"""Restate's administration in memory, for tests. Contract tests hold it to the real one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count

from gridiron.errors import RestateRejected, RestateUnavailable
from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Handler, Holder, Service
from gridiron.restate.answers import address_of
from gridiron.restate.incarnation import start_of
from gridiron.restate.port import Discovered, Holding, Registered

VERSION = "1.7.12"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When its clock starts; it goes on by a second with each registration."""

FAKE_URL = "http://fake-restate"


class Phase(StrEnum):
    """Where an invocation is."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    BACKING_OFF = "backing-off"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class FakeEndpoint:
    """What answers at a uri."""

    services: tuple[Service, ...]
    protocol: str = "BidiStream"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the discovery of an endpoint fails."""

    restate_code: str
    reason: str
    status: int = 500


@dataclass(frozen=True, slots=True)
class FakeInvocation:
    """One invocation."""

    service: str
    phase: Phase
    attempt: str | None = None  # the deployment of its current or last attempt; None before the first
    pinned: str | None = None  # the deployment that wrote its journal; None while that is empty


def needed_by(invocation: FakeInvocation) -> frozenset[str]:
    """Say which deployment an invocation needs: the one that it is pinned to, or else that it runs on."""
    if invocation.phase is Phase.COMPLETED:
        return frozenset()
    attempts = invocation.phase in {Phase.RUNNING, Phase.BACKING_OFF}
    needed = invocation.pinned or (invocation.attempt if attempts else None)
    return frozenset({needed} if needed else ())


def fake_service(name: str, *handlers: str, type_: str = "Service") -> Service:
    """Make a service for an endpoint; its handlers have no type of their own."""
    return Service(name, type_, tuple(Handler(handler, None) for handler in sorted(handlers)))


class FakeRestate:
    """A RestatePort whose endpoints and invocations a test sets.

    Endpoints: `serve` or `refuse` at a uri; for any other, `find_endpoint` is asked, and where that knows
    none, connections are refused. Invocations: `start`, then `pin`, `back_off`, `retry`, `suspend`, `pause`,
    `resume_on_newest`, `complete`. Switches: `down` holds the reason why every request fails, `failing` the
    names of methods that fail alone; while `slow` is cleared, requests wait for it to be set; `incarnation`
    names its start, and is None while it starts, when it answers as if it had nothing. `requests` has the
    names of the methods that were called, in order.
    """

    def __init__(self) -> None:
        self.down: str | None = None
        self.incarnation: str | None = "N1:1"
        self.failing: set[str] = set()
        self.slow = asyncio.Event()
        self.slow.set()
        self.requests: list[str] = []
        self.invocations: dict[str, FakeInvocation] = {}
        self.find_endpoint: Callable[[str], FakeEndpoint | Refusal | None] = lambda _: None
        self._endpoints: dict[str, FakeEndpoint | Refusal] = {}
        self._deployments: dict[str, tuple[Registration, FakeEndpoint]] = {}  # oldest first
        self._ids = count(1)

    # -- what a test sets ----------------------------------------------------------------------------------

    def serve(self, uri: str, *services: Service, protocol: str = "BidiStream") -> None:
        """Let an endpoint at `uri` offer services from now on."""
        self._endpoints[uri] = FakeEndpoint(
            tuple(sorted(services, key=lambda service: service.name)), protocol
        )

    def refuse(self, uri: str, refusal: Refusal) -> None:
        """Let the discovery of the endpoint at `uri` fail from now on."""
        self._endpoints[uri] = refusal

    def start(self, service: str, phase: Phase = Phase.RUNNING) -> str:
        """Start an invocation on the newest deployment of a service; give its id.

        One that is `SCHEDULED` has no attempt yet.
        """
        newest = self._newest()[service]
        invocation_id = f"inv_{next(self._ids)}"
        attempt = None if phase is Phase.SCHEDULED else newest
        self.invocations[invocation_id] = FakeInvocation(service, phase, attempt)
        return invocation_id

    def pin(self, invocation_id: str) -> None:
        """Let the running attempt write its first journal entry."""
        invocation = self.invocations[invocation_id]
        pinned = invocation.pinned or invocation.attempt
        self.invocations[invocation_id] = replace(invocation, pinned=pinned)

    def back_off(self, invocation_id: str) -> None:
        """Let the running attempt fail, so that Restate waits before the next."""
        self._enter(invocation_id, Phase.BACKING_OFF)

    def retry(self, invocation_id: str) -> None:
        """Begin the next attempt: where it is pinned, else on the newest deployment."""
        invocation = self.invocations[invocation_id]
        attempt = invocation.pinned or self._newest()[invocation.service]
        self.invocations[invocation_id] = replace(invocation, phase=Phase.RUNNING, attempt=attempt)

    def pause(self, invocation_id: str) -> None:
        """Let it wait until somebody resumes it."""
        self._enter(invocation_id, Phase.PAUSED)

    def resume_on_newest(self, invocation_id: str) -> None:
        """Move a paused one to the newest deployment of its service, journal included."""
        invocation = self.invocations[invocation_id]
        newest = self._newest()[invocation.service]
        pinned = newest if invocation.pinned else None
        moved = replace(invocation, phase=Phase.RUNNING, attempt=newest, pinned=pinned)
        self.invocations[invocation_id] = moved

    def suspend(self, invocation_id: str) -> None:
        """Let it wait without an attempt."""
        self._enter(invocation_id, Phase.SUSPENDED)

    def complete(self, invocation_id: str) -> None:
        """Let it end; it is retained. The result is a journal entry, so it is pinned in the end."""
        self.pin(invocation_id)
        self._enter(invocation_id, Phase.COMPLETED)

    # -- the port ------------------------------------------------------------------------------------------

    async def discover(self, uri: str) -> Discovered:
        """See RestatePort."""
        await self._request("discover")
        known = self._find(uri)
        endpoint = known[1] if known else self._discovered(uri, f"discover {uri}", breaking=True)
        return Discovered(endpoint.services)

    async def register(self, uri: str, metadata: Mapping[str, str], *, breaking: bool = False) -> Registered:
        """See RestatePort."""
        await self._request("register")
        if known := self._find(uri):
            registration, endpoint = known
            return Registered(
                registration.deployment_id, endpoint.services, registration.protocol, created=False
            )
        endpoint = self._discovered(uri, f"register {uri}", breaking=breaking)
        number = next(self._ids)
        registration = Registration(
            deployment_id=f"dp_{number}",
            uri=uri,
            address=address_of(uri),
            created_at=EPOCH + timedelta(seconds=number),
            services=tuple(service.name for service in endpoint.services),
            protocol=endpoint.protocol,
            metadata=dict(metadata),
        )
        self._deployments[registration.deployment_id] = registration, endpoint
        return Registered(registration.deployment_id, endpoint.services, endpoint.protocol, created=True)

    async def fetch_registrations(self) -> tuple[Registration, ...]:
        """See RestatePort."""
        await self._request("fetch_registrations")
        if self.incarnation is None:
            return ()
        return tuple(registration for registration, _ in self._deployments.values())

    async def fetch_newest(self) -> Mapping[str, str]:
        """See RestatePort."""
        await self._request("fetch_newest")
        return {} if self.incarnation is None else self._newest()

    async def fetch_holder(self, service: str) -> Holder | None:
        """See RestatePort."""
        await self._request("fetch_holder")
        deployment_id = self._newest().get(service)
        if deployment_id is None or self.incarnation is None:
            return None
        _, endpoint = self._deployments[deployment_id]
        return next(Holder(each, deployment_id) for each in endpoint.services if each.name == service)

    async def fetch_demand(self) -> Mapping[str, Demand]:
        """See RestatePort."""
        await self._request("fetch_demand")
        if self.incarnation is None:
            return {}
        pinned = Counter(one.pinned for one in self.invocations.values() if one.pinned in needed_by(one))
        attempting = Counter(
            one.attempt
            for one in self.invocations.values()
            if one.pinned is None and one.attempt in needed_by(one)
        )
        return {
            deployment_id: Demand(pinned=pinned[deployment_id], attempting=attempting[deployment_id])
            for deployment_id in sorted(pinned.keys() | attempting.keys())
        }

    async def unregister(self, deployment_id: str) -> None:
        """See RestatePort."""
        await self._request("unregister")
        self._deployments.pop(deployment_id, None)

    async def fetch_start(self) -> str:
        """See RestatePort."""
        await self._request("fetch_start")
        return start_of(self._fetch_incarnation())

    async def catch_up(self) -> None:
        """See RestatePort; this one has no other nodes."""
        self.requests.append("catch_up")

    async def fetch_incarnation(self) -> str:
        """See RestatePort."""
        await self._request("fetch_incarnation")
        return self._fetch_incarnation()

    def _fetch_incarnation(self) -> str:
        if self.incarnation is None:
            raise RestateUnavailable(FAKE_URL, "it is starting")
        return self.incarnation

    async def fetch_holding(self, deployment_id: str, limit: int) -> tuple[Holding, ...]:
        """See RestatePort."""
        await self._request("fetch_holding")
        return tuple(
            Holding(
                invocation_id, f"{one.service}/run", one.phase.value, one.pinned is not None, EPOCH, 0, None
            )
            for invocation_id, one in self.invocations.items()
            if deployment_id in needed_by(one)
        )[:limit]

    async def check(self) -> str:
        """See RestatePort."""
        await self._request("check")
        return VERSION

    async def fetch_version(self) -> str:
        """See RestatePort."""
        await self._request("fetch_version")
        return VERSION

    # -- inside --------------------------------------------------------------------------------------------

    async def _request(self, name: str) -> None:
        self.requests.append(name)
        await self.slow.wait()
        if self.down is not None:
            raise RestateUnavailable(FAKE_URL, self.down)
        if name in self.failing:
            raise RestateUnavailable(FAKE_URL, f"{name} fails")

    def _find(self, uri: str) -> tuple[Registration, FakeEndpoint] | None:
        return next((known for known in self._deployments.values() if known[0].uri == uri), None)

    def _newest(self) -> dict[str, str]:
        newest = {}
        for registration, _ in self._deployments.values():
            newest.update(dict.fromkeys(registration.services, registration.deployment_id))
        return newest

    def _discovered(self, uri: str, action: str, *, breaking: bool) -> FakeEndpoint:
        match self._endpoints.get(uri) or self.find_endpoint(uri):
            case None:
                reason = f"error when calling '{uri}': Connection refused"
                raise RestateRejected(action, 500, reason, "META0003")
            case Refusal() as refusal:
                raise RestateRejected(action, refusal.status, refusal.reason, refusal.restate_code)
            case FakeEndpoint() as endpoint:
                if not breaking:
                    self._check_types(endpoint, action)
                return endpoint

    def _check_types(self, endpoint: FakeEndpoint, action: str) -> None:
        """Refuse a service that changes its type, as Restate does."""
        for service in endpoint.services:
            if (deployment_id := self._newest().get(service.name)) is None:
                continue
            _, before = self._deployments[deployment_id]
            types = {one.name: one.type for one in before.services}
            if types[service.name] != service.type:
                reason = f"the service {service.name} changes its type"
                raise RestateRejected(action, 409, reason, "META0006")

    def _enter(self, invocation_id: str, phase: Phase) -> None:
        self.invocations[invocation_id] = replace(self.invocations[invocation_id], phase=phase)
