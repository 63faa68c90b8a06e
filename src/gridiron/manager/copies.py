"""The copies of a cluster's builds on this node: there before a call, gone when nobody needs them."""

from __future__ import annotations

import asyncio

import structlog

from gridiron.bundles.shared import SharedStore
from gridiron.errors import GridironError
from gridiron.lifecycle.observation import Unknown
from gridiron.manager.observe import Look, Observer
from gridiron.model import Address, name_build

log = structlog.get_logger()


class Copies:
    """Brings copies onto this node's disk, and takes them away."""

    def __init__(self, store: SharedStore, observer: Observer, limit: int) -> None:
        """Take the store, what knows which builds are needed, and how many bytes copies may take."""
        self._store = store
        self._observer = observer
        self._limit = limit
        self._here: frozenset[str] = frozenset()  # the copies that there were in the round before

    async def ensure(self, address: Address) -> bool:
        """Have a copy of a build here that is what was stored; False where there is no such build.

        Safe to repeat. Raises BucketUnavailable, BucketRefused, ObjectDamaged, StorageFailed.
        """
        return await asyncio.to_thread(self._store.ensure_copy, address)

    async def tend(self) -> None:
        """Fetch what is registered and not here, and remove what nobody uses, by the last look at all builds.

        Safe to repeat. What cannot be fetched is left to the next round, or to the first call. Raises
        BucketUnavailable, BucketRefused, StorageFailed.
        """
        await asyncio.to_thread(self._store.tidy, self._observer.activating)
        before, self._here = self._here, await asyncio.to_thread(self._store.list_copies)
        look = self._observer.last  # of the round that this is a part of
        if look is not None:
            await self._fetch_missing(look)
            await self._evict(look, before & self._here)  # what came since is in no look yet

    async def _fetch_missing(self, look: Look) -> None:
        for status in look.statuses:
            if status.build is None or status.registration is None:
                continue
            try:
                if not await asyncio.to_thread(self._store.has_copy, status.build_id):
                    await self.ensure(status.build.address)
            except GridironError as error:
                log.warning("build.not_copied", build_id=status.build_id, code=error.code, reason=str(error))

    async def _evict(self, look: Look, here: frozenset[str]) -> None:
        """Remove what is no build any more, and over the limit what is not registered, unless it is loaded.

        `here` are copies that were here before the look and still are.
        """
        seen = look.observation
        if isinstance(seen.loaded, Unknown) or isinstance(seen.registrations, Unknown):
            return  # the latter is so where the bucket is away, too
        loaded = {name_build(path) for path in seen.loaded} | self._observer.activating
        registered = {status.build_id for status in look.statuses if status.registration is not None}
        stored = {status.build_id for status in look.statuses if status.build is not None}
        for build_id in sorted(here - stored - loaded):
            await asyncio.to_thread(self._store.drop_copy, build_id)
            log.info("build.copy_removed", build_id=build_id)
        for build_id in await asyncio.to_thread(self._store.evict, registered | loaded, self._limit):
            log.info("build.copy_evicted", build_id=build_id)
