"""Discover: have Restate read the services of a stored build, and say who is to blame where it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from gridiron.errors import (
    NoRestateService,
    RestateRejected,
    RestateUnavailable,
    ScriptFailed,
    SecretsUnreadable,
    WorkersUnavailable,
)
from gridiron.manager.context import Context
from gridiron.model import Build
from gridiron.restate.port import Discovered
from gridiron.workers.cells import NO_ANSWER, Problem

T = TypeVar("T")

PATIENCE = timedelta(milliseconds=300)
"""How long Restate may read a build before the router is asked about it; a build loads in a tenth of that."""

NOT_A_RESTATE_ENDPOINT = frozenset({"META0003", "META0013"})
"""What Restate says of an endpoint that answers with a bad status, and of one that answers something else."""


async def discover(context: Context, build: Build) -> Discovered:
    """Have Restate read the services of a build, which loads it.

    Raises ScriptFailed, NoRestateService, RestateRejected or StorageFailed where it is the build's fault;
    WorkersUnavailable or RestateUnavailable where it is not, and may be over the next time.
    """
    async with alongside(context.restate.discover(context.uri(build.address))) as discovering:
        await asyncio.wait({discovering}, timeout=PATIENCE.total_seconds())
        if not discovering.done():  # Restate tries for seconds what the router knows to be hopeless
            await check_loads(context, build)
        try:
            discovered = await discovering
        except RestateRejected as refusal:
            await check_loads(context, build)  # the script's own error says more than Restate's
            if refusal.restate_code in NOT_A_RESTATE_ENDPOINT:
                raise NoRestateService(refusal.reason) from refusal
            raise
        except RestateUnavailable as silence:
            if (problem := await check_loads(context, build)) is not None:  # what Restate waited for
                raise NoRestateService(problem.detail) from silence
            raise
    if not discovered.services:
        raise NoRestateService("its endpoint lists none")
    return discovered


async def check_loads(context: Context, build: Build) -> Problem | None:
    """Ask the workers for a build; give its problem where it loads and answers too late, else None.

    Raises ScriptFailed with the script's error; SecretsUnreadable where its secrets do not open;
    StorageFailed where its files are not what was stored; WorkersUnavailable where it is the workers' fault
    that it does not load.
    """
    problem = await context.cells.fetch_problem(build.address.path)
    if problem is None or problem.code == NO_ANSWER:
        return problem
    if problem.code == ScriptFailed.code:
        raise ScriptFailed(problem.detail)
    if problem.code == SecretsUnreadable.code:
        raise SecretsUnreadable(build.build_id, problem.detail)
    await asyncio.to_thread(context.store.verify, build)
    raise WorkersUnavailable(context.uri(build.address), problem.detail)


@asynccontextmanager
async def alongside(work: Coroutine[None, None, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` beside what happens inside; it ends with that at the latest."""
    task = asyncio.create_task(work, name="alongside")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # its failure is told where it is awaited
