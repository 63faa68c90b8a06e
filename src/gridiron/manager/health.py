"""Readiness: is every component usable, and if not, which one and why."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from datetime import timedelta

import httpx2

from gridiron.errors import GridironError, RestateUnavailable, StorageFailed, WorkersUnavailable
from gridiron.manager.api import Component, Health
from gridiron.manager.context import Context

CHECK_LIMIT = timedelta(seconds=3)
"""How long one component may take to answer before it counts as not ready."""


class HealthChecker:
    """Checks the components side by side, each with a time limit."""

    def __init__(self, context: Context, client: httpx2.AsyncClient) -> None:
        self._context = context
        self._client = client

    async def check(self) -> Health:
        """Ask every component now. Never raises: what goes wrong is the component's reason."""
        settings = self._context.settings
        components = await asyncio.gather(
            _component("restate admin", self._check_restate()),
            _component(
                "restate ingress", self._fetch_ok(settings.ingress_url, "/restate/health", RestateUnavailable)
            ),
            _component("workers", self._fetch_ok(settings.workers_url, "/-/health", WorkersUnavailable)),
            _component("bundle directory", asyncio.to_thread(self._check_bundles)),
        )
        return Health(ready=all(component.ready for component in components), components=components)

    async def _check_restate(self) -> None:
        await self._context.restate.check()
        await self._context.restate.fetch_incarnation()  # a starting one says less than it knows

    def _check_bundles(self) -> None:
        directory = self._context.settings.bundles_dir
        self._context.store.fetch_identity()  # it is the bundle directory, and not where it would be mounted
        try:
            with tempfile.TemporaryFile(dir=directory, buffering=0) as probe:  # it has no name to stay
                probe.write(b"x")
                os.fsync(probe.fileno())
        except OSError as error:
            raise StorageFailed("Writing to", str(directory), error.strerror or str(error)) from error

    async def _fetch_ok(
        self, url: str, path: str, failure: type[RestateUnavailable | WorkersUnavailable]
    ) -> None:
        try:
            response = await self._client.get(url + path)
        except httpx2.TransportError as error:
            raise failure(url, type(error).__name__) from error
        if response.status_code != 200:
            raise failure(url, f"HTTP {response.status_code}")


async def _component(name: str, check: Awaitable[object]) -> Component:
    try:
        await asyncio.wait_for(check, CHECK_LIMIT.total_seconds())
    except TimeoutError:
        reason = f"no answer within {CHECK_LIMIT.total_seconds():.0f} s"
        return Component(name=name, ready=False, reason=reason)
    except GridironError as error:
        return Component(name=name, ready=False, reason=str(error))
    return Component(name=name, ready=True, reason="")
