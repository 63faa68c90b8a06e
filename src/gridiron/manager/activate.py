"""Activation: a bundle becomes a stored build, and Restate routes new invocations to it.

    stage      copy the source beside the builds, hashing it
    check      its digest is the one asked for; is this content active already?
    store      write metadata.json, sync, rename into place
    discover   Restate reads the build's services without registering it, which loads it into the cell that
               will serve it
    register   Restate makes it the newest for its services

A failure before the registration takes away what was made; the build that is active goes on. Where Restate
did not say whether it registered the build, the build stays: nothing is removed on an unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

import structlog

from gridiron.bundles.source import parse_source
from gridiron.bundles.store import Staged
from gridiron.errors import (
    ActivationFailed,
    ActivationInProgress,
    DigestMismatch,
    NoRestateService,
    RegistrationUnknown,
    RestateRejected,
    RestateUnavailable,
    ScriptFailed,
    WorkersUnavailable,
)
from gridiron.manager.api import Activated, ActivateRequest
from gridiron.manager.context import Context
from gridiron.manager.observe import fetch_known_observation
from gridiron.manager.registry import Record
from gridiron.manager.steps import Steps
from gridiron.model import Address, Build
from gridiron.restate.port import Discovered, DiscoveredService, Registered

log = structlog.get_logger()

T = TypeVar("T")

PATIENCE = timedelta(milliseconds=300)
"""How long Restate may read a build before the router is asked about it; a build loads in a tenth of that."""

NOT_A_RESTATE_ENDPOINT = frozenset({"META0003", "META0013"})
"""What Restate says of an endpoint that answers with a bad status, and of one that answers something else."""


@dataclass(frozen=True, slots=True)
class Active:
    """A build that Restate routes new invocations of some service to."""

    build: Build
    record: Record
    whole: bool  # of all its services, at its present address: activating it again would change nothing


@dataclass(frozen=True, slots=True)
class Live:
    """What Restate knows of a build in the end."""

    services: tuple[str, ...]
    deployment_id: str | None = None  # None: not registered
    protocol: str | None = None
    replaces: tuple[str, ...] = ()  # builds of this name that were active until now


class Activator:
    """The activations of this manager."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._running: dict[str, str] = {}  # name -> build id

    @property
    def activating(self) -> frozenset[str]:
        """The ids of the builds whose activation is under way."""
        return frozenset(self._running.values())

    async def activate(self, request: ActivateRequest) -> Activated:
        """Bring a bundle to life; see the module for the steps.

        The same content, variables included, that is already active under this name and version is left as
        it is (`unchanged`). Raises ActivationInProgress while another of this name runs, and
        ActivationFailed with the step and its cause.
        """
        with self._claim(request) as address:
            steps = Steps(str(address))
            async with alongside(self._fetch_active(request.name)) as asking:  # while the source is copied
                with steps.step("stage"):
                    source = parse_source(request.source)
                    staged = await asyncio.to_thread(self._context.store.stage, source)
                try:
                    with steps.step("check"):
                        build = plan_build(address, staged, request, self._context.now())
                        active = await asking
                    same = None if request.dry_run else find_same(build, active)
                    if same is not None:
                        live = Live(same.record.services, same.record.deployment_id, same.record.protocol)
                        return render_activated("unchanged", same.build, live, staged, steps)
                    with steps.step("store"):
                        await asyncio.to_thread(self._context.store.publish, staged, build)
                finally:
                    await asyncio.to_thread(self._context.store.discard, staged)
            return await self._go_live(build, staged, active, steps, dry_run=request.dry_run)

    @contextmanager
    def _claim(self, request: ActivateRequest) -> Iterator[Address]:
        """Hold the name for one activation."""
        if request.name in self._running:
            raise ActivationInProgress(request.name)
        timestamp = self._context.registry.take_timestamp(self._context.now())
        address = Address(name=request.name, version=request.version, timestamp=timestamp)
        self._running[request.name] = str(address)
        try:
            yield address
        finally:
            del self._running[request.name]

    async def _fetch_active(self, name: str) -> tuple[Active, ...]:
        """Find the builds of a name that are active now; raises what Restate and the disk raise.

        Restate says what is newest; which build that is stands in the registry. So this costs the same
        whatever else is registered.
        """
        builds = await asyncio.to_thread(self._context.store.list_builds_of, name)
        if not builds:
            return ()
        registry = self._context.registry
        if not registry.reconciled:
            registry.reconcile(await fetch_known_observation(self._context))
        newest = await self._context.restate.fetch_newest()
        return tuple(
            Active(build, record, whole=self._is_whole(build, record, newest))
            for build in builds
            if (record := registry.records.get(build.build_id)) is not None
            and record.deployment_id in newest.values()
        )

    def _is_whole(self, build: Build, record: Record, newest: Mapping[str, str]) -> bool:
        """Tell whether a build is newest for all its services, at the address that it has here now."""
        own = all(newest.get(service) == record.deployment_id for service in record.services)
        return own and record.uri == self._context.uri(build.address)

    async def _go_live(
        self, build: Build, staged: Staged, active: Collection[Active], steps: Steps, *, dry_run: bool
    ) -> Activated:
        try:
            with steps.step("discover"):
                discovered = await self._discover(build)
            if dry_run:
                await self._withdraw(build)
                live = Live(_service_names(discovered.services))
                return render_activated("dry_run", build, live, staged, steps)
            with steps.step("register"):
                registered = await self._register(build)
        except ActivationFailed as failure:
            if not isinstance(failure.cause, RegistrationUnknown):
                await self._withdraw(build)
            raise
        self._context.registry.remember(build.build_id, self._plan_record(build, registered, steps))
        log.info("build.activated", build_id=build.build_id, deployment_id=registered.deployment_id)
        live = Live(
            services=_service_names(registered.services),
            deployment_id=registered.deployment_id,
            protocol=registered.protocol,
            replaces=tuple(each.build.build_id for each in active),
        )
        return render_activated("activated", build, live, staged, steps)

    async def _discover(self, build: Build) -> Discovered:
        """Have Restate read the services, which loads the build.

        Raises ScriptFailed, NoRestateService, WorkersUnavailable, RestateRejected, RestateUnavailable.
        """
        async with alongside(self._context.restate.discover(self._context.uri(build.address))) as discovering:
            await asyncio.wait({discovering}, timeout=PATIENCE.total_seconds())
            if not discovering.done():  # Restate tries for seconds what the router knows to be hopeless
                await self._check_loads(build)
            try:
                discovered = await discovering
            except RestateRejected as refusal:
                await self._check_loads(build)  # the script's own error says more than Restate's
                if refusal.restate_code in NOT_A_RESTATE_ENDPOINT:
                    raise NoRestateService(refusal.reason) from refusal
                raise
        if not discovered.services:
            raise NoRestateService("its endpoint lists none")
        return discovered

    async def _check_loads(self, build: Build) -> None:
        """Raise ScriptFailed with the script's error, or WorkersUnavailable; nothing when the build loads."""
        problem = await self._context.cells.fetch_problem(build.address.path)
        if problem is None:
            return
        if problem.code == ScriptFailed.code:
            raise ScriptFailed(problem.detail)
        raise WorkersUnavailable(self._context.uri(build.address), problem.detail)

    async def _register(self, build: Build) -> Registered:
        metadata = {"build_id": build.build_id, "sha256": build.sha256}
        try:
            return await self._context.restate.register(self._context.uri(build.address), metadata)
        except RestateUnavailable as error:  # it may have arrived
            raise RegistrationUnknown(build.build_id, error.reason) from error

    def _plan_record(self, build: Build, registered: Registered, steps: Steps) -> Record:
        """Make what the registry keeps of a build that was just registered."""
        return Record(
            deployment_id=registered.deployment_id,
            uri=self._context.uri(build.address),
            services=_service_names(registered.services),
            protocol=registered.protocol,
            activated_at=self._context.now(),
            timings_ms=steps.timings_ms,
        )

    async def _withdraw(self, build: Build) -> None:
        """Take away a build that was stored and never registered."""
        try:
            await self._context.cells.unload(build.address.path)
        except WorkersUnavailable as error:
            # its address is never used again, so what stays loaded costs memory until the cell is replaced
            log.warning("build.not_unloaded", build_id=build.build_id, reason=str(error))
        await asyncio.to_thread(self._context.store.remove, build.build_id)


@asynccontextmanager
async def alongside(work: Coroutine[None, None, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run `work` beside what happens inside; it ends with that at the latest."""
    task = asyncio.create_task(work, name="alongside")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # its failure is told where it is awaited


def plan_build(address: Address, staged: Staged, request: ActivateRequest, now: datetime) -> Build:
    """Make the record of a build from what was staged and asked for. Raises DigestMismatch."""
    if request.sha256 not in {None, staged.sha256}:
        raise DigestMismatch(str(request.sha256), staged.sha256)
    return Build(
        name=address.name,
        version=address.version,
        timestamp=address.timestamp,
        created_at=now,
        source=request.source,
        sha256=staged.sha256,
        main=staged.manifest.main,
        modules=staged.modules,
        compatibility=staged.manifest.compatibility,
        vars={**staged.manifest.vars, **request.vars},
    )


def find_same(build: Build, active: Collection[Active]) -> Active | None:
    """Find the build with this version, content and variables that is active with all that it has."""
    for each in active:
        other = each.build
        if each.whole and (other.version, other.sha256, other.vars) == (
            build.version,
            build.sha256,
            build.vars,
        ):
            return each
    return None


def _service_names(services: Collection[DiscoveredService]) -> tuple[str, ...]:
    return tuple(sorted(service.name for service in services))


def render_activated(
    outcome: Literal["activated", "unchanged", "dry_run"],
    build: Build,
    live: Live,
    staged: Staged,
    steps: Steps,
) -> Activated:
    """Put the answer together."""
    return Activated(
        outcome=outcome,
        build_id=build.build_id,
        path=build.address.path,
        deployment_id=live.deployment_id,
        protocol=live.protocol,
        services=live.services,
        sha256=build.sha256,
        size=build.size,
        ignored=staged.ignored,
        replaces=live.replaces,
        timings_ms=steps.timings_ms,
    )
