"""The tokens of a cluster while a manager runs: what other nodes change of them is known here soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gridiron.access.tokens import TokenStore
from gridiron.errors import GridironError

log = structlog.get_logger()

PERIOD = timedelta(seconds=5)
"""Between two looks: for so long a token that another node has revoked is good here. It is one request of the
bucket each, 17,280 a day."""

PACE = timedelta(seconds=1)
"""Between two looks that somebody waits for: who sends tokens that are none has no more requests made."""


class TokenWatch:
    """Has a store of tokens look at its bucket."""

    def __init__(
        self,
        tokens: TokenStore,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Take the store; `monotonic` is in seconds, as what `sleep` is given."""
        self._tokens = tokens
        self._monotonic = monotonic
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._began = float("-inf")  # when that look began which was the last to end
        self._is_fresh = True  # whether it succeeded

    async def watch(self) -> None:
        """Look again and again, until this is cancelled."""
        while True:
            await self._sleep(PERIOD.total_seconds())
            await self.look()

    async def look(self) -> None:
        """Return when what was changed before this call is known; or, without the bucket, cannot be.

        All who wait share a look. It begins at once, or a second after the one before.
        """
        asked = self._monotonic()
        async with self._turn:
            if self._began > asked:
                return
            wait = self._began + PACE.total_seconds() - self._monotonic()
            if wait > 0:
                await self._sleep(wait)
            began = self._monotonic()
            await asyncio.to_thread(self._refresh)
            self._began = began

    def _refresh(self) -> None:
        try:
            fresh, reason = self._tokens.refresh(), "the bucket cannot be reached"
        except GridironError as error:  # a damaged document, a key that is gone: mended while this runs
            fresh, reason = False, str(error)
        if fresh != self._is_fresh:
            self._is_fresh = fresh
            if fresh:
                log.info("access.tokens_fresh")
            else:
                log.warning("access.tokens_not_fresh", reason=reason)
