"""What is remembered of streams that broke off and of cells that died, to find the build behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

from gridiron.workers.culprits import (
    Cut,
    Death,
    find_culprit,
    forget_old,
    is_about_stream,
    parse_cut,
    without_culprit,
)

SETTLE = timedelta(milliseconds=150)
"""How long HAProxy's last words about a cell may be on their way: its output is read every 50 ms."""

MOST_CUTS = 10_000
"""Streams that are remembered; a cell that died has had fewer, as HAProxy may have no more connections."""


class Suspicion:
    """Reads HAProxy's log, and judges when a cell has died."""

    def __init__(self) -> None:
        self._cuts: deque[tuple[float, Cut]] = deque(maxlen=MOST_CUTS)
        self._deaths: tuple[Death, ...] = ()

    def read(self, line: str) -> bool:
        """Take a line of HAProxy's; False when it is for people."""
        if not is_about_stream(line):
            return False
        if (cut := parse_cut(line)) is not None:
            self._cuts.append((asyncio.get_running_loop().time(), cut))
        return True

    async def find_suspects(self, cell: str, since: float) -> frozenset[str]:
        """Say which builds were in flight in a cell that ended at a time of the loop's clock."""
        await asyncio.sleep(SETTLE.total_seconds())
        return frozenset(cut.key for at, cut in self._cuts if cut.cell == cell and at >= since)

    def find_culprit(self, suspects: frozenset[str]) -> str | None:
        """Take note of a death, and say which of its suspects must have brought it about, if any."""
        if not suspects:
            return None
        now = asyncio.get_running_loop().time()
        self._deaths = (*forget_old(self._deaths, now), Death(now, suspects))
        culprit = find_culprit(self._deaths)
        if culprit is not None:
            self._deaths = without_culprit(self._deaths, culprit)
        return culprit
