"""When the manager's loop runs: at once, and then every so often."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from gridiron.errors import GridironError
from gridiron.manager.apply import ConfigApplier
from gridiron.manager.context import Context
from gridiron.manager.loop import Loop
from gridiron.manager.metrics.meters import Durations

log = structlog.get_logger()

LAG_INTERVAL = timedelta(seconds=1)


async def sweep_forever(context: Context, applier: ConfigApplier, loop: Loop, wake: asyncio.Event) -> None:
    """Sweep at once, then every `sweep_seconds` of the settings, and whenever `wake` is set.

    What fails is logged and left to the next round: the loop decides from what it sees, so that nothing is
    lost by missing one. Applying the configuration and tending the builds do not hold each other up.
    """
    while True:
        await _attempt(context, "config", applier.apply)
        await _attempt(context, "builds", loop.sweep)
        await _attempt(context, "uploads", lambda: asyncio.to_thread(context.intake.uploads.remove_old))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(context.settings.sweep_seconds):
                await wake.wait()
        wake.clear()


async def _attempt(context: Context, part: str, act: Callable[[], Awaitable[object]]) -> None:
    meters, began = context.meters, time.perf_counter()
    try:
        await act()
    except GridironError as error:
        log.warning("sweep.failed", part=part, code=error.code, reason=str(error))
        meters.rounds[part, "failed"] += 1
        meters.errors[error.code] += 1
    else:
        meters.rounds[part, "done"] += 1
        meters.succeeded_at[part] = context.now()
    meters.round_seconds[part].add(time.perf_counter() - began)


async def watch_lag(lag: Durations) -> None:
    """See again and again how much later this process comes to do something than it was due."""
    while True:
        due = time.perf_counter() + LAG_INTERVAL.total_seconds()
        await asyncio.sleep(LAG_INTERVAL.total_seconds())
        lag.add(max(time.perf_counter() - due, 0))
