"""Settings that are written anew while a manager runs: taken up on a signal, all at once or not at all."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import structlog

from gridiron.errors import GridironError
from gridiron.manager.context import Context
from gridiron.process.events import configure_logging
from gridiron.settings import Settings, find_changes

log = structlog.get_logger()


async def reload_forever(
    context: Context, load: Callable[[], Settings], hung_up: asyncio.Event, wake: asyncio.Event
) -> None:
    """Read the settings anew each time `hung_up` is set, then set `wake`, which has the loop look at once."""
    while True:
        await hung_up.wait()
        hung_up.clear()
        await asyncio.to_thread(reload, context, load)
        wake.set()


def reload(context: Context, load: Callable[[], Settings]) -> None:
    """Take up what is written now. Safe to repeat.

    Where it cannot be used, all stays as it is and the log says why. Which settings changed is logged, and
    not their values: one of them may be a secret.
    """
    running = context.settings
    try:
        written = load()
        context.take_up(written)
    except GridironError as error:
        log.error("settings.not_reloaded", code=error.code, reason=str(error))  # noqa: TRY400 - it says it all
        return
    changes = find_changes(running, written)
    if "log_level" in changes.live:
        configure_logging("manager", context.settings, sys.stderr)
    log.info("settings.reloaded", changed=list(changes.live))
    if changes.restart:
        log.warning("settings.need_restart", changed=list(changes.restart))
