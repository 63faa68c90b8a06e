"""Observe: read the bundle directory and Restate into one immutable observation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from gridiron.errors import Rejected, StorageFailed, Unavailable
from gridiron.lifecycle.observation import Observation, Unknown
from gridiron.manager.context import Context

T = TypeVar("T")


async def fetch_observation(context: Context, activating: Callable[[], Collection[str]]) -> Observation:
    """Read all parts. A part that cannot be read is Unknown, with the reason; nothing raises.

    The order matters. A build that is stored and no longer activating was registered before its activation
    ended, so the registrations, read after both, have it. The demand is read last: an invocation that begins
    after the newest deployments were read begins on one of them, so whatever else is needed is in the demand.
    """
    began = context.now()
    builds = await _or_unknown(asyncio.to_thread(context.store.list_builds))
    under_way = frozenset(activating())
    async with asyncio.TaskGroup() as group:
        registrations = group.create_task(
            _or_unknown(context.restate.fetch_registrations()), name="observe registrations"
        )
        newest = group.create_task(_or_unknown(context.restate.fetch_newest()), name="observe newest")
    routing = newest.result()
    return Observation(
        builds=builds,
        activating=under_way,
        registrations=registrations.result(),
        newest=routing,
        # whoever does not say what is newest is not asked for more, and another time limit not waited for
        demand=routing if isinstance(routing, Unknown) else await _or_unknown(context.restate.fetch_demand()),
        observed_at=began,
    )


async def _or_unknown(reading: Awaitable[T]) -> T | Unknown:
    try:
        return await reading
    except (Unavailable, Rejected, StorageFailed) as error:
        return Unknown(str(error))


async def fetch_known_observation(context: Context) -> Observation:
    """Read what the registry is compared with, and raise where that cannot be read."""
    began = context.now()
    return Observation(
        builds=await asyncio.to_thread(context.store.list_builds),
        activating=frozenset(),
        registrations=await context.restate.fetch_registrations(),
        newest=Unknown("not asked"),
        demand=Unknown("not asked"),
        observed_at=began,
    )
