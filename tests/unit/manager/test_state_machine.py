"""A manager on fakes is driven by all that can happen, in any order, and held to what it promises.

Whatever it does is judged when it does it: an address that is registered is served, nothing that somebody
needs is unregistered, nothing that is unknown leads to a removal. Now and then all is set right again and the
loop let run; then nothing may be lost, left over or routed wrongly.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis import Phase as Phase_
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gridiron.bundles.staging import Staged
from gridiron.bundles.store import BundleStore
from gridiron.errors import ActivationFailed, GridironError, RegistrationUnknown, RestateUnavailable
from gridiron.lifecycle import plan as plan_module
from gridiron.lifecycle.observation import Demand, Mark, Observation, Unknown
from gridiron.lifecycle.plan import Remove
from gridiron.manager import activate as activate_module
from gridiron.manager import loop as loop_module
from gridiron.manager.api import Activated, PruneRequest, RollbackRequest
from gridiron.manager.execute import Executor
from gridiron.manager.observe import Observer
from gridiron.manager.turns import Check
from gridiron.model import Build
from gridiron.restate.port import Registered
from gridiron.testing.restate import FakeRestate, Phase, needed_by
from tests.unit.manager.conftest import GRACE, Manager, make_settings

T = TypeVar("T")

NAMES = ("a", "b")
COMMON = "common"
"""A service that both names may offer."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory, where there is one; syncing costs nothing there


OUTAGES = (
    "restate is down",
    "restate is starting",
    "a cell is silent",
    "fetch_demand",
    "fetch_newest",
    "fetch_registrations",
    "fetch_holder",
)
"""What may be away for once; a method of Restate fails alone."""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong with the next thing that the manager does."""

    outage: str | None = None
    dies_at: int | None = None  # the change at which it dies, counted from 0


NONE = Trouble()
TROUBLE = strategies.one_of(
    strategies.just(NONE),
    strategies.builds(Trouble, outage=strategies.sampled_from(OUTAGES)),
    strategies.builds(Trouble, dies_at=strategies.integers(0, 12)),
)


class Died(BaseException):
    """Ends whatever it is raised in, as SIGKILL does: nobody catches it."""


class JudgedRestate(FakeRestate):
    """Judges what is asked of it, and lets the one who asks die before or after the n-th change."""

    def __init__(self, stored: Callable[[str], bool]) -> None:
        super().__init__()
        self._stored = stored
        self.spoilt: set[str] = set()  # builds whose files somebody deleted or damaged
        self.forced: set[str] = set()  # builds whose removal somebody forced
        self.lost: set[str] = set()  # invocations whose build somebody took from them
        self.answers_lost = 0  # registrations whose answer does not arrive

    async def register(self, uri: str, metadata: Any, *, breaking: bool = False) -> Registered:
        registered = await super().register(uri, metadata, breaking=breaking)
        if self.answers_lost:
            self.answers_lost -= 1
            raise RestateUnavailable("http://restate", "the answer got lost")
        return registered

    async def unregister(self, deployment_id: str) -> None:
        known = self._deployments.get(deployment_id)
        build_id = str(known[0].address) if known else ""
        if build_id in self.forced:
            self.lose(deployment_id)
        elif known is not None:
            needing = [one for one in self.invocations.values() if deployment_id in needed_by(one)]
            assert self._stored(build_id) or build_id in self.spoilt, (
                f"{build_id} is registered and not served"
            )
            if build_id not in self.spoilt:
                assert not needing, f"{build_id} is needed"
                assert deployment_id not in self._newest().values(), f"{build_id} is active"
            else:
                assert not any(one.pinned for one in needing), f"{build_id} is needed"
        await super().unregister(deployment_id)

    def lose(self, deployment_id: str) -> None:
        """Somebody takes a deployment from those that are on it."""
        self.lost |= {
            key for key, one in self.invocations.items() if deployment_id in {one.pinned, one.attempt}
        }

    def registered(self) -> list[str]:
        return [str(registration.address) for registration, _ in self._deployments.values()]

    def deployment_of(self, build_id: str) -> str | None:
        ids = (key for key, (each, _) in self._deployments.items() if str(each.address) == build_id)
        return next(ids, None)

    def newest_builds(self) -> dict[str, str]:
        return {name: str(self._deployments[key][0].address) for name, key in self._newest().items()}

    def wipe(self) -> None:
        self._deployments.clear()
        self.invocations.clear()


class Lifecycle(RuleBasedStateMachine):
    """The machine. Its model: which builds were acknowledged, in order, and which somebody took away."""

    def __init__(self) -> None:
        super().__init__()
        self.events = asyncio.new_event_loop()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(activate_module, "START_LIMIT", timedelta(0))  # nobody waits for what is down
        parent = str(MEMORY) if MEMORY.is_dir() else None
        self.directory = Path(tempfile.mkdtemp(prefix="gridiron-machine-", dir=parent))
        self.restate = JudgedRestate(self.has_files)
        self.manager = Manager(self.directory, make_settings(self.directory, retain=1), self.restate)
        self.version = 0
        self.acknowledged: list[Activated] = []  # in the order of their registration
        self.removed: set[str] = set()  # builds that were pruned by name
        self.never: set[str] = set()  # versions that were refused, or only tried
        self.by_hand: set[str] = (
            set()
        )  # builds unregistered by hand: newer ones may have come before the loop
        self.starts = 1  # of Restate
        self.registered: set[str] = set()  # builds that were so at some time

    # -- running ---------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.events.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, T], trouble: Trouble) -> T | None:
        """Let the manager do something; None where it failed, or died and was started again."""
        try:
            with self.failing(trouble.outage), self.dying(trouble.dies_at):
                return self.run(work)
        except GridironError as error:
            self.error: GridironError | None = error
            return None
        except Died:
            self.error = None
            self.restart()
            return None

    @contextmanager
    def dying(self, at: int | None) -> Iterator[None]:
        """Count the changes that are made inside, and die at the one that was chosen."""
        if at is None:
            yield
            return
        left = at
        store, restate, cells = self.manager.context.store, self.restate, self.manager.cells

        def count() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Died

        def counted(act: Callable[..., Any]) -> Callable[..., Any]:
            def acting(*arguments: Any, **more: Any) -> Any:
                count()
                return act(*arguments, **more)

            return acting

        def counted_twice(act: Callable[..., Any]) -> Callable[..., Any]:
            async def acting(*arguments: Any, **more: Any) -> Any:
                count()
                answer = await act(*arguments, **more)
                count()
                return answer

            return acting

        with pytest.MonkeyPatch.context() as patch:
            for method in ("stage", "publish", "mark", "unmark", "remove", "discard"):
                patch.setattr(store, method, counted(getattr(store, method)))
            for method in ("register", "unregister"):
                patch.setattr(restate, method, counted_twice(getattr(restate, method)))
            patch.setattr(cells, "unload", counted_twice(cells.unload))
            yield

    def restart(self) -> None:
        self.run(self._cancel_all())
        self.manager = self.manager.restart()
        self.run(self.manager.activator.settle())

    async def _cancel_all(self) -> None:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    def has_files(self, build_id: str) -> bool:
        return (self.manager.settings.bundles_dir / build_id).is_dir()

    def present(self) -> list[Activated]:
        return [each for each in self.acknowledged if self.has_files(each.build_id)]

    # -- what users do ---------------------------------------------------------------------------------------

    @rule(
        name=strategies.sampled_from(NAMES),
        services=strategies.sampled_from(["own", "own common", "common", "own more"]),
        allowed=strategies.booleans(),
        dry_run=strategies.sampled_from([False, False, False, True]),
        trouble=TROUBLE,
    )
    def activate(
        self, name: str, services: str, *, allowed: bool, dry_run: bool = False, trouble: Trouble = NONE
    ) -> None:
        self.version += 1
        offered = " ".join(word if word == COMMON else f"{word}-{name}" for word in services.split())
        if dry_run:
            self.never.add(str(self.version))
        activated = self.attempt(
            self.manager.activate(
                str(self.version), name, offered, breaking=allowed, takeover=allowed, dry_run=dry_run
            ),
            trouble,
        )
        if activated is not None and activated.outcome == "activated":
            self.acknowledged.append(activated)
        elif activated is None and self.error is not None:
            cause = self.error.cause if isinstance(self.error, ActivationFailed) else self.error
            if not isinstance(cause, RegistrationUnknown):
                self.never.add(str(self.version))

    @rule(name=strategies.sampled_from(NAMES))
    def activate_twice(self, name: str) -> None:
        """The second leaves a service to the first."""
        self.activate(name, "own common", allowed=True)
        self.activate(name, "own more", allowed=True)

    @rule(name=strategies.sampled_from(NAMES))
    def leave_work_behind(self, name: str) -> None:
        """An invocation stays on a build that another one comes after."""
        self.activate(name, "own", allowed=True)
        if f"own-{name}" in self.restate.newest_builds():
            self.restate.pin(self.restate.start(f"own-{name}"))
        self.activate(name, "own", allowed=True)

    @rule(name=strategies.sampled_from(NAMES), trouble=TROUBLE)
    def roll_back(self, name: str, trouble: Trouble) -> None:
        activated = self.attempt(self.manager.activator.rollback(RollbackRequest(name=name)), trouble)
        if activated is not None and activated.outcome == "activated":
            self.acknowledged.append(activated)

    @rule(trouble=TROUBLE)
    def prune_drained(self, trouble: Trouble) -> None:
        self.attempt(self.manager.loop.prune(PruneRequest()), trouble)

    @precondition(lambda self: self.present())
    @rule(data=strategies.data(), force=strategies.booleans(), trouble=TROUBLE)
    def prune_one(self, data: strategies.DataObject, trouble: Trouble, *, force: bool) -> None:
        build_id = data.draw(strategies.sampled_from(self.present())).build_id
        if force:
            self.restate.forced.add(build_id)
        outcome = self.attempt(self.manager.loop.prune(PruneRequest(build_id=build_id, force=force)), trouble)
        if outcome is not None and outcome.pruned:
            self.removed.add(build_id)
            assert not self.has_files(build_id)
        going = self.marks().get(build_id) in {Mark.FORCED, Mark.LEAVING}  # the loop brings it to its end
        if going or not self.has_files(build_id) or (force and trouble.dies_at is not None):
            self.removed.add(build_id)
        elif force:
            self.restate.forced.discard(build_id)

    def marks(self) -> dict[str, Mark]:
        return dict(self.manager.context.store.fetch_inventory().marks)

    # -- what callers do -------------------------------------------------------------------------------------

    def can_call(self) -> bool:
        return bool(self.restate.newest_builds())

    @precondition(can_call)
    @rule(data=strategies.data(), pin=strategies.booleans(), scheduled=strategies.booleans())
    def call(self, data: strategies.DataObject, *, pin: bool, scheduled: bool) -> None:
        service = data.draw(strategies.sampled_from(sorted(self.restate.newest_builds())))
        invocation = self.restate.start(service, Phase.SCHEDULED if scheduled else Phase.RUNNING)
        if pin and not scheduled:
            self.restate.pin(invocation)

    def open_invocations(self) -> list[str]:
        return sorted(
            key for key, one in self.restate.invocations.items() if one.phase is not Phase.COMPLETED
        )

    @precondition(open_invocations)
    @rule(
        data=strategies.data(),
        doing=strategies.sampled_from(["pin", "back_off", "retry", "suspend", "pause"]),
    )
    def go_on(self, data: strategies.DataObject, doing: str) -> None:
        invocation = data.draw(strategies.sampled_from(self.open_invocations()))
        one = self.restate.invocations[invocation]
        if doing == "retry" and one.service not in self.restate.newest_builds():
            return
        if one.attempt is None and doing != "retry":
            return
        if doing == "pin" and one.phase is not Phase.RUNNING:  # nothing else writes to the journal
            return
        if doing == "pin" and one.attempt not in self.restate._deployments:  # somebody deleted its files
            return
        getattr(self.restate, doing)(invocation)

    @precondition(open_invocations)
    @rule(data=strategies.data())
    def complete(self, data: strategies.DataObject) -> None:
        invocation = data.draw(strategies.sampled_from(self.open_invocations()))
        if self.restate.invocations[invocation].attempt is not None:
            self.restate.complete(invocation)

    # -- what time and the machine do ------------------------------------------------------------------------

    @rule(seconds=strategies.sampled_from([1, 30, 61, 3600, -3600, 10**8]))
    def pass_time(self, seconds: int) -> None:
        self.manager.clock.now += timedelta(seconds=seconds)

    @rule(trouble=TROUBLE)
    def sweep(self, trouble: Trouble) -> None:
        self.attempt(self.manager.loop.sweep(), trouble)

    @rule(trouble=TROUBLE)
    def outlast_the_grace(self, trouble: Trouble) -> None:
        """What is drained now is to go with the second sweep, or what is taken for drained then."""
        self.sweep(NONE)
        self.manager.clock.now += 2 * GRACE
        self.sweep(trouble)

    @rule()
    def start_again(self) -> None:
        self.restart()

    @contextmanager
    def failing(self, outage: str | None) -> Iterator[None]:
        """Have something be away for what happens inside."""
        match outage:
            case "restate is down":
                self.restate.down = "connection refused"
            case "restate is starting":
                self.restate.incarnation = None
            case "a cell is silent":
                self.manager.cells.silence()
            case str(method):
                self.restate.failing = {method}
        try:
            yield
        finally:
            self.restate.down, self.restate.failing = None, set()
            if self.restate.incarnation is None:
                self.starts += 1
                self.restate.incarnation = f"N1:{self.starts}"
            self.manager.cells.wake()

    @rule()
    def lose_an_answer(self) -> None:
        self.restate.answers_lost = 1

    # -- what operators break --------------------------------------------------------------------------------

    @rule()
    def lose_the_registry(self) -> None:
        (self.manager.settings.manager_state_dir / "state.json").unlink(missing_ok=True)
        self.restart()

    @rule(content=strategies.sampled_from([b"", b"{", b'{"format": 9}']))
    def spoil_the_registry(self, content: bytes) -> None:
        (self.manager.settings.manager_state_dir / "state.json").write_bytes(content)
        self.restart()

    @rule(swept=strategies.booleans())
    def wipe_restate(self, *, swept: bool) -> None:
        self.restate.wipe()
        self.starts += 1
        self.restate.incarnation = f"N1:{self.starts}"
        if swept:
            self.sweep(NONE)

    @precondition(lambda self: self.present())
    @rule(data=strategies.data())
    def unregister_by_hand(self, data: strategies.DataObject) -> None:
        build_id = data.draw(strategies.sampled_from(self.present())).build_id
        deployment_id = self.restate.deployment_of(build_id)
        if deployment_id is not None:
            self.restate.lose(deployment_id)
            self.by_hand.add(build_id)
            del self.restate._deployments[deployment_id]

    @precondition(lambda self: self.present())
    @rule(data=strategies.data(), file=strategies.sampled_from(["", "metadata.json"]))
    def spoil_files(self, data: strategies.DataObject, file: str) -> None:
        build_id = data.draw(strategies.sampled_from(self.present())).build_id
        directory = self.manager.settings.bundles_dir / build_id
        self.restate.spoilt.add(build_id)
        if file:
            (directory / file).write_bytes(b"{")
        else:
            shutil.rmtree(directory)

    # -- what is promised ------------------------------------------------------------------------------------

    @invariant()
    def every_registered_address_is_served(self) -> None:
        """None is without files but where somebody deleted them."""
        self.registered |= set(self.restate.registered())
        for build_id in self.restate.registered():
            assert build_id.split("-")[1] not in self.never, build_id
            assert self.has_files(build_id) or build_id in self.restate.spoilt, build_id

    @invariant()
    def no_invocation_has_lost_its_code(self) -> None:
        for invocation, one in self.restate.invocations.items():
            if invocation in self.restate.lost or one.phase is Phase.COMPLETED or one.pinned is None:
                continue
            assert one.pinned in self.restate._deployments, invocation

    @rule()
    def set_right(self) -> None:
        """All that was down is up again, and the loop has had its time: then all is as it should be."""
        self.restate.answers_lost = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(activate_module, "SETTLE_LIMIT", timedelta(0))
            self.restart()
            self.run(asyncio.sleep(0.001))
            for _ in range(4):
                self.run(self.manager.loop.sweep())
                self.manager.clock.now += 2 * GRACE
        self.judge()

    def judge(self) -> None:
        views = self.run(self.manager.deployments.fetch_page(None, None, None, 1000)).deployments
        states = {view.build_id: view.state.value for view in views}
        spoilt = (self.restate.spoilt | self.by_hand) & states.keys()
        assert {state for key, state in states.items() if key not in spoilt} <= {
            "active",
            "draining",
            "retired",
        }, states
        # nothing is left over, and nothing is hidden
        stored = self.manager.stored
        assert set(stored) <= states.keys()
        assert not [name for name in stored if "/" in name]
        loaded = set(self.run(self.manager.loaded()))
        assert loaded <= {view.path for view in views}
        registered = self.restate.registered()
        assert len(registered) == len(set(registered))
        # what was acknowledged last takes the calls, unless it was removed or spoilt
        newest = self.restate.newest_builds()
        for service, each in self.last_acknowledged().items():
            if each.build_id not in self.removed | self.restate.spoilt | self.by_hand:
                actual = newest.get(service)
                assert self.is_as_new(actual, each.build_id), (service, newest, each.build_id)
        # what was kept for a rollback is kept
        for each in self.acknowledged:
            name = each.build_id.rpartition("-")[0].rpartition("-")[0]
            newer = [
                one
                for one in self.registered
                if one.startswith(f"{name}-") and _timestamp(one) > _timestamp(each.build_id)
            ]
            if len(newer) <= 1 and each.build_id not in self.removed | self.restate.spoilt:
                assert self.has_files(each.build_id), each.build_id

    def last_acknowledged(self) -> dict[str, Activated]:
        return {service: each for each in self.acknowledged for service in each.services}

    def is_as_new(self, actual: str | None, expected: str) -> bool:
        """A build that nobody heard of, as its answer was lost, may be newer."""
        if actual == expected:
            return True
        known = {each.build_id for each in self.acknowledged}
        return actual is not None and actual not in known and _timestamp(actual) > _timestamp(expected)

    def teardown(self) -> None:
        try:
            self.set_right()
        finally:
            self.patch.undo()
            self.run(self._cancel_all())
            self.events.close()
            shutil.rmtree(self.directory)


def _timestamp(build_id: str) -> int:
    return int(build_id.rpartition("-")[2])


SETTINGS = settings(
    max_examples=200,
    phases=(Phase_.explicit, Phase_.generate),  # what it finds is shown as it was, not made smaller for long
    stateful_step_count=50,
    deadline=None,
    derandomize=True,  # a test that fails now and then would be nobody's
    suppress_health_check=list(HealthCheck),
)

TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = SETTINGS


# -- does it find anything? ------------------------------------------------------------------------------


def without_pins(patch: pytest.MonkeyPatch) -> None:
    """Nobody asks what is pinned."""
    fetch_demand = JudgedRestate.fetch_demand

    async def forgetting(self: JudgedRestate) -> dict[str, Demand]:
        demand = await fetch_demand(self)
        return {key: Demand(pinned=0, attempting=each.attempting) for key, each in demand.items()}

    patch.setattr(JudgedRestate, "fetch_demand", forgetting)


def unknown_for_empty(patch: pytest.MonkeyPatch) -> None:
    """What could not be read is taken for empty."""
    observe = Observer.observe

    async def assuming(self: Observer) -> Observation:
        seen = await observe(self)
        empty = {"registrations": (), "newest": {}, "demand": {}}
        unknown = [part for part in empty if isinstance(getattr(seen, part), Unknown)]
        return replace(seen, **{part: empty[part] for part in unknown})  # type: ignore[arg-type]

    patch.setattr(Observer, "observe", assuming)


def demand_for_none(patch: pytest.MonkeyPatch) -> None:
    """The same of the demand alone."""
    observe = Observer.observe

    async def assuming(self: Observer) -> Observation:
        seen = await observe(self)
        return replace(seen, demand={}) if isinstance(seen.demand, Unknown) else seen

    patch.setattr(Observer, "observe", assuming)


def restarts_unseen(patch: pytest.MonkeyPatch) -> None:
    """A Restate that is starting is taken for one that has nothing."""

    async def always(_: JudgedRestate) -> str:
        return "N1:1"

    patch.setattr(JudgedRestate, "fetch_incarnation", always)


def deletion_first(patch: pytest.MonkeyPatch) -> None:
    """Files go before the registration."""
    remove = Executor._remove

    async def deleting(self: Executor, action: Remove, check: Check) -> None:
        if action.files:
            self._context.store.remove(action.build_id)
        await remove(self, action, check)

    patch.setattr(Executor, "_remove", deleting)


def unmarked(patch: pytest.MonkeyPatch) -> None:
    """A build is not known for one whose activation is under way."""
    publish = BundleStore.publish

    def publishing(self: BundleStore, staged: Staged, build: Build, *sealed: bytes | None) -> Path:
        directory = publish(self, staged, build, *sealed)
        self.unmark(build.build_id)
        return directory

    patch.setattr(BundleStore, "publish", publishing)


def unordered(patch: pytest.MonkeyPatch) -> None:
    """What Restate has lost is registered again newest first."""
    plan_repairs = plan_module.plan_repairs
    for module in (plan_module, loop_module):
        patch.setattr(module, "plan_repairs", lambda statuses: plan_repairs(statuses)[::-1])


@pytest.mark.parametrize(
    "plant",
    [
        without_pins,
        unknown_for_empty,
        demand_for_none,
        restarts_unseen,
        deletion_first,
        unmarked,
        unordered,
    ],
)
def test_it_finds_what_is_planted(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    longer = settings(SETTINGS, max_examples=1500)  # it ends with the first that is found
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Lifecycle, settings=longer)
