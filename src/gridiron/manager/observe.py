"""Observe: read the bundle directory, Restate and the cells into one immutable observation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from gridiron.errors import Rejected, StorageFailed, Unavailable
from gridiron.lifecycle.observation import Demand, Inventory, Observation, Registration, Unknown
from gridiron.lifecycle.states import BuildStatus, lacks_builds, statuses_of
from gridiron.manager.context import Context
from gridiron.manager.holdoff import HoldOff
from gridiron.restate.port import RestatePort

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the world, and what it says of each build."""

    observation: Observation
    statuses: tuple[BuildStatus, ...]  # by timestamp


class Observer:
    """Looks at the world, and knows what cannot be read from it because it is under way here.

    `activating` holds the ids of the builds whose activation is, `failures` what the loop did not succeed
    with, `damage` what was found to be wrong with the modules of a build.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.activating: set[str] = set()
        self.failures = HoldOff()
        self.damage: dict[str, str] = {}
        self._inventory: Inventory | None = None  # that was read last
        self.last: Look | None = None
        """The last look; None before the first, and where that one failed."""
        self.seen_at: dict[str, datetime] = {}
        """When each part of an observation was last read."""

    async def look(self) -> Look:
        """Look at all builds. Raises StorageFailed when the bundle directory cannot be read.

        Where a cluster's bucket cannot, the states of the builds that were known are unknown.
        """
        observation = await self.observe()
        self._note(observation)
        inventory = observation.inventory
        if isinstance(inventory, Unknown):
            self.last = None
            return self._recall(observation, inventory)
        self._inventory = inventory
        self.last = Look(observation, statuses_of(inventory, observation))
        return self.last

    def _recall(self, observation: Observation, unknown: Unknown) -> Look:
        """Give the builds that there were, each in an unknown state, where a cluster's bucket is away.

        They are here, and serve. Raises StorageFailed for what is on this disk: that is away itself.
        """
        if self._inventory is None or not self._context.store.others_write:
            raise StorageFailed("Reading", self._context.store.place, unknown.reason)
        blind = replace(observation, registrations=unknown, newest=unknown, demand=unknown)
        return Look(blind, statuses_of(self._inventory, blind))

    def _note(self, seen: Observation) -> None:
        parts = {
            "bundles": seen.inventory,
            "registrations": seen.registrations,
            "routing": seen.newest,
            "invocations": seen.demand,
            "cells": seen.loaded,
        }
        now = self._context.now()
        self.seen_at.update({part: now for part, value in parts.items() if not isinstance(value, Unknown)})

    async def observe(self) -> Observation:
        """Read all parts, and once more where a build came to be after the inventory was read."""
        seen = await self._observe()
        return await self._observe() if lacks_builds(seen) else seen

    async def _observe(self) -> Observation:
        """Read all parts. A part that cannot be read is Unknown, with the reason; nothing raises.

        The order matters. A build that is stored and no longer activating was registered before its
        activation ended, so the registrations, read after both, have it. The demand is read last: an
        invocation that begins after the newest deployments were read begins on one of them, so whatever else
        is needed is in the demand.
        """
        context = self._context
        remembered = frozenset(context.registry.records)
        inventory = await _or_unknown(asyncio.to_thread(context.store.fetch_inventory))
        elsewhere = frozenset() if isinstance(inventory, Unknown) else inventory.elsewhere
        under_way = elsewhere | self.activating
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(_fetch_said(context.restate), name="observe Restate")
            loaded = group.create_task(_or_unknown(_fetch_loaded(context)), name="observe cells")
        said = asking.result()
        return Observation(
            inventory=inventory,
            activating=under_way,
            registrations=said.registrations,
            newest=said.newest,
            demand=said.demand,
            loaded=loaded.result(),
            incarnation=said.incarnation,
            remembered=remembered,
            failures=self.failures.reasons,
            held_off=self.failures.held_off,
            damage=dict(self.damage),
        )


@dataclass(frozen=True, slots=True)
class _Said:
    """What Restate said."""

    registrations: tuple[Registration, ...] | Unknown
    newest: Mapping[str, str] | Unknown
    demand: Mapping[str, Demand] | Unknown
    incarnation: str | None = None


async def _fetch_said(restate: RestatePort) -> _Said:
    """Ask Restate for all that it knows. All of it is unknown where it started while it was asked."""
    before = await _or_unknown(restate.fetch_incarnation())
    if isinstance(before, Unknown):
        return _Said(before, before, before)
    async with asyncio.TaskGroup() as group:
        listing = group.create_task(_or_unknown(restate.fetch_registrations()), name="observe registrations")
        routing = group.create_task(_or_unknown(restate.fetch_newest()), name="observe newest")
    registrations, newest = listing.result(), routing.result()
    if not _agree(registrations, newest):  # one of them is older than the other
        registrations = await _or_unknown(restate.fetch_registrations())
    if not _agree(registrations, newest):
        registrations = Unknown("Restate routes to deployments that it does not list")
    # whoever does not say what is newest is not asked for more, and no other time limit waited for
    demand = newest if isinstance(newest, Unknown) else await _or_unknown(restate.fetch_demand())
    after = await _or_unknown(restate.fetch_incarnation())
    if after == before:
        return _Said(registrations, newest, demand, before)
    restarted = after if isinstance(after, Unknown) else Unknown("Restate was started anew")
    return _Said(restarted, restarted, restarted)


def _agree(registrations: tuple[Registration, ...] | Unknown, newest: Mapping[str, str] | Unknown) -> bool:
    """Tell whether all that is newest is registered, as far as both are known."""
    if isinstance(registrations, Unknown) or isinstance(newest, Unknown):
        return True
    return {each.deployment_id for each in registrations}.issuperset(newest.values())


async def _fetch_loaded(context: Context) -> frozenset[str]:
    cells = await context.cells.fetch_loaded()
    return frozenset(build.path for builds in cells.values() for build in builds)


async def _or_unknown(reading: Awaitable[T]) -> T | Unknown:
    try:
        return await reading
    except (Unavailable, Rejected, StorageFailed) as error:
        return Unknown(str(error))
