"""The secrets of a name while it is activated: sealed into the build, and kept as the build has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from gridiron.errors import GridironError, RegistrationUnknown
from gridiron.manager.activation import Before
from gridiron.manager.tolerate import tolerating
from gridiron.model import Address
from gridiron.secrets.store import Secrets, SecretStore, Snapshot


class Keeper:
    """Does with the store of secrets what an activation needs.

    Every method raises StorageFailed; in a cluster BucketUnavailable, BucketRefused, and ObjectChanged where
    another node has changed the secrets of the name since they were read.
    """

    def __init__(self, secrets: SecretStore) -> None:
        self._secrets = secrets

    async def fetch_tag(self, name: str, wanted: Secrets) -> str | None:
        """Give the tag of a build of this name that has exactly these secrets."""
        return await asyncio.to_thread(self._secrets.fetch_tag, name, wanted)

    async def seal(self, address: Address, before: Before) -> Snapshot:
        """Give what a build at this address is to have of them."""
        return await asyncio.to_thread(self._secrets.snapshot, str(address), address.name, before.wanted)

    async def keep(self, name: str, before: Before) -> None:
        """Keep the secrets of a name as they are wanted. Safe to repeat."""
        if before.wanted != before.kept:
            await asyncio.to_thread(self._secrets.replace, name, before.wanted, before.kept)

    @asynccontextmanager
    async def keeping(self, name: str, before: Before) -> AsyncIterator[None]:
        """Keep the secrets of a name as wanted while it is registered; as before where that fails.

        After a crash in between they are kept: the next change or activation brings them to life.
        """
        try:
            await self.keep(name, before)
            yield
        except RegistrationUnknown:
            raise
        except GridironError:
            # what kept them from being registered is what to tell
            with tolerating("secrets.not_restored", GridironError, name=name):
                await self.keep(name, replace(before, kept=before.wanted, wanted=before.kept))
            raise
