"""The loop: observe, plan, execute. What the sweep does by itself and what `prune` asks for go through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gridiron.errors import RoutingUnknown
from gridiron.lifecycle.draining import track_draining
from gridiron.lifecycle.observation import Unknown
from gridiron.lifecycle.plan import (
    Action,
    Register,
    Remove,
    plan,
    plan_prune,
    plan_prune_drained,
    plan_repairs,
    track_drained,
)
from gridiron.manager.api import Kept, Pruned, PruneOutcome, PruneRequest
from gridiron.manager.context import Context
from gridiron.manager.execute import Executor, Result
from gridiron.manager.observe import Look, Observer
from gridiron.manager.tolerate import tolerating
from gridiron.manager.verify import Verifier
from gridiron.model import State
from gridiron.restate.incarnation import start_of


class Loop:
    """Brings the builds of this manager to where they should be."""

    def __init__(self, context: Context, observer: Observer, executor: Executor) -> None:
        self._context = context
        self._observer = observer
        self._executor = executor
        self._verifier = Verifier(context, observer)
        self._tended: str | None = None  # the start of Restate that has all that it is to have
        self.swept_at = time.monotonic()
        """When a round last went through; at first when this was made. In seconds of the monotonic clock."""

    async def sweep(self) -> PruneOutcome:
        """Do one round: see `gridiron.lifecycle.plan.plan`. What fails is held off, and tried again later.

        Raises StorageFailed when the bundle directory cannot be read.
        """
        self._observer.failures.begin_round()
        look = await self._observer.look()
        self._record(look)
        await self._verifier.verify_some(look)  # before any of it is removed
        results = await self._executor.carry_out(look, self._plan)
        self._note_tended(look, results)
        present = {status.build_id for status in look.statuses} | {status.path for status in look.statuses}
        self._observer.failures.keep({each for each in present if each is not None})
        self.swept_at = time.monotonic()
        return _outcome(results)

    async def tend(self, start: str) -> None:
        """See to it that this start of Restate has what it is to have, before anything new is registered.

        It may have lost its data: what is registered then must not come before what was. Costs nothing for a
        start that was tended before. Raises RoutingUnknown where that cannot be, StorageFailed; in a cluster
        BucketUnavailable and BucketRefused.
        """
        if self._tended == start:
            return
        look = await self._look_for_routing()
        results = await self._executor.carry_out(look, lambda again: plan_repairs(again.statuses))
        self._note_tended(look, results)
        if self._tended != start:
            failures = [result.reason for result in results if result.failed_for_now]
            raise RoutingUnknown("; ".join(failures) or "Restate was started anew")

    async def _look_for_routing(self) -> Look:
        """Look, and write down what was seen, where Restate says what it has. Raises as `tend` does."""
        look = await self._observer.look()
        self._record(look)
        if isinstance(look.observation.inventory, Unknown):  # of a cluster, or the look would have failed
            await asyncio.to_thread(self._context.store.fetch_inventory)  # which raises why
        if isinstance(look.observation.registrations, Unknown):
            raise RoutingUnknown(look.observation.registrations.reason)
        return look

    def _note_tended(self, look: Look, results: Sequence[Result]) -> None:
        incarnation = look.observation.incarnation
        if incarnation is None or isinstance(look.observation.registrations, Unknown):
            return
        repairs = (result for result in results if isinstance(result.action, Register))
        if not any(result.failed_for_now for result in repairs):
            self._tended = start_of(incarnation)

    async def prune(self, request: PruneRequest) -> PruneOutcome:
        """Do what `request` asks for.

        Raises BuildNotFound, BuildInUse, DrainUnknown or ActivationInProgress for one build, and what its
        removal raises; of all drained builds, those whose removal failed are in `kept`.
        """

        def decide(look: Look) -> tuple[Action, ...]:
            if request.build_id is None:
                return plan_prune_drained(look.statuses, self._context.policy)
            return plan_prune(look.statuses, request.build_id, force=request.force)

        look = await self._observer.look()
        if request.dry_run:
            would = tuple(_pruned(action) for action in decide(look) if isinstance(action, Remove))
            return PruneOutcome(dry_run=True, pruned=would, kept=())
        results = await self._executor.carry_out(look, decide)
        if request.build_id is not None:
            for result in results:
                if result.error is not None:
                    raise result.error
        return _outcome(results)

    def _plan(self, look: Look) -> tuple[Action, ...]:
        context = self._context
        return plan(look.observation, context.registry.drained_at, context.policy, context.now())

    def _record(self, look: Look) -> None:
        """Write down what a look has shown; a cache that cannot be written holds nothing up."""
        registry = self._context.registry
        with tolerating("registry.not_written"):
            registry.reconcile(look.observation)
        with tolerating("registry.not_written"):
            registrations, now = look.observation.registrations, self._context.now()
            known = () if isinstance(registrations, Unknown) else registrations
            registry.track(
                track_draining(look.statuses, known, registry.draining_at, now),
                track_drained(look.statuses, registry.drained_at, now),
            )


def _outcome(results: Sequence[Result]) -> PruneOutcome:
    removals = [(result, result.action) for result in results if isinstance(result.action, Remove)]
    return PruneOutcome(
        dry_run=False,
        pruned=tuple(_pruned(action) for result, action in removals if result.done),
        kept=tuple(kept for result, _ in removals if (kept := _kept(result)) is not None),
    )


def _pruned(action: Remove) -> Pruned:
    return Pruned(
        build_id=action.build_id,
        unregistered=action.deployment_id is not None,
        files_removed=action.files,
    )


def _kept(result: Result) -> Kept | None:
    """Say why a build stayed; None for one that went, by this or meanwhile."""
    if result.error is None and result.stays is None:
        return None
    state = State.UNKNOWN if result.stays is None else result.stays.state
    return Kept(build_id=result.action.subject, state=state, reason=result.reason)
