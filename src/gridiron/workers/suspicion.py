"""What is remembered of streams that broke off and of cells that died, to find the build behind it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from gridiron.workers.culprits import (
    Cut,
    Death,
    choose_unproven,
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be made of a cell's death: keys of builds."""

    culprit: str | None  # it must have brought the cell down
    unproven: frozenset[str]  # they may have, and are to show it by themselves


class Suspicion:
    """Reads HAProxy's log, and judges when a cell has died."""

    def __init__(self) -> None:
        self._cuts: deque[tuple[float, Cut]] = deque(maxlen=MOST_CUTS)
        self._deaths: tuple[Death, ...] = ()
        self._proven: set[str] = set()  # builds that have answered much

    def read(self, line: str) -> bool:
        """Take a line of HAProxy's; False when it is for people."""
        if not is_about_stream(line):
            return False
        if (cut := parse_cut(line)) is not None:
            self._cuts.append((asyncio.get_running_loop().time(), cut))
        return True

    def trust(self, keys: Iterable[str]) -> None:
        """Take builds for proven from now on."""
        self._proven.update(keys)

    def forget(self, key: str) -> None:
        """Take a build for new again."""
        self._proven.discard(key)

    async def investigate(self, cell: str, own: str | None, ended_at: float) -> Verdict:
        """Take note that a cell ended, by the loop's clock, and judge; `own` is all that it served."""
        suspects = frozenset({own} if own else await self.await_cuts(cell, ended_at))
        culprit = self._find_culprit(suspects)
        is_open = culprit is None and own is None
        return Verdict(culprit, choose_unproven(suspects, self._proven) if is_open else frozenset())

    async def await_cuts(self, cell: str, since: float) -> tuple[str, ...]:
        """Give the build of each stream that a cell has broken off since then, by the loop's clock.

        Waits for HAProxy's last words about it.
        """
        await asyncio.sleep(SETTLE.total_seconds())
        return tuple(cut.key for at, cut in self._cuts if cut.cell == cell and at >= since)

    def _find_culprit(self, suspects: frozenset[str]) -> str | None:
        if not suspects:
            return None
        now = asyncio.get_running_loop().time()
        self._deaths = (*forget_old(self._deaths, now), Death(now, suspects))
        culprit = find_culprit(self._deaths)
        if culprit is not None:
            self._deaths = without_culprit(self._deaths, culprit)
        return culprit
