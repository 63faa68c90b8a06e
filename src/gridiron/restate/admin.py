"""Restate's admin API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from string import Template
from typing import Any, Protocol, Self
from urllib.parse import quote

import httpx2

from gridiron.errors import RestateRejected, RestateUnavailable
from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Holder
from gridiron.restate.answers import (
    parse_check,
    parse_demand,
    parse_discovered,
    parse_holder,
    parse_holding,
    parse_newest,
    parse_protocol,
    parse_registered,
    parse_registrations,
    parse_version,
)
from gridiron.restate.connection import Connection, cut, parse_error_body
from gridiron.restate.port import Discovered, Holding, Registered
from gridiron.restate.queries import load_query

READ_LIMIT = timedelta(seconds=10)
"""How long a read may take; 20,000 invocations are counted in 50 ms on two cores."""

DISCOVERY_LIMIT = timedelta(seconds=30)
"""How long a registration may take. Restate waits without limit for an endpoint that accepts and does not
answer, and drops the registration when its client hangs up; it tries a refused connection for 2 s."""

CHANGE_LIMIT = timedelta(seconds=10)
"""How long a removal may take."""

DEPLOYMENT_ID = re.compile(r"dp_[0-9A-Za-z]+")

REFUSALS = frozenset(range(400, 500)) - {429}
"""Statuses that blame the request; 429 is a limit on the rate of queries."""


class Starts(Protocol):
    """Tells one start of Restate from another: NodePort of a node alone, RestateCluster of a cluster."""

    async def fetch_start(self) -> str:
        """Name this start, as far as registrations are concerned: see RestatePort."""
        ...

    async def catch_up(self) -> None:
        """Wait until this node knows all that others have registered: see RestatePort."""
        ...

    async def fetch_incarnation(self) -> str:
        """Name this start: see RestatePort."""
        ...

    async def aclose(self) -> None:
        """Close what it holds. Safe to repeat."""
        ...


class RestateAdmin:
    """The real RestatePort; an asynchronous context manager.

    `url` is that of the admin API; `starts` tells of the starts of Restate, which `fetch_start`, `catch_up`
    and `fetch_incarnation` need, and is closed with this. `client` is used as it is and left open; without
    one, a client is made.
    """

    def __init__(
        self, url: str, client: httpx2.AsyncClient | None = None, starts: Starts | None = None
    ) -> None:
        self._connection = Connection(url, client)
        self._starts = starts

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exit_: object) -> None:
        await self._connection.__aexit__(*exit_)
        if self._starts is not None:
            await self._starts.aclose()

    async def discover(self, uri: str) -> Discovered:
        """Read the services of an endpoint without registering it: see RestatePort."""
        # breaking, as what would change is the caller's to judge, who cannot where Restate refuses to say it
        response = await self._post_deployment(f"discover {uri}", uri, dry_run=True, breaking=True)
        return self._connection.understand(response, parse_discovered)

    async def register(self, uri: str, metadata: Mapping[str, str], *, breaking: bool = False) -> Registered:
        """Make an endpoint the newest for its services: see RestatePort."""
        response = await self._post_deployment(
            f"register {uri}", uri, dry_run=False, breaking=breaking, metadata=dict(metadata)
        )
        created = response.status_code == 201
        registered = self._connection.understand(
            response, lambda body: parse_registered(body, created=created)
        )
        return replace(registered, protocol=await self._fetch_protocol(registered.deployment_id))

    async def fetch_registrations(self) -> tuple[Registration, ...]:
        """List all deployments, oldest first."""
        response = await self._get("list deployments", "/deployments")
        return self._connection.understand(response, parse_registrations)

    async def fetch_newest(self) -> Mapping[str, str]:
        """Say for each service which deployment gets its new invocations."""
        return self._connection.understand(await self._query("newest"), parse_newest)

    async def fetch_holder(self, service: str) -> Holder | None:
        """Say which deployment gets the new invocations of one service: see RestatePort."""
        path = f"/services/{quote(service, safe='')}"
        response = await self._connection.send("GET", path, READ_LIMIT)
        if response.status_code == 404 and parse_error_body(response.content) is not None:
            return None
        if not response.is_success:
            raise self._failure(f"describe the service {service}", response)
        return self._connection.understand(response, parse_holder)

    async def fetch_demand(self) -> Mapping[str, Demand]:
        """Count what still needs each deployment."""
        attempting = await self._query("attempting")  # first: see pinned.sql
        pinned = await self._query("pinned")
        return self._connection.understand(pinned, lambda body: parse_demand(attempting.content, body))

    async def unregister(self, deployment_id: str) -> None:
        """Remove a deployment, whatever still needs it. Safe to repeat."""
        # without force Restate answers 501: it does not know yet how to remove what may be in use
        response = await self._connection.send(
            "DELETE", _path_of(deployment_id), CHANGE_LIMIT, params={"force": "true"}
        )
        gone = response.status_code == 404 and parse_error_body(response.content) is not None
        if not (response.is_success or gone):
            raise self._failure(f"unregister {deployment_id}", response)

    async def fetch_start(self) -> str:
        """Name this start of Restate, once it knows of earlier registrations: see RestatePort."""
        return await self._told_starts().fetch_start()

    async def catch_up(self) -> None:
        """Wait until this node knows all that others have registered: see RestatePort."""
        await self._told_starts().catch_up()

    async def fetch_incarnation(self) -> str:
        """Name this start of Restate, once it answers in full: see RestatePort."""
        return await self._told_starts().fetch_incarnation()

    def _told_starts(self) -> Starts:
        if self._starts is None:
            raise self._connection.unavailable("nothing tells of its starts")
        return self._starts

    async def fetch_holding(self, deployment_id: str, limit: int) -> tuple[Holding, ...]:
        """List invocations that still need a deployment: see RestatePort."""
        if not DEPLOYMENT_ID.fullmatch(deployment_id):  # it becomes part of a query
            raise ValueError(deployment_id)
        given = {"deployment_id": deployment_id, "limit": str(limit)}
        response = await self._query("holding", given)
        return self._connection.understand(response, parse_holding)

    async def check(self) -> str:
        """Prove that Restate serves every partition; give its version."""
        self._connection.understand(await self._query("check"), parse_check)
        return await self.fetch_version()

    async def fetch_version(self) -> str:
        """Give the version of the server."""
        response = await self._get("tell its version", "/version")
        return self._connection.understand(response, parse_version)

    async def _fetch_protocol(self, deployment_id: str) -> str | None:
        """Ask how Restate talks to a deployment, as the answer to a registration does not say it."""
        try:
            response = await self._get(f"describe {deployment_id}", _path_of(deployment_id))
            return self._connection.understand(response, parse_protocol)
        except (RestateUnavailable, RestateRejected):  # it is registered all the same, and that counts
            return None

    async def _post_deployment(self, action: str, uri: str, **more: Any) -> httpx2.Response:  # noqa: ANN401 - JSON
        # force is given because its default depends on the version of the API
        body = {"uri": uri, "force": False, **more}
        return await self._send("POST", "/deployments", action, DISCOVERY_LIMIT, json=body)

    async def _query(self, name: str, given: Mapping[str, str] | None = None) -> httpx2.Response:
        return await self._send(
            "POST",
            "/query",
            f"answer the query {name}.sql",
            READ_LIMIT,
            json={"query": Template(load_query(name)).substitute(given or {})},
            headers={"accept": "application/json"},  # its default is Arrow's binary form
        )

    async def _get(self, action: str, path: str) -> httpx2.Response:
        return await self._send("GET", path, action, READ_LIMIT)

    async def _send(
        self,
        method: str,
        path: str,
        action: str,
        limit: timedelta,
        **request: Any,  # noqa: ANN401 - httpx2's own parameters
    ) -> httpx2.Response:
        """Send a request; give its answer when that is a success, else raise."""
        response = await self._connection.send(method, path, limit, **request)
        if not response.is_success:
            raise self._failure(action, response)
        return response

    def _failure(self, action: str, response: httpx2.Response) -> RestateRejected | RestateUnavailable:
        """Tell a refusal from a Restate that cannot do its work now.

        It refuses with 4xx, or with 5xx and a code of its own (where the endpoint is to blame). 429 and a 5xx
        without a code are its own trouble: a partition with no leader, metadata that could not be written.
        """
        error = parse_error_body(response.content)
        status = response.status_code
        if error is not None and error.restate_code:
            return RestateRejected(action, status, cut(error.message), error.restate_code)
        if status in REFUSALS and (error is not None or _is_plain_text(response)):
            return RestateRejected(action, status, cut(error.message if error else response.text))
        if error is not None:
            return self._connection.unavailable(f"it could not {action} (HTTP {status}): {error.message}")
        return self._connection.unavailable(
            f"HTTP {status} with no error of Restate's in it: another program may listen there"
        )


def _path_of(deployment_id: str) -> str:
    return f"/deployments/{quote(deployment_id, safe='')}"


def _is_plain_text(response: httpx2.Response) -> bool:
    """Tell whether it is what Restate answers to a request that it cannot even read."""
    return response.headers.get("content-type", "").startswith("text/plain")
