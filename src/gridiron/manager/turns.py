"""Turns: what concerns one name, or one Restate service, is done one after the other, in order of arrival.

In a cluster some keys are taken for all of its managers: see `Everywhere`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

Check = Callable[[], None]
"""Raises LeaseLost where another manager may have the turn by now."""

Everywhere = Callable[[str], AbstractAsyncContextManager[Check]]
"""Takes the turn of a key for all managers of a cluster; one at a time of this manager asks for a key."""


@asynccontextmanager
async def alone(_key: str) -> AsyncIterator[Check]:
    """Take a turn where there is no other manager."""
    yield lambda: None


class Turns:
    """Locks by key, which are there only while somebody holds or awaits them."""

    def __init__(self, everywhere: Everywhere = alone) -> None:
        self._everywhere = everywhere
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    def taken(self, key: str) -> bool:
        """Tell whether somebody has or awaits the turn of a key."""
        return key in self._locks

    @asynccontextmanager
    async def hold(self, *keys: str) -> AsyncIterator[Check]:
        """Await the turn of each key, and keep them all. The order of the keys does not matter.

        Gives what tells whether they are still held. In a cluster raises LeaseTaken, BucketUnavailable,
        BucketRefused.
        """
        async with AsyncExitStack() as stack:
            # in one order for all, so that no two wait for each other
            checks = [await stack.enter_async_context(self._hold(key)) for key in sorted(set(keys))]

            def check() -> None:
                for each in checks:
                    each()

            yield check

    @asynccontextmanager
    async def _hold(self, key: str) -> AsyncIterator[Check]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock, self._everywhere(key) as check:
                yield check
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
