"""When the manager's loop runs: at once, and then every so often."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from gridiron.errors import GridironError
from gridiron.manager.context import Context
from gridiron.manager.metrics.meters import Durations

log = structlog.get_logger()

LAG_INTERVAL = timedelta(seconds=1)


Part = tuple[str, Callable[[], Awaitable[object]]]
"""What a round does, and its name in logs and metrics."""


async def sweep_forever(context: Context, parts: Sequence[Part], wake: asyncio.Event) -> None:
    """Sweep at once, then every `sweep_seconds` of the settings, and whenever `wake` is set.

    What fails is logged and left to the next round: each part decides from what it sees, so that nothing is
    lost by missing one. The parts of a round do not hold each other up.
    """
    while True:
        for name, act in parts:
            await _attempt(context, name, act)
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
