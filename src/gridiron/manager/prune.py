"""Removal: what is drained is unregistered, unloaded from every cell, and in the end deleted.

In this order, whatever happens: an address that is registered and not served would pause the invocations
that Restate sends there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from gridiron.errors import BuildNotFound, GridironError, StorageFailed
from gridiron.lifecycle.observation import Observation, Unknown
from gridiron.lifecycle.plan import Removal, plan_prune, plan_prune_drained, plan_sweep, track_drained
from gridiron.lifecycle.states import BuildStatus, statuses_of
from gridiron.manager.api import Kept, Pruned, PruneOutcome, PruneRequest
from gridiron.manager.context import Context
from gridiron.manager.observe import fetch_observation
from gridiron.model import Build, State

log = structlog.get_logger()


class Pruner:
    """The removals of this manager: one at a time, and each looks again before it acts."""

    def __init__(self, context: Context, activating: Callable[[], Collection[str]]) -> None:
        self._context = context
        self._activating = activating
        # what one removal saw must hold until it is done: removing the newest makes another one newest
        self._removing = asyncio.Lock()

    async def sweep(self) -> PruneOutcome:
        """Look at all builds; remove what is drained past its grace, and files kept long enough.

        A removal that fails is in `kept` with the reason; the next sweep tries it again.
        """
        observation, statuses = await self.observe()
        registry, now = self._context.registry, self._context.now()
        registry.reconcile(observation)
        registry.mark_drained(track_drained(statuses, registry.drained_at, now))
        await self._unload_retired(statuses)
        return await self._remove_all(plan_sweep(statuses, registry.drained_at, self._context.policy, now))

    async def prune(self, request: PruneRequest) -> PruneOutcome:
        """Do what `request` asks for.

        Raises BuildNotFound, BuildInUse, DrainUnknown or ActivationInProgress for one build, and what its
        removal raises; of all drained builds, those whose removal failed are in `kept`.
        """
        _, statuses = await self.observe()
        if request.build_id is None:
            removals = plan_prune_drained(statuses, self._context.policy)
        else:
            removals = (plan_prune(find_status(statuses, request.build_id), force=request.force),)
        if request.dry_run:
            pruned = tuple(_pruned(removal) for removal in removals)
            return PruneOutcome(dry_run=True, pruned=pruned, kept=())
        if request.build_id is None:
            return await self._remove_all(removals)
        kept = await self._remove(removals[0], force=request.force)
        pruned = () if kept else (_pruned(removals[0]),)
        return PruneOutcome(dry_run=False, pruned=pruned, kept=(kept,) if kept else ())

    async def observe(self) -> tuple[Observation, tuple[BuildStatus, ...]]:
        """Look at all builds. Raises StorageFailed when the bundle directory cannot be read."""
        observation = await fetch_observation(self._context, self._activating)
        if isinstance(observation.builds, Unknown):
            raise StorageFailed("Reading", str(self._context.settings.bundles_dir), observation.builds.reason)
        return observation, statuses_of(observation.builds, observation)

    async def _unload_retired(self, statuses: Collection[BuildStatus]) -> None:
        """Unload what is still loaded though it is retired: a cell did not answer when it retired."""
        loaded = {
            build.path for builds in (await self._context.cells.fetch_loaded()).values() for build in builds
        }
        for status in statuses:
            if status.state is State.RETIRED and status.build.address.path in loaded:
                await self._context.cells.unload(status.build.address.path)

    async def _remove_all(self, removals: Collection[Removal]) -> PruneOutcome:
        """Carry removals out one after the other; one that fails does not hold up the others."""
        pruned, kept = [], []
        for removal in removals:
            try:
                stays = await self._remove(removal)
            except GridironError as error:
                build_id = removal.build.build_id
                log.warning("build.not_removed", build_id=build_id, code=error.code, reason=str(error))
                stays = Kept(build_id=build_id, state=State.UNKNOWN, reason=str(error))
            if stays is None:
                pruned.append(_pruned(removal))
            else:
                kept.append(stays)
        return PruneOutcome(dry_run=False, pruned=tuple(pruned), kept=tuple(kept))

    async def _remove(self, removal: Removal, *, force: bool = False) -> Kept | None:
        """Remove a build, unless it is by now in another state than it was planned for: then say which."""
        async with self._removing:
            if not force:
                status = await self._look_again(removal.build)
                planned_for = State.RETIRED if removal.deployment_id is None else State.DRAINED
                if status.state is not planned_for:
                    return Kept(build_id=removal.build.build_id, state=status.state, reason=status.reason)
            await self._carry_out(removal)
        return None

    async def _look_again(self, build: Build) -> BuildStatus:
        """Decide a build's state right before its removal: what was drained a moment ago may be needed."""
        observation = await fetch_observation(self._context, self._activating)
        return statuses_of([build], observation)[0]

    async def _carry_out(self, removal: Removal) -> None:
        build = removal.build
        if removal.deployment_id is not None:
            await self._context.restate.unregister(removal.deployment_id)
            log.info("build.unregistered", build_id=build.build_id, deployment_id=removal.deployment_id)
        await self._context.cells.unload(build.address.path)
        self._context.registry.forget(build.build_id)
        if removal.files:
            await asyncio.to_thread(self._context.store.remove, build.build_id)
            log.info("build.removed", build_id=build.build_id)


def find_status(statuses: Collection[BuildStatus], build_id: str) -> BuildStatus:
    """Find the status of one build. Raises BuildNotFound."""
    by_id: Mapping[str, BuildStatus] = {status.build.build_id: status for status in statuses}
    try:
        return by_id[build_id]
    except KeyError as error:
        raise BuildNotFound(build_id) from error


def _pruned(removal: Removal) -> Pruned:
    return Pruned(
        build_id=removal.build.build_id,
        unregistered=removal.deployment_id is not None,
        files_removed=removal.files,
    )
