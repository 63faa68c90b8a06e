"""What one node of a cluster has of all builds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import TypeVar

import gridiron
from gridiron.bundles.shared import SharedStore
from gridiron.errors import BuildNotFound, GridironError, StorageFailed, WorkersUnavailable
from gridiron.manager.context import Context
from gridiron.manager.peers.api import Copied, NodeBuilds
from gridiron.manager.tolerate import tolerating
from gridiron.model import Address
from gridiron.workers.cells import LoadedBuild

T = TypeVar("T")

CELLS_LIMIT = timedelta(seconds=0.7)
"""How long the cells may take where another node waits: it does for one second, see `client`."""

COPIES_AT_ONCE = 3
"""Builds that are fetched at once for other nodes, each in a thread of those that all work shares."""

Loaded = Mapping[str, Mapping[str, int]]
"""What each cell has loaded, by the cell's name: the requests in flight for each build, by its path."""


class OwnBuilds:
    """Reads what this node has of all builds, and has it fetch more."""

    def __init__(self, context: Context) -> None:
        """Take what a manager works with. A node alone has the builds themselves, and no copies."""
        self._context = context
        self._cells = context.cells
        self._copies = context.store if isinstance(context.store, SharedStore) else None
        self._fetching = asyncio.Semaphore(COPIES_AT_ONCE)

    async def fetch(self, limit: timedelta | None = None) -> NodeBuilds:
        """Read it. What cannot be read, the cells within the limit, is None."""
        loaded, pool, copies = await asyncio.gather(
            _or_none(self._cells.fetch_loaded(), limit),
            _or_none(self._cells.fetch_pool(), limit),
            _or_none(self._list_copies(), None),
        )
        return NodeBuilds(
            node=self._context.settings.node_name,
            version=gridiron.__version__,
            copies=copies,
            loaded=None if loaded is None else count_in_flight(loaded),
            quarantined=None if pool is None else pool.quarantined,
        )

    async def copy(self, address: Address) -> Copied:
        """Have a copy of a build on this node. Safe to repeat.

        Raises BuildNotFound, and what the bucket does and the disk.
        """
        async with self._fetching:
            if self._copies is None or not await asyncio.to_thread(self._copies.fetch_copy, address):
                raise BuildNotFound(str(address))
        return Copied(present=True)

    async def load(self, address: Address) -> None:
        """Have the workers of this node load a build, before somebody calls it. Safe to repeat; never raises.

        It has loaded elsewhere, so that what keeps it from it here is left to who calls it.
        """
        with tolerating("build.not_loaded", GridironError, build_id=str(address)):
            await self._context.restate.discover(self._context.uri(address))

    async def _list_copies(self) -> frozenset[str] | None:
        return None if self._copies is None else await asyncio.to_thread(self._copies.list_copies)


def count_in_flight(loaded: Mapping[str, tuple[LoadedBuild, ...]]) -> Loaded:
    """Put what each cell has loaded into another form."""
    return {cell: {build.path: build.in_flight for build in builds} for cell, builds in loaded.items()}


async def _or_none(reading: Awaitable[T], limit: timedelta | None) -> T | None:
    try:
        async with asyncio.timeout(None if limit is None else limit.total_seconds()):
            return await reading
    except (WorkersUnavailable, StorageFailed, TimeoutError):
        return None
