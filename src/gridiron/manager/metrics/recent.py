"""Readings of what may be slow or away, made in the background, so that nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from gridiron.errors import Unavailable

T = TypeVar("T")

INTERVAL = timedelta(seconds=2)
"""Between two readings: well below the time between two scrapes."""

STALE = timedelta(seconds=10)
"""How old a reading may be; what has not been read for longer is unknown."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What was read, and when."""

    value: T
    at: datetime


class Recent(Generic[T]):
    """A reading that is made again and again."""

    def __init__(self, read: Callable[[], Awaitable[T]], now: Callable[[], datetime]) -> None:
        self._read = read
        self._now = now
        self._last: Reading[T] | None = None

    @property
    def last(self) -> Reading[T] | None:
        """The last reading; None where it failed or is too old."""
        return self._last if self._last and self._now() - self._last.at <= STALE else None

    async def renew(self) -> None:
        """Read once."""
        try:
            self._last = Reading(await self._read(), self._now())
        except Unavailable:
            self._last = None

    async def keep(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(INTERVAL.total_seconds())
