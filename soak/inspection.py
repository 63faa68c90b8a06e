"""A look at all that a node has: its manager, its disk, its Restate, its cells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from gridiron.errors import WorkersUnavailable
from gridiron.settings import Settings
from gridiron.workers.cells import Cells
from soak.calls import Answer
from soak.manager import Manager
from soak.verdict import Remains

NOT_COMPLETED = """
select coalesce(last_failure, status) as reason, count(*) as invocations
from sys_invocation
where status <> 'completed'
group by coalesce(last_failure, status)
"""


OF_THE_STORE = frozenset({".lock", ".staging", ".store"})
"""What the bundle directory has besides builds."""


class NotSeen(Exception):
    """A part of the node could not be looked at."""


class Inspector:
    """Looks at a node that nobody calls."""

    def __init__(self, settings: Settings, names: Iterable[str], client: httpx2.AsyncClient) -> None:
        self._settings = settings
        self._names = tuple(names)
        self._client = client

    async def fetch_remains(self, manager: Manager) -> Remains:
        """Look at everything. Raises NotSeen where a part does not answer."""
        if not await manager.is_ready():
            raise NotSeen("the node is not ready")
        answers = {name: await self._fetch_version(name) for name in self._names}
        registrations = await self._ask("GET", self._settings.restate_admin_url + "/deployments")
        listed = await manager.fetch_builds()
        if listed is None:
            raise NotSeen("the manager does not list its builds")
        entries = await asyncio.to_thread(_list, self._settings.bundles_dir)
        staging = await asyncio.to_thread(_list, self._settings.bundles_dir / ".staging")
        return Remains(
            listed=listed,
            directories=frozenset(entry for entry in entries if entry not in OF_THE_STORE),
            staging=staging,
            registrations={each["id"]: each["uri"] for each in registrations["deployments"]},
            invocations=await self._count_invocations(),
            loaded=await self._fetch_loaded(),
            answers=answers,
        )

    async def _fetch_version(self, name: str) -> str:
        """Call a service, as anybody would, and give the version that answers."""
        url = f"{self._settings.ingress_url}/{name}/work"
        body = await self._ask("POST", url, json={"steps": 0, "millis": 0})
        return Answer.model_validate(body).begun

    async def _count_invocations(self) -> Mapping[str, int]:
        url = self._settings.restate_admin_url + "/query"
        headers = {"accept": "application/json"}
        body = await self._ask("POST", url, json={"query": NOT_COMPLETED}, headers=headers)
        return {row["reason"]: row["invocations"] for row in body["rows"]}

    async def _fetch_loaded(self) -> Mapping[str, frozenset[str]]:
        cells = Cells(self._settings.run_dir, self._settings.workers_url, self._client)
        try:
            loaded = await cells.fetch_loaded()
        except WorkersUnavailable as error:
            raise NotSeen(str(error)) from error
        return {cell: frozenset(build.path for build in builds) for cell, builds in loaded.items()}

    async def _ask(self, method: str, url: str, **request: Any) -> Any:  # noqa: ANN401 - decoded JSON
        try:
            response = await self._client.request(method, url, **request)
        except httpx2.TransportError as error:
            raise NotSeen(f"{method} {url}: {error!r}") from error
        if not response.is_success:
            raise NotSeen(f"{method} {url}: HTTP {response.status_code} {response.text:.200}")
        return response.json()


def _list(directory: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in directory.iterdir()) if directory.exists() else frozenset()
