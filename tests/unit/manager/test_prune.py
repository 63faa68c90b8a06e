from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from pydantic import ValidationError

from gridiron.errors import (
    ActivationInProgress,
    BuildInUse,
    BuildNotFound,
    DrainUnknown,
    RestateUnavailable,
    WorkersUnavailable,
)
from gridiron.lifecycle.observation import Demand
from gridiron.manager.api import ActivateRequest, Kept, Pruned, PruneRequest
from gridiron.model import State
from gridiron.testing.restate import fake_service
from tests.unit.manager.conftest import ADMIN, GRACE, Manager, make_settings


async def test_a_drained_build_is_retired_after_its_grace_and_its_files_stay(manager: Manager) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    assert (await manager.loop.sweep()).pruned == ()  # drained from now on
    manager.clock.now += GRACE - timedelta(seconds=1)
    assert (await manager.loop.sweep()).pruned == ()
    manager.clock.now += timedelta(seconds=1)
    outcome = await manager.loop.sweep()
    assert outcome.pruned == (Pruned(build_id=old.build_id, unregistered=True, files_removed=False),)
    assert await manager.states() == {"1": "retired", "2": "active"}
    assert await manager.loaded() == [new.path]
    assert manager.stored == [old.build_id, new.build_id]
    assert (await manager.loop.sweep()).pruned == ()


async def test_what_is_pinned_or_attempted_keeps_a_build_until_it_is_done(manager: Manager) -> None:
    await manager.activate("1")
    pinned, attempted = manager.restate.start("demo"), manager.restate.start("demo")
    manager.restate.pin(pinned)
    manager.restate.suspend(pinned)
    await manager.activate("2")
    for invocation in (attempted, pinned):
        assert (await manager.states())["1"] == "draining"
        await manager.loop.sweep()
        manager.clock.now += 2 * GRACE
        assert (await manager.loop.sweep()).pruned == ()
        manager.restate.complete(invocation)
    assert (await manager.states())["1"] == "drained"


async def test_new_work_in_the_last_moment_keeps_a_build(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await manager.activate("1")
    await manager.activate("2")
    reads = 0
    fetch_demand = manager.restate.fetch_demand

    async def finds_more_the_second_time() -> object:
        nonlocal reads
        reads += 1
        demand = dict(await fetch_demand())
        if reads > 1:
            demand[str(old.deployment_id)] = Demand(pinned=1, attempting=0)
        return demand

    monkeypatch.setattr(manager.restate, "fetch_demand", finds_more_the_second_time)
    outcome = await manager.loop.prune(PruneRequest())
    assert outcome.pruned == ()
    assert outcome.kept == (
        Kept(build_id=old.build_id, state=State.DRAINING, reason="1 invocation is pinned to it"),
    )
    assert "unregister" not in manager.restate.requests


async def test_nothing_is_removed_while_restate_cannot_be_asked(manager: Manager) -> None:
    old = await manager.activate("1")
    await manager.activate("2")
    await manager.loop.sweep()
    manager.clock.now += 2 * GRACE
    manager.restate.down = "timed out"
    assert (await manager.loop.sweep()).pruned == ()
    assert (await manager.loop.prune(PruneRequest())).pruned == ()
    for force in (False, True):
        with pytest.raises(DrainUnknown):
            await manager.loop.prune(PruneRequest(build_id=old.build_id, force=force))
    assert set((await manager.states()).values()) == {"unknown"}
    manager.restate.down = None
    assert [pruned.build_id for pruned in (await manager.loop.sweep()).pruned] == [old.build_id]


async def test_old_files_go_when_enough_newer_builds_exist(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, retain=1))
    builds = [(await manager.activate(str(number))).build_id for number in range(4)]
    outcome = await manager.loop.prune(PruneRequest())
    assert {p.build_id: p.files_removed for p in outcome.pruned} == {
        builds[0]: True,
        builds[1]: True,
        builds[2]: False,
    }
    assert manager.stored == builds[2:]


async def test_a_build_that_is_named_goes_with_its_files(manager: Manager) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    dry = await manager.loop.prune(PruneRequest(build_id=old.build_id, dry_run=True))
    assert (dry.dry_run, len(manager.stored)) == (True, 2)
    done = await manager.loop.prune(PruneRequest(build_id=old.build_id))
    assert (
        dry.pruned == done.pruned == (Pruned(build_id=old.build_id, unregistered=True, files_removed=True),)
    )
    assert manager.stored == [new.build_id]
    with pytest.raises(BuildNotFound):
        await manager.loop.prune(PruneRequest(build_id=old.build_id))


async def test_a_build_in_use_is_refused_unless_forced(manager: Manager) -> None:
    active = await manager.activate("1")
    with pytest.raises(BuildInUse) as refusal:
        await manager.loop.prune(PruneRequest(build_id=active.build_id))
    assert (refusal.value.state, refusal.value.invocations) == ("active", 0)
    await manager.loop.prune(PruneRequest(build_id=active.build_id, force=True))
    assert (manager.stored, await manager.states()) == ([], {})


async def test_the_order_is_unregister_unload_delete(manager: Manager) -> None:
    old = await manager.activate("1")
    await manager.activate("2")
    manager.cells.silence()
    with pytest.raises(WorkersUnavailable):
        await manager.loop.prune(PruneRequest(build_id=old.build_id))
    assert old.build_id in manager.stored  # not unloaded, so not deleted
    assert (await manager.states())["1"] == "retired"  # and unregistered first
    manager.cells.wake()
    await manager.loop.prune(PruneRequest(build_id=old.build_id))
    assert old.build_id not in manager.stored


async def test_what_a_silent_cell_kept_loaded_is_unloaded_by_a_later_sweep(manager: Manager) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    manager.cells.silence()
    outcome = await manager.loop.prune(PruneRequest())
    assert (outcome.pruned, [kept.build_id for kept in outcome.kept]) == ((), [old.build_id])
    manager.cells.wake()
    assert await manager.loaded() == [old.path, new.path]
    await manager.loop.sweep()
    assert await manager.loaded() == [new.path]


async def test_pages_and_filters(manager: Manager) -> None:
    versions = [str(number) for number in range(5)]
    for version in versions:
        await manager.activate(version)
    await manager.activate("1", name="other", service="other")
    seen: list[str] = []
    cursor = None
    while True:
        page = await manager.deployments.fetch_page("demo", None, cursor, 2)
        seen += [view.version for view in page.deployments]
        if page.next is None:
            break
        cursor = page.next
    assert seen == versions
    active = await manager.deployments.fetch_page(None, State.ACTIVE, None, 100)
    assert [(view.name, view.version) for view in active.deployments] == [("demo", "4"), ("other", "1")]


async def test_a_build_that_becomes_active_during_the_look_is_not_taken_for_retired(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    manager.restate.serve(manager.uri_of_next("demo", "2"), fake_service("demo", "run"))
    register, stored, go_on = manager.restate.register, asyncio.Event(), asyncio.Event()

    async def waits(uri: str, metadata: dict[str, str], **_: object) -> object:
        stored.set()
        await go_on.wait()
        return await register(uri, metadata)

    monkeypatch.setattr(manager.restate, "register", waits)
    request = ActivateRequest(source=manager.bundle("// 2"), name="demo", version="2")
    activation = asyncio.create_task(manager.activator.activate(request, ADMIN))
    await stored.wait()
    fetch_registrations = manager.restate.fetch_registrations

    async def ends_the_activation_when_asked() -> object:
        seen = await fetch_registrations()
        go_on.set()
        await activation
        return seen

    monkeypatch.setattr(manager.restate, "fetch_registrations", ends_the_activation_when_asked)
    build_id = next(build.build_id for build in manager.context.store.list_builds() if build.version == "2")
    with pytest.raises(ActivationInProgress):
        await manager.loop.prune(PruneRequest(build_id=build_id))
    assert build_id in manager.stored
    monkeypatch.undo()
    assert (await manager.states())["2"] == "active"


async def test_a_sweep_and_a_forced_prune_do_not_take_the_last_version_away(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    unregister, look = manager.restate.unregister, manager.observer.look
    forced, planned = asyncio.Event(), asyncio.Event()

    async def slowly(deployment_id: str) -> None:
        forced.set()
        await planned.wait()
        await unregister(deployment_id)

    async def look_and_tell() -> object:
        looked = await look()
        if forced.is_set():
            planned.set()
        return looked

    monkeypatch.setattr(manager.restate, "unregister", slowly)
    monkeypatch.setattr(manager.observer, "look", look_and_tell)
    first = asyncio.create_task(manager.loop.prune(PruneRequest(build_id=new.build_id, force=True)))
    await forced.wait()
    second = await manager.loop.prune(PruneRequest())
    await first
    assert (second.pruned, [kept.state for kept in second.kept]) == ((), [State.ACTIVE])
    assert (await manager.restate.fetch_newest())["demo"] == old.deployment_id


async def test_one_removal_that_fails_does_not_hold_up_the_others(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = [await manager.activate(version) for version in "123"]
    unregister = manager.restate.unregister

    async def refuses_the_first(deployment_id: str) -> None:
        if deployment_id == builds[0].deployment_id:
            raise RestateUnavailable("http://restate", "timed out")
        await unregister(deployment_id)

    monkeypatch.setattr(manager.restate, "unregister", refuses_the_first)
    outcome = await manager.loop.prune(PruneRequest())
    assert [pruned.build_id for pruned in outcome.pruned] == [builds[1].build_id]
    assert [kept.build_id for kept in outcome.kept] == [builds[0].build_id]


async def test_the_demand_is_read_after_the_newest(manager: Manager) -> None:
    await manager.activate("1")
    manager.restate.requests.clear()
    await manager.observer.look()
    first, *routing, demand, last = manager.restate.requests
    assert first == last == "fetch_incarnation"
    assert (set(routing), demand) == ({"fetch_registrations", "fetch_newest"}, "fetch_demand")


def test_force_needs_a_build() -> None:
    with pytest.raises(ValidationError, match="force needs a build_id"):
        PruneRequest(force=True)


async def test_a_forced_prune_is_done_although_the_last_invocation_ends_meanwhile(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await manager.activate("1")
    invocation = manager.restate.start("demo")
    manager.restate.pin(invocation)
    await manager.activate("2")
    look, numbers = manager.observer.look, count(1)

    async def ends_between() -> object:
        if next(numbers) == 2:
            manager.restate.complete(invocation)
        return await look()

    monkeypatch.setattr(manager.observer, "look", ends_between)
    outcome = await manager.loop.prune(PruneRequest(build_id=old.build_id, force=True))
    assert [each.build_id for each in outcome.pruned] == [old.build_id]
