"""The manager's loop: every so often, look at everything and remove what nothing needs."""

from __future__ import annotations

import asyncio

import structlog

from gridiron.errors import GridironError
from gridiron.manager.apply import apply_config
from gridiron.manager.context import Context
from gridiron.manager.prune import Pruner
from gridiron.toolchain.programs import Toolchain

log = structlog.get_logger()


async def sweep_forever(context: Context, pruner: Pruner, toolchain: Toolchain) -> None:
    """Sweep at once and then every `sweep_seconds`.

    A failed sweep is logged and leaves everything to the next: the loop decides from what it sees, so that
    nothing is lost by missing one.
    """
    while True:
        try:
            await apply_config(context.settings, toolchain)
            outcome = await pruner.sweep()
            for pruned in outcome.pruned:
                log.info("sweep.pruned", **pruned.model_dump())
        except GridironError as error:
            log.warning("sweep.failed", code=error.code, reason=str(error))
        await asyncio.sleep(context.settings.sweep_seconds)
