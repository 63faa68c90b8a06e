"""Turns: what concerns one name, or one Restate service, is done one after the other, in order of arrival."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class Turns:
    """Locks by key, which are there only while somebody holds or awaits them."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    def taken(self, key: str) -> bool:
        """Tell whether somebody has or awaits the turn of a key."""
        return key in self._locks

    @asynccontextmanager
    async def hold(self, *keys: str) -> AsyncIterator[None]:
        """Await the turn of each key, and keep them all. The order of the keys does not matter."""
        async with AsyncExitStack() as stack:
            for key in sorted(set(keys)):  # in one order for all, so that no two wait for each other
                await stack.enter_async_context(self._hold(key))
            yield

    @asynccontextmanager
    async def _hold(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
