"""The manager as a client has it who may lose the answer: it is killed now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from soak.sight import Listed, parse_listed

REQUEST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """It was done."""

    body: Any  # decoded JSON


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not done, or the manager does not know: the code tells."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """It was sent, and may have been done."""

    reason: str


Outcome = Acknowledged | Refused | Unanswered


class Manager:
    """The manager's HTTP API."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def post(self, path: str, body: Mapping[str, Any]) -> Outcome:
        """Ask for something; nothing raises."""
        try:
            response = await self._client.post(path, json=body)
        except httpx2.ConnectError:
            return Refused("manager_unavailable", "nobody listens")
        except httpx2.TransportError as error:
            return Unanswered(type(error).__name__)
        if response.is_success:
            return Acknowledged(response.json())
        problem = response.json()
        return Refused(problem["code"], problem["detail"])

    async def fetch_builds(self, name: str | None = None) -> tuple[Listed, ...] | None:
        """List the builds, or those of one name; None while the manager does not say."""
        params = {"limit": "1000"} | ({} if name is None else {"name": name})
        try:
            response = await self._client.get("/deployments", params=params)
        except httpx2.TransportError:
            return None
        if not response.is_success:
            return None
        return tuple(parse_listed(deployment) for deployment in response.json()["deployments"])

    async def is_ready(self) -> bool:
        """Tell whether every component of the node is usable."""
        try:
            return (await self._client.get("/health/ready")).status_code == 200
        except httpx2.TransportError:
            return False
