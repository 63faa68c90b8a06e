"""An activation as server-sent events: how far it has come, and in the end its outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from pydantic import BaseModel

from gridiron.errors import GridironError
from gridiron.manager.api import Activated, Problem, Progress
from gridiron.manager.http.problems import render_problem, render_unexpected
from gridiron.manager.steps import Report

log = structlog.get_logger()

Event = tuple[str, BaseModel]


def follow(
    activate: Callable[[Report], Awaitable[Activated]], errors: Counter[str], tasks: asyncio.TaskGroup
) -> AsyncIterator[str]:
    """Begin an activation as one of `tasks`, and give its events as text.

    `progress` events come with a Progress; the last event is `activated` with an Activated, or `problem`
    with a Problem, whose code is counted in `errors`. The activation goes on to its end although nobody may
    be listening any more.
    """
    events: asyncio.Queue[Event] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def report(progress: Progress) -> None:
        loop.call_soon_threadsafe(events.put_nowait, ("progress", progress))

    tasks.create_task(_run(activate, report, events, errors), name="activate")
    return _render(events)


async def _run(
    activate: Callable[[Report], Awaitable[Activated]],
    report: Report,
    events: asyncio.Queue[Event],
    errors: Counter[str],
) -> None:
    try:
        outcome: Event = ("activated", await activate(report))
    except GridironError as error:
        problem = render_problem(error)
        log.info("activation.failed", step=problem.step, code=problem.code, build_id=problem.build_id)
        outcome = ("problem", _count(problem, errors))
    except Exception:
        log.exception("activation.crashed")
        outcome = ("problem", _count(render_unexpected(), errors))
    await asyncio.sleep(0)  # what was reported before is in the queue then
    events.put_nowait(outcome)


def _count(problem: Problem, errors: Counter[str]) -> Problem:
    errors[problem.code] += 1
    return problem


async def _render(events: asyncio.Queue[Event]) -> AsyncIterator[str]:
    kind = "progress"
    while kind == "progress":
        kind, value = await events.get()
        yield f"event: {kind}\ndata: {value.model_dump_json()}\n\n"
