"""Execute: carry out what was planned, one action at a time.

Each is safe to repeat, and is decided once more on a fresh look right before it is done: what was drained a
moment ago may be needed. A removal unregisters first, unloads second and deletes last, whatever happens: an
address that is registered and not served would pause the invocations that Restate sends there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import structlog

from gridiron.errors import (
    ActivationInProgress,
    GridironError,
    RegistrationLost,
    Unavailable,
)
from gridiron.lifecycle.observation import BUILD_KEY, STORE_KEY, Mark
from gridiron.lifecycle.plan import Action, Register, Remove, Settle, Unload
from gridiron.lifecycle.routing import describe_owners, find_outranking
from gridiron.lifecycle.states import BuildStatus
from gridiron.manager.context import Context
from gridiron.manager.discover import discover
from gridiron.manager.observe import Look, Observer
from gridiron.manager.registry import Record
from gridiron.manager.tolerate import tolerating
from gridiron.manager.turns import Check, Turns
from gridiron.model import Build, State
from gridiron.restate.port import Registered

log = structlog.get_logger()

NAME_TURN = "name "
REMOVAL = "removal"
"""The key of the turn of whoever removes a build: what he saw of the others has to hold until it is done."""

MAX_REGISTRATIONS = 4
"""Registrations at once. Each is a change of one record in Restate, which gives up under a hundred at once
("retries for operation on key 'schema_registry' exhausted", seen with 1.7.12); twenty work."""

Decide = Callable[[Look], tuple[Action, ...]]
"""Says what is to be done on what was seen. Raises GridironError where that cannot be."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an action."""

    action: Action
    done: bool = True
    error: GridironError | None = None  # what it failed with
    stays: BuildStatus | None = None  # where it was not called for any more: how the build is by now

    @property
    def failed_for_now(self) -> bool:
        """Whether it failed for what may be over the next time."""
        unseen = self.stays is not None and self.stays.state is State.UNKNOWN
        return unseen or isinstance(self.error, Unavailable | ActivationInProgress)

    @property
    def outcome(self) -> str:
        """What became of it, in a word."""
        return "done" if self.done else "failed" if self.error is not None else "not_needed"

    @property
    def reason(self) -> str:
        """Why it was not done; empty where it was, or where nothing is left that it could be done to."""
        if self.error is not None:
            return str(self.error)
        return self.stays.reason if self.stays is not None else ""


def _about(action: Action) -> Mapping[str, str]:
    """Give what the log says of an action's subject; what is merely loaded may be no build."""
    return {} if isinstance(action, Unload) else {"build_id": action.subject}


def name_turn(name: str) -> str:
    """The key of the turns of one name: its activations, and what is done for a build of it."""
    return f"{NAME_TURN}{name}"


def service_turns(services: tuple[str, ...]) -> tuple[str, ...]:
    """The keys of the turns of Restate services: what changes their routing."""
    return tuple(f"service {service}" for service in services)


class Executor:
    """The only one that changes what is stored, registered or loaded."""

    def __init__(self, context: Context, observer: Observer, turns: Turns) -> None:
        self._context = context
        self._observer = observer
        self._turns = turns
        # what one action saw must hold until it is done: removing the newest makes another one newest
        self._acting = asyncio.Lock()
        self._registering = asyncio.Semaphore(MAX_REGISTRATIONS)

    async def carry_out(self, look: Look, decide: Decide) -> tuple[Result, ...]:
        """Do what is decided on `look`, in order; what fails does not hold up the rest.

        Only a registration that is to be made again does, if it failed for now: what is registered after it
        would be newer than it for good. Raises what `decide` raises on `look`.
        """
        results: list[Result] = []
        in_order = True
        for action in decide(look):
            if isinstance(action, Register) and not in_order:
                continue
            with structlog.contextvars.bound_contextvars(**_about(action)):
                async with self._acting:
                    results.append(await self._carry_out(action, decide))
            self._context.meters.actions[type(action).__name__.lower(), results[-1].outcome] += 1
            in_order = in_order and not results[-1].failed_for_now
        return tuple(results)

    async def _carry_out(self, action: Action, decide: Decide) -> Result:
        turns = (REMOVAL,) if isinstance(action, Remove) else ()
        try:
            async with self._turns.hold(*turns) as check:
                look = await self._observer.look()
                # by what is known now: whether it is forced, and whether files go, may be another matter
                what = type(action), action.subject
                anew = next((each for each in decide(look) if (type(each), each.subject) == what), None)
                if anew is None:
                    stays = [status for status in look.statuses if status.build_id == action.subject]
                    return Result(action, done=False, stays=stays[0] if stays else None)
                await self._execute(anew, check)
        except GridironError as error:
            log.warning(
                "action.failed",
                action=type(action).__name__.lower(),
                subject=action.subject,
                code=error.code,
                reason=str(error),
            )
            self._context.meters.errors[error.code] += 1
            result = Result(action, done=False, error=error)
            hold_off = not (isinstance(action, Register) and result.failed_for_now)
            self._observer.failures.fail(action.subject, str(error), hold_off=hold_off)
            return result
        self._observer.failures.succeed(action.subject)
        return Result(action)

    async def _execute(self, action: Action, check: Check) -> None:
        match action:
            case Register(build):
                await self._register_again(build)
            case Settle(build_id):
                await self._settle(build_id)
            case Remove():
                await self._remove(action, check)
            case Unload(path):
                await self._context.cells.unload(path)
                log.info("build.unloaded", path=path)

    async def _remove(self, action: Remove, check: Check) -> None:
        build_id = action.build_id
        if action.deployment_id is not None:
            await self._mark_going(action)
            check()  # what is unregistered by mistake cannot be put right
            await self._context.restate.unregister(action.deployment_id)
            log.info("build.unregistered", build_id=build_id, deployment_id=action.deployment_id)
        if action.path is not None:
            await self._context.cells.unload(action.path)
        with tolerating("registry.not_written"):
            self._context.registry.forget(build_id)
        if action.files:
            await asyncio.to_thread(self._context.store.remove, build_id)
            log.info("build.removed", build_id=build_id)

    async def _mark_going(self, action: Remove) -> None:
        """Write down that a build goes, so that it does so after a crash, too, and does not come back."""
        mark = Mark.FORCED if action.forced else Mark.LEAVING if action.files else Mark.RETIRED
        # a full disk must not keep anyone from removing; without the mark, a crash may leave a retired build
        leaving = mark is Mark.LEAVING
        with tolerating("build.not_marked", build_id=action.build_id) if leaving else nullcontext():
            await asyncio.to_thread(self._context.store.mark, action.build_id, mark)

    async def withdraw(self, build: Build) -> None:
        """Take away a build that was stored, and that Restate was never asked to register or refused to.

        Raises StorageFailed.
        """
        try:
            await self._context.cells.unload(build.address.path)
        except GridironError as error:
            # its address is never used again, so what stays loaded costs memory until the loop unloads it
            log.warning("build.not_unloaded", build_id=build.build_id, reason=str(error))
        await asyncio.to_thread(self._context.store.remove, build.build_id)

    async def register(
        self, build: Build, timings_ms: Callable[[], Mapping[str, float]], *, breaking: bool
    ) -> Registered:
        """Have Restate make a build the newest for its services, and write down that it is.

        Raises RestateRejected; RestateUnavailable, after which it may be registered or not.
        """
        uri = self._context.uri(build.address)
        metadata = {
            BUILD_KEY: build.build_id,
            "sha256": build.sha256,
            STORE_KEY: await asyncio.to_thread(self._context.store.fetch_identity),
        }
        async with self._registering:
            registered = await self._context.restate.register(uri, metadata, breaking=breaking)
        record = Record(
            deployment_id=registered.deployment_id,
            uri=uri,
            services=tuple(service.name for service in registered.services),
            protocol=registered.protocol,
            activated_at=self._context.now(),
            timings_ms=dict(timings_ms()),
        )
        # it is registered, and that counts: what cannot be written now, the loop writes later
        with tolerating("registry.not_written"):
            self._context.registry.remember(build.build_id, record)
        with tolerating("build.not_settled", GridironError, build_id=build.build_id):
            await self._settle(build.build_id)
        return registered

    async def _settle(self, build_id: str) -> None:
        await asyncio.to_thread(self._context.store.unmark, build_id)

    async def _register_again(self, build: Build) -> None:
        """Register a build that Restate has lost, unless that would take a service from a newer build."""
        if self._turns.taken(name_turn(build.name)):
            raise ActivationInProgress(build.name)
        async with self._turns.hold(name_turn(build.name)):
            discovered = await discover(self._context, build)
            services = tuple(service.name for service in discovered.services)
            async with self._turns.hold(*service_turns(services)):
                newer = find_outranking(build, services, await self._observer.observe())
                if newer and (left := sorted(set(services) - newer.keys())):
                    raise RegistrationLost(build.build_id, ", ".join(left), describe_owners(newer))
                if not newer:
                    registered = await self.register(build, dict, breaking=True)
                    log.warning(
                        "build.registered_again",
                        build_id=build.build_id,
                        deployment_id=registered.deployment_id,
                    )
                    return
        await asyncio.to_thread(self._context.store.mark, build.build_id, Mark.RETIRED)
        log.warning("build.not_registered_again", build_id=build.build_id, newer=newer)
