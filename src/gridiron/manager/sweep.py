"""When the manager's loop runs: at once, and then every so often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gridiron.bundles.uploads import Uploads
from gridiron.errors import GridironError
from gridiron.manager.apply import ConfigApplier
from gridiron.manager.loop import Loop

log = structlog.get_logger()


async def sweep_forever(applier: ConfigApplier, loop: Loop, uploads: Uploads, sweep_seconds: float) -> None:
    """Sweep at once and then every `sweep_seconds`.

    What fails is logged and left to the next round: the loop decides from what it sees, so that nothing is
    lost by missing one. Applying the configuration and tending the builds do not hold each other up.
    """
    while True:
        await _attempt("config", applier.apply)
        await _attempt("builds", loop.sweep)
        await _attempt("uploads", lambda: asyncio.to_thread(uploads.remove_old))
        await asyncio.sleep(sweep_seconds)


async def _attempt(part: str, act: Callable[[], Awaitable[object]]) -> None:
    try:
        await act()
    except GridironError as error:
        log.warning("sweep.failed", part=part, code=error.code, reason=str(error))
