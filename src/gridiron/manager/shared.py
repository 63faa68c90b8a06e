"""One reading for all who ask at once: what many clients cost is then what one costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Reads again and again, one reading at a time.

    Whoever asks is given a reading that was begun after that, as if it were made for them alone: those who
    ask while one is under way share the next.
    """

    def __init__(self, name: str, read: Callable[[], Awaitable[T]]) -> None:
        self._name = name
        self._read = read
        self._under_way: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Give a reading; raises what it raised. Whoever gives up leaves it to the others."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._under_way), name=self._name)
            self._next.add_done_callback(_hear)
        return await asyncio.shield(self._next)

    async def _read_after(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait({before})
        self._under_way, self._next = self._next, None
        return await self._read()


def _hear(reading: asyncio.Task[T]) -> None:
    """Take note of a failure: everybody who would may have given up."""
    if not reading.cancelled():
        reading.exception()
