"""Activation: a bundle becomes a stored build, and Restate routes new invocations to it.

    fetch      a source that is elsewhere comes to this disk, before it is the build's turn
    stage      compare its digest and signature, unpack or copy it beside the builds
    check      is this content active already?
    store      write metadata.json, sync, rename into place; in a cluster, claim its address before
    discover   Restate reads the build's services without registering it, which loads it into the cell that
               will serve it; in a cluster, it comes into the bucket meanwhile
    spread     in a cluster: the other nodes fetch it from there
    compare    whose are these services now, and what would change for their callers?
    register   the name's secrets are kept as the build has them; Restate makes it the newest for its services

A failure before the registration takes away what was made; the build that is active goes on. Where Restate
did not say whether it registered the build, the build stays, since nothing is removed on an unknown: the loop
settles it as soon as Restate says what it has. So it does with what a crash left half done.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal, TypeVar

import structlog

from gridiron.access.scopes import Caller
from gridiron.bundles.intake import Fetched, Wanted
from gridiron.bundles.source import HttpSource, S3Source, parse_source
from gridiron.bundles.staging import Staged
from gridiron.errors import (
    ActivationFailed,
    GridironError,
    RegistrationUnknown,
    RestateRejected,
    RestateUnavailable,
    RoutingUnknown,
    SignatureInvalid,
    SignatureMissing,
)
from gridiron.lifecycle.observation import Inventory, Mark
from gridiron.lifecycle.routing import (
    Allowed,
    Routing,
    Service,
    compare,
    find_newer,
    find_refusals,
    find_taken,
)
from gridiron.manager.activation import (
    Active,
    Before,
    Live,
    Turn,
    find_earlier,
    find_newest,
    find_same,
    names_of,
    plan_build,
    plan_rollback,
    render_activated,
    render_unchanged,
)
from gridiron.manager.api import Activated, ActivateRequest, NodeCopy, RollbackRequest, SecretChanged
from gridiron.manager.context import Context
from gridiron.manager.discover import alongside, check_loads, discover
from gridiron.manager.execute import Executor, name_turn, service_turns
from gridiron.manager.keeper import Keeper
from gridiron.manager.loop import Loop
from gridiron.manager.observe import Observer
from gridiron.manager.secrets import Change, find_missing, plan_change, plan_given
from gridiron.manager.steps import Report, Steps, accounting, report_nothing
from gridiron.manager.tolerate import tolerating
from gridiron.manager.turns import Turns
from gridiron.manager.verify import find_damage
from gridiron.model import Address, Build
from gridiron.restate.port import Registered
from gridiron.secrets.store import Secrets, Snapshot

log = structlog.get_logger()

SETTLE_LIMIT = timedelta(seconds=15)
"""How long after its client has gone a registration may still appear. Seen with Restate 1.7.12 are 11.4 s:
one that was being written then is in its metadata, which it reads every 10 s or with the next change."""

START_LIMIT = timedelta(seconds=10)
START_INTERVAL = timedelta(milliseconds=100)
CHANGING_LIMIT = timedelta(seconds=15)
"""How long, and how often, a Restate that is just starting is asked before an activation fails; and how long
a cluster of it, which has its leaders 3 to 9 s after a node has died."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What somebody wants activated."""

    request: ActivateRequest
    caller: Caller  # who it is

    @property
    def wanted(self) -> Wanted:
        request = self.request
        return Wanted(request.source, request.sha256, request.signature, self.caller.is_admin)

    @property
    def allowed(self) -> Allowed:
        request = self.request
        return Allowed(request.breaking, request.takeover, request.dry_run, self.caller.may_deploy)


class Activator:
    """The activations of this manager: those of one name in order, those of several names side by side."""

    def __init__(
        self, context: Context, observer: Observer, executor: Executor, turns: Turns, loop: Loop
    ) -> None:
        self._context = context
        self._loop = loop
        self._observer = observer
        self._executor = executor
        self._turns = turns
        self._keeper = Keeper(context.secrets)

    async def activate(
        self, request: ActivateRequest, caller: Caller, report: Report = report_nothing
    ) -> Activated:
        """Bring a bundle to life; see the module for the steps. Waits for others of this name.

        `caller` may deploy that name; what he may not do on the way is refused. `report` is told of each
        step. The same content, variables included, that is already active under this
        name and version is left as it is (`unchanged`), unless it lacks a signature that it has to have.
        Raises ActivationFailed with the step and its cause; RoutingUnknown where Restate does not even say
        what is registered.
        """
        with accounting("deploy", request.name, report, self._context) as steps:
            async with (
                self._arrival(request, steps) as fetched,
                self._turn(request.name) as turn,
            ):
                with self._claim(request.name, request.version) as address:
                    steps.build_id = str(address)
                    wish = _Wish(request, caller)
                    return await self._activate(wish, address, turn, fetched, steps)

    async def rollback(self, request: RollbackRequest) -> Activated:
        """Make the content of an earlier build active again, as a new build. Waits for others of this name.

        What that changes for callers is allowed. Raises as `activate` does, and BuildNotFound or
        NothingToRollBackTo.
        """
        with accounting("rollback", request.name, report_nothing, self._context) as steps:
            async with self._turn(request.name) as turn:
                before = await self._look_before(request.name, turn)
                earlier = find_earlier(request.name, before.builds, before.active, request.build_id)
                return await self._make_again(earlier, before, steps)

    async def change_secret(self, change: Change) -> SecretChanged:
        """Set or remove a secret of a name. Waits for activations of this name. Safe to repeat.

        The code of the name's active build becomes active again, as a new build with the secrets as they are
        then; where that fails, they are as before. Where no build is active, or where the active one requires
        secrets that are still to come, the change is kept for later. Raises as `activate` does, and
        SecretInvalid, SecretTooLarge, SecretNotFound, SecretsMissing, SecretIsVariable, SecretsUnreadable.
        """
        with accounting("secret", change.name, report_nothing, self._context) as steps:
            return await self._change_secret(change, steps)

    async def _change_secret(self, change: Change, steps: Steps) -> SecretChanged:
        async with self._turn(change.name) as turn:
            plan = partial(plan_change, change=change, now=self._context.now())
            before = await self._look_before(change.name, turn, plan)
            active = find_newest(before.active)
            missing = find_missing(active.build, before.wanted, change) if active else ()
            activated = None
            if active is None or missing or await self._has_secrets(active.build, before.wanted):
                await self._keeper.keep(change.name, before)
            else:
                activated = await self._make_again(active.build, before, steps)
            return SecretChanged(
                name=change.name,
                key=change.key,
                changed=before.wanted != before.kept,
                activated=activated,
                missing=missing,
            )

    async def _make_again(self, earlier: Build, before: Before, steps: Steps) -> Activated:
        """Make the content of a stored build active, as a new build, unless it is active already."""
        with self._claim(earlier.name, earlier.version) as address:
            steps.build_id = str(address)
            snapshot = await self._keeper.seal(address, before)
            build = plan_rollback(earlier, address, self._context.now(), snapshot)
            same = find_same(build, before.active)
            if same is not None and await self._is_whole(same.build):
                await self._keeper.keep(earlier.name, before)
                steps.outcome = "unchanged"
                return render_unchanged(same, (), steps.timings_ms)
            with steps.step("stage"):
                self._context.intake.check_again(earlier)
                staged = await asyncio.to_thread(self._context.store.stage_again, earlier)
            await self._store(staged, build, snapshot, steps)
            return await self._go_live(build, staged, before, steps, Allowed(breaking=True))

    async def settle(self) -> None:
        """For the start: leave alone what Restate may still register of what a manager before this one asked.

        Raises StorageFailed; in a cluster BucketUnavailable, BucketRefused.
        """
        inventory = await asyncio.to_thread(self._context.store.fetch_inventory)
        known = inventory.elsewhere | self._observer.activating
        for build_id, mark in inventory.marks.items():
            if mark is Mark.REGISTERING and build_id not in known:
                self._observer.activating.add(build_id)
                self._forget_later(build_id, SETTLE_LIMIT)

    def _forget_later(self, build_id: str, delay: timedelta) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(delay.total_seconds(), self._observer.activating.discard, build_id)

    async def _await_restate(self, ask: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Give what Restate answers as soon as it does: it may be starting, or a node may just have died."""
        while True:
            try:
                return await ask()
            except RestateUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(START_INTERVAL.total_seconds())

    async def _tend(self, deadline: float) -> str:
        """See to it that Restate has what it is to have; give its start.

        A cluster gets new leaders meanwhile, so that it may take some looks there until one is whole. Raises
        RestateUnavailable, and what `Loop.tend` raises.
        """
        while True:
            start = await self._await_restate(self._context.restate.fetch_start, deadline)
            try:
                await self._loop.tend(start)
            except RoutingUnknown:
                if not self._context.store.others_write or time.monotonic() > deadline:
                    raise
            else:
                return start
            await asyncio.sleep(START_INTERVAL.total_seconds())

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[Turn]:
        """Hold the turn of a name with a Restate that knows of every registration and has what it is to have.

        Whoever came first is first. Raises what `_tend` raises; in a cluster what taking a turn raises, and
        what reading the builds of the name does.
        """
        limit = CHANGING_LIMIT if self._context.store.others_write else START_LIMIT
        deadline = time.monotonic() + limit.total_seconds()  # from its arrival, not from its turn
        async with self._turns.hold(f"arrival {name}"):  # the loop may need the name's turn until the second
            start = await self._tend(deadline)
            async with self._turns.hold(name_turn(name)) as check:
                inventory = None
                if self._context.store.others_write:
                    inventory = await self._take_over(name)
                    await self._check_start(start)
                yield Turn(start, check, inventory)

    async def _take_over(self, name: str) -> Inventory:
        """Look at the builds of a name, whose turn is held, and write down what others have registered."""
        deadline = time.monotonic() + CHANGING_LIMIT.total_seconds()
        await self._await_restate(self._context.restate.catch_up, deadline)
        inventory, registrations = await asyncio.gather(
            asyncio.to_thread(self._context.store.fetch_inventory_of, name),
            self._context.restate.fetch_registrations(),
        )
        with tolerating("registry.not_written"):
            self._context.registry.refresh(inventory.builds, registrations)
        return inventory

    async def _check_start(self, start: str) -> None:
        """Raise RestateUnavailable where Restate was started since: it may have said too little."""
        if await self._context.restate.fetch_start() != start:
            raise RestateUnavailable(self._context.settings.restate_admin_url, "it was started anew")

    @contextmanager
    def _claim(self, name: str, version: str) -> Iterator[Address]:
        """Make an address, and keep the loop from its build meanwhile.

        Where Restate did not say whether it registered the build, that lasts for as long as it may still do.
        """
        timestamp = self._context.registry.take_timestamp(self._context.now())
        address = Address(name=name, version=version, timestamp=timestamp)
        build_id, delay = str(address), timedelta(0)
        self._observer.activating.add(build_id)
        try:
            with structlog.contextvars.bound_contextvars(build_id=build_id):
                yield address
        except ActivationFailed as failure:
            if isinstance(failure.cause, RegistrationUnknown):
                delay = SETTLE_LIMIT
            raise
        finally:
            self._forget_later(build_id, delay)

    async def _activate(
        self,
        wish: _Wish,
        address: Address,
        turn: Turn,
        fetched: Fetched | None,
        steps: Steps,
    ) -> Activated:
        request, allowed = wish.request, wish.allowed
        given = {key: value.get_secret_value() for key, value in request.secrets.items()}
        plan = partial(plan_given, given=given, now=self._context.now())
        async with alongside(
            self._look_before(request.name, turn, plan)
        ) as asking:  # while the source is copied
            with steps.step("stage"):
                report_size = partial(steps.report_size, "stage")
                staged = await self._context.admission.take_in(wish.wanted, report_size, fetched)
            async with self._discarding(staged):
                with steps.step("check"):
                    before = await asking
                    snapshot = await self._keeper.seal(address, before)
                    build = plan_build(address, staged, request, self._context.now(), snapshot)
        same = None if allowed.dry_run else find_same(build, before.active)
        if same is not None and self._is_vouched_for(same.build) and await self._is_whole(same.build):
            await asyncio.to_thread(self._context.store.discard, staged)
            await self._keeper.keep(request.name, before)
            steps.outcome = "unchanged"
            return render_unchanged(same, staged.ignored, steps.timings_ms)
        await self._store(staged, build, snapshot, steps)
        return await self._go_live(build, staged, before, steps, allowed)

    @asynccontextmanager
    async def _arrival(self, request: ActivateRequest, steps: Steps) -> AsyncIterator[Fetched | None]:
        """Fetch a source that is elsewhere; give None for any other.

        That may take long, and the name is free meanwhile. Raises SourceSchemeUnsupported, ActivationFailed.
        """
        source = parse_source(request.source)
        if not isinstance(source, HttpSource | S3Source):
            yield None
            return
        async with AsyncExitStack() as stack:
            with steps.step("fetch"):
                arrival = self._context.admission.arrival(source, partial(steps.report_size, "fetch"))
                fetched = await stack.enter_async_context(arrival)
            yield fetched

    def _is_vouched_for(self, build: Build) -> bool:
        """Tell whether a build could be activated again: one that lacks a signature may get it so."""
        try:
            self._context.intake.check_again(build)
        except (SignatureMissing, SignatureInvalid):
            return False
        return True

    async def _is_whole(self, build: Build) -> bool:
        """Tell whether the files of a build are what was stored: a damaged one is no reason to do nothing."""
        problem = await find_damage(self._context, build)
        if problem:
            log.warning("build.damaged", build_id=build.build_id, reason=problem)
        return not problem

    async def _has_secrets(self, build: Build, wanted: Secrets) -> bool:
        """Tell whether a build was made with exactly these secrets, and is as it was stored."""
        tag = await self._keeper.fetch_tag(build.name, wanted)
        return build.secrets_tag == tag and await self._is_whole(build)

    async def _store(self, staged: Staged, build: Build, snapshot: Snapshot, steps: Steps) -> None:
        async with self._discarding(staged):
            with steps.step("store"):
                await asyncio.to_thread(self._context.store.publish, staged, build, snapshot.sealed)

    @asynccontextmanager
    async def _discarding(self, staged: Staged) -> AsyncIterator[None]:
        """Remove what is staged where something fails, whatever it is.

        Not where this is cancelled: a thread may go on with it then.
        """
        try:
            yield
        except Exception:
            await asyncio.to_thread(self._context.store.discard, staged)
            raise

    async def _look_before(self, name: str, turn: Turn, plan: Callable[[Secrets], Secrets] = dict) -> Before:
        """Look at the builds and secrets of a name; raises what `plan`, Restate and the disk raise.

        Restate says what is newest; which build that is stands in the registry. So this costs the same
        whatever else is registered. `plan` says what the secrets are to become.
        """
        kept, builds = await asyncio.gather(
            asyncio.to_thread(self._context.secrets.fetch, name),
            self._list_builds(name, turn),
        )
        wanted = plan(kept)
        newest = await self._context.restate.fetch_newest() if builds else {}
        return Before(turn, builds, self._find_active(builds, newest), kept, wanted)

    async def _list_builds(self, name: str, turn: Turn) -> tuple[Build, ...]:
        inventory = turn.inventory
        if inventory is None:
            inventory = await asyncio.to_thread(self._context.store.fetch_inventory_of, name)
        return inventory.list_kept(name)

    def _find_active(self, builds: Collection[Build], newest: Mapping[str, str]) -> tuple[Active, ...]:
        services: dict[str, list[str]] = defaultdict(list)
        for service, deployment_id in sorted(newest.items()):
            services[deployment_id].append(service)
        records = self._context.registry.records
        return tuple(
            Active(
                build,
                record,
                services=tuple(services[record.deployment_id]),
                here=record.uri == self._context.uri(build.address),
            )
            for build in builds
            if (record := records.get(build.build_id)) is not None and record.deployment_id in services
        )

    async def _go_live(
        self, build: Build, staged: Staged, before: Before, steps: Steps, allowed: Allowed
    ) -> Activated:
        try:
            live = await self._route(build, before, steps, allowed)
            if allowed.dry_run:
                await self._executor.withdraw(build)
        except ActivationFailed as failure:
            if not isinstance(failure.cause, RegistrationUnknown):
                # the loop does it later
                with tolerating("build.not_withdrawn", GridironError, build_id=build.build_id):
                    await self._executor.withdraw(build)
            raise
        if not allowed.dry_run:
            log.info("build.activated", build_id=build.build_id, deployment_id=live.deployment_id)
        outcome: Literal["dry_run", "activated"] = "dry_run" if allowed.dry_run else "activated"
        steps.outcome, steps.deployment_id = outcome, live.deployment_id
        return render_activated(outcome, build, live, staged.ignored, before.active, steps.timings_ms)

    async def _route(self, build: Build, before: Before, steps: Steps, allowed: Allowed) -> Live:
        """Have Restate route to a build that is stored; a dry run ends before that."""
        async with alongside(self._share(build, allowed)) as sharing:
            with steps.step("discover"):
                discovered = await discover(self._context, build)
            services = names_of(discovered.services)
            copies = await self._spread(build, sharing, steps, allowed)
            async with self._turns.hold(*service_turns(services)):
                with steps.step("compare"):
                    routing = await self._compare(build, discovered.services, before, allowed)
                    refusals = find_refusals(routing, allowed)
                    if refusals and not allowed.dry_run:
                        raise refusals[0]
                if allowed.dry_run:
                    return Live(services, routing, refusals=refusals)
                with steps.step("register"):
                    before.turn.check()  # who has it by now may have activated what is to stay active
                    async with self._keeper.keeping(build.name, before):
                        registered = await self._register(build, steps, allowed)
        return Live(services, routing, registered.deployment_id, registered.protocol, copies=copies)

    async def _share(self, build: Build, allowed: Allowed) -> None:
        """Put a build into the bucket. Where this is cancelled, it ends when that has ended nevertheless.

        A thread cannot be stopped, and what is withdrawn must not be written any more.
        """
        if allowed.dry_run:
            return
        sharing = asyncio.create_task(asyncio.to_thread(self._context.store.share, build), name="share")
        try:
            await asyncio.shield(sharing)
        except asyncio.CancelledError:
            with tolerating("build.not_shared", GridironError, build_id=build.build_id):
                await sharing
            raise

    async def _spread(
        self, build: Build, sharing: asyncio.Task[None], steps: Steps, allowed: Allowed
    ) -> tuple[NodeCopy, ...]:
        """Have the other nodes fetch a build that is in the bucket; one that cannot does so when called."""
        if allowed.dry_run or not self._context.store.others_write:
            return ()
        with steps.step("spread"):
            await sharing
            return await self._context.spread(build.address)

    async def _compare(
        self, build: Build, offered: Collection[Service], before: Before, allowed: Allowed
    ) -> Routing:
        """Find what a registration would change, and whose services it would take.

        Raises RestateUnavailable, also when Restate was started since `before`: it may have said too little.
        RoutingUnknown where a build that began later was registered first and would be taken over: one of
        the same name was so by a node that had the turn when this one had lost it.
        """
        restate = self._context.restate
        held = await asyncio.gather(*(restate.fetch_holder(service.name) for service in offered))
        holders = {holder.service.name: holder for holder in held if holder is not None}
        own = {each.record.deployment_id for each in before.active}
        others = {service: one for service, one in holders.items() if one.deployment_id not in own}
        registrations = await restate.fetch_registrations() if others else ()
        taken = find_taken(build.name, others, registrations)
        # what Restate loses comes back in the order in which it began: a takeover must not come after these
        builds = [each for each in registrations if each.build_id is not None]
        newer = find_newer(build, {service: one.deployment_id for service, one in others.items()}, builds)
        if any(allowed.takeover or service not in taken for service in newer):
            raise RoutingUnknown(f"{', '.join(sorted(set(newer.values())))} was activated meanwhile")
        await self._check_start(before.turn.start)
        newest = find_newest(before.active)
        given_up = set(newest.services) - {service.name for service in offered} if newest else set()
        return Routing(compare(offered, holders, given_up), taken)

    async def _register(self, build: Build, steps: Steps, allowed: Allowed) -> Registered:
        # from here on, Restate may register the build whatever becomes of this process
        await asyncio.to_thread(self._context.store.mark, build.build_id, Mark.REGISTERING)
        try:
            return await self._executor.register(build, lambda: steps.timings_ms, breaking=allowed.breaking)
        except RestateUnavailable as error:  # it may have arrived
            raise RegistrationUnknown(build.build_id, error.reason) from error
        except RestateRejected:
            await check_loads(self._context, build)  # it was read once more, and workers may be gone by now
            raise
