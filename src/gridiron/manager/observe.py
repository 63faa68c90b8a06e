"""Observe: read the bundle directory and Restate into one immutable observation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gridiron.errors import Rejected, StorageFailed, Unavailable
from gridiron.lifecycle.observation import Observation, Unknown
from gridiron.manager.context import Context

T = TypeVar("T")


async def fetch_observation(context: Context) -> Observation:
    """Read all parts. A part that cannot be read is Unknown, with the reason; nothing raises.

    The demand is read last: an invocation that begins after the newest deployments were read begins on one
    of them, so whatever else is needed shows up in the demand (`RestatePort`).
    """
    began = context.now()
    async with asyncio.TaskGroup() as group:
        builds = group.create_task(
            _or_unknown(asyncio.to_thread(context.store.list_builds)), name="observe builds"
        )
        registrations = group.create_task(
            _or_unknown(context.restate.fetch_registrations()), name="observe registrations"
        )
        newest = group.create_task(_or_unknown(context.restate.fetch_newest()), name="observe newest")
    routing = newest.result()
    return Observation(
        builds=builds.result(),
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
        registrations=await context.restate.fetch_registrations(),
        newest=Unknown("not asked"),
        demand=Unknown("not asked"),
        observed_at=began,
    )
