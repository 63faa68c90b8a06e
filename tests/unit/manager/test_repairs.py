"""What can lie about, and what the loop makes of it."""

from __future__ import annotations

import asyncio
import shutil
from itertools import count
from pathlib import Path

import pytest

from gridiron.errors import ActivationFailed, BuildInUse, BundlesElsewhere, RestateUnavailable, StorageFailed
from gridiron.manager.api import PruneRequest
from gridiron.testing.restate import FakeRestate
from gridiron.workers.cells import NO_ANSWER, Problem
from tests.unit.manager.conftest import GRACE, Manager, make_settings


class Died(BaseException):
    """Ends whatever it is raised in, as SIGKILL does: nobody catches it."""


async def dies(*_: object, **__: object) -> None:
    raise Died


def raises_died(*_: object) -> None:
    raise Died


async def newest(manager: Manager) -> dict[str, str]:
    """The build that has each service."""
    registrations = {each.deployment_id: each for each in await manager.restate.fetch_registrations()}
    found = (await manager.restate.fetch_newest()).items()
    return {service: str(registrations[deployment_id].address) for service, deployment_id in found}


def wipe(manager: Manager) -> None:
    """Take all data from Restate."""
    fresh = FakeRestate()
    manager.restate.__dict__.update(fresh.__dict__)
    manager.restate.find_endpoint = manager._find_endpoint


def start_empty(manager: Manager) -> None:
    """Start Restate anew without its data."""
    wipe(manager)
    manager.restate.incarnation = "N1:2"


# -- a crash in an activation ----------------------------------------------------------------------------


async def test_a_crash_before_the_registration_leaves_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await manager.activate("1")
    monkeypatch.setattr(manager.restate, "discover", dies)
    with pytest.raises(Died):
        await manager.activate("2")
    monkeypatch.undo()
    after = manager.restart()
    assert len(after.stored) == 2
    assert await after.states() == {"1": "active", "2": "failed"}
    await after.loop.sweep()
    assert (after.stored, await after.states()) == ([old.build_id], {"1": "active"})


async def test_a_crash_after_the_registration_loses_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = manager.restate.register

    async def registers_and_dies(uri: str, metadata: dict[str, str], **_: object) -> None:
        await register(uri, metadata)
        raise Died

    monkeypatch.setattr(manager.restate, "register", registers_and_dies)
    with pytest.raises(Died):
        await manager.activate("1")
    monkeypatch.undo()
    after = manager.restart()
    await after.loop.sweep()
    assert await after.states() == {"1": "active"}
    assert after.context.store.fetch_inventory().marks == {}
    assert list(after.context.registry.records) == after.stored


async def test_what_restate_may_still_register_is_not_taken_away_too_early(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    register, late = manager.restate.register, []

    async def answers_never(uri: str, metadata: dict[str, str], **_: object) -> None:
        late.append((uri, metadata))
        raise RestateUnavailable("http://restate", "timed out")

    monkeypatch.setattr(manager.restate, "register", answers_never)
    with pytest.raises(ActivationFailed):
        await manager.activate("1")
    await manager.loop.sweep()
    assert await manager.states() == {"1": "staged"}
    await register(*late[0])
    await manager.loop.sweep()
    assert await manager.states() == {"1": "active"}
    assert manager.context.store.fetch_inventory().marks == {}


async def test_what_restate_did_not_register_is_taken_away_when_it_cannot_any_more(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers_never(*_: object, **__: object) -> None:
        raise RestateUnavailable("http://restate", "timed out")

    monkeypatch.setattr(manager.restate, "register", answers_never)
    with pytest.raises(ActivationFailed):
        await manager.activate("1")
    after = manager.restart()  # as after the limit: nobody waits for it
    await after.loop.sweep()
    assert (after.stored, await after.states()) == ([], {})


# -- a crash in a removal --------------------------------------------------------------------------------


async def test_a_forced_removal_goes_on_after_a_crash(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    monkeypatch.setattr(manager.cells, "unload", dies)
    with pytest.raises(Died):
        await manager.loop.prune(PruneRequest(build_id=new.build_id, force=True))
    monkeypatch.undo()
    after = manager.restart()
    await after.loop.sweep()
    assert (after.stored, await newest(after)) == ([old.build_id], {"demo": old.build_id})


async def test_a_removal_by_name_goes_on_after_a_crash(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    monkeypatch.setattr(manager.cells, "unload", dies)
    with pytest.raises(Died):
        await manager.loop.prune(PruneRequest(build_id=old.build_id))
    monkeypatch.undo()
    after = manager.restart()
    await after.loop.sweep()
    assert (after.stored, await newest(after)) == ([new.build_id], {"demo": new.build_id})


async def crash_while_retiring(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> tuple[Manager, str]:
    """Die where the first of two versions is to be retired; give the next manager, and the second version."""
    await manager.activate("1")
    new = await manager.activate("2")
    monkeypatch.setattr(manager.restate, "unregister", dies)
    with pytest.raises(Died):
        await manager.loop.prune(PruneRequest())
    monkeypatch.undo()
    return manager.restart(), new.build_id


async def test_what_was_to_be_retired_is_so_after_a_crash(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, new = await crash_while_retiring(manager, monkeypatch)
    assert await after.states() == {"1": "drained", "2": "active"}
    await after.loop.sweep()
    assert await after.states() == {"1": "retired", "2": "active"}
    assert await newest(after) == {"demo": new}


async def test_what_was_to_be_retired_stays_where_it_is_needed_again(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, new = await crash_while_retiring(manager, monkeypatch)
    await after.loop.prune(PruneRequest(build_id=new, force=True))
    await after.loop.sweep()
    assert await after.states() == {"1": "active"}
    assert after.context.store.fetch_inventory().marks == {}


async def test_what_newer_builds_have_come_after_is_not_brought_back(manager: Manager) -> None:
    old = await manager.activate("1")
    new = await manager.activate("2")
    await manager.restate.unregister(old.deployment_id or "")
    assert await manager.states() == {"1": "staged", "2": "active"}
    await manager.loop.sweep()
    assert await manager.states() == {"1": "retired", "2": "active"}
    assert await newest(manager) == {"demo": new.build_id}


async def test_nothing_is_removed_before_what_takes_its_place_is_settled(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    monkeypatch.setattr(manager.context.store, "unmark", raises_died)  # Restate has it by then
    with pytest.raises(Died):
        await manager.activate("2")
    monkeypatch.undo()
    after = manager.restart()
    await after.loop.prune(PruneRequest())
    assert await after.states() == {"1": "retired", "2": "active"}
    wipe(after)
    await after.loop.sweep()
    assert await after.states() == {"1": "retired", "2": "active"}


# -- Restate's data is gone ------------------------------------------------------------------------------


async def test_all_is_registered_again_newest_last(manager: Manager) -> None:
    first = await manager.activate("1", service="one two")
    await manager.activate("1", name="other", service="other")
    second = await manager.activate("2", service="one", breaking=True)
    await manager.activate("3", name="other", service="other")
    await manager.loop.prune(PruneRequest())  # other-1 retires
    before = await newest(manager)
    assert before["two"] == first.build_id
    assert before["one"] == second.build_id
    wipe(manager)
    await manager.loop.sweep()
    assert await newest(manager) == before
    assert len(await manager.restate.fetch_registrations()) == 3
    assert await manager.states() == {"1": "retired", "2": "active", "3": "active"}


async def test_so_it_is_without_the_registry(manager: Manager) -> None:
    await manager.activate("1")
    new = await manager.activate("2")
    (manager.settings.manager_state_dir / "state.json").unlink()
    wipe(manager)
    after = manager.restart()
    await after.loop.sweep()
    assert await newest(after) == {"demo": new.build_id}


async def test_one_that_was_taken_away_by_hand_comes_back_where_nothing_newer_has_its_services(
    manager: Manager,
) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    other = await manager.activate("1", name="other", service="other")
    for activated in (old, other):
        await manager.restate.unregister(str(activated.deployment_id))
    await manager.loop.sweep()
    assert await newest(manager) == {"demo": new.build_id, "other": other.build_id}
    page = await manager.deployments.fetch_page("demo", None, None, 10)
    assert [view.state.value for view in page.deployments] == ["retired", "active"]


async def test_what_cannot_be_registered_again_says_so_and_is_held_off(manager: Manager) -> None:
    activated = await manager.activate("1")
    wipe(manager)
    manager.restate.find_endpoint = lambda _: None
    for _ in range(10):
        await manager.loop.sweep()
    view = await manager.deployments.fetch(activated.build_id)
    assert view.state.value == "failed"
    assert view.reason.startswith("Restate has lost its registration, and to register it again failed: ")
    assert manager.restate.requests.count("discover") == 5  # in rounds 1, 2, 3, 5 and 9
    manager.restate.find_endpoint = manager._find_endpoint
    for _ in range(8):
        await manager.loop.sweep()
    assert await manager.states() == {"1": "active"}


# -- files are gone --------------------------------------------------------------------------------------


async def test_a_registration_whose_files_were_deleted_is_taken_away(manager: Manager) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    shutil.rmtree(manager.settings.bundles_dir / new.build_id)
    view = await manager.deployments.fetch(new.build_id)
    assert (view.state.value, view.reason) == ("failed", "its files are gone; newest for demo")
    assert (view.name, view.version, view.sha256, view.size) == ("demo", "2", new.sha256, None)
    await manager.loop.sweep()
    assert await newest(manager) == {"demo": old.build_id}
    assert await manager.states() == {"1": "active"}
    assert await manager.loaded() == [old.path]


async def test_nothing_is_taken_away_when_the_whole_directory_is_gone(manager: Manager) -> None:
    await manager.activate("1")
    directory = manager.settings.bundles_dir
    directory.rename(directory.with_name("elsewhere"))
    with pytest.raises(StorageFailed):
        await manager.loop.sweep()
    directory.mkdir()  # where a disk would be mounted
    with pytest.raises(StorageFailed):
        await manager.loop.sweep()
    with pytest.raises(BundlesElsewhere):
        manager.restart()
    assert len(await manager.restate.fetch_registrations()) == 1


async def test_another_manager_of_the_same_restate_takes_nothing_away(
    manager: Manager, tmp_path: Path
) -> None:
    activated = await manager.activate("1")
    other = Manager(tmp_path, make_settings(tmp_path / "other"), manager.restate)
    for _ in range(2):
        await other.loop.sweep()
        other.clock.now += 2 * GRACE
    assert await newest(other) == {"demo": activated.build_id}
    view = await other.deployments.fetch(activated.build_id)
    assert view.state.value == "failed"


async def test_a_damaged_build_is_left_alone_and_can_be_removed(manager: Manager) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")
    (manager.settings.bundles_dir / new.build_id / "metadata.json").write_text("{")
    await manager.loop.sweep()
    view = await manager.deployments.fetch(new.build_id)
    assert (view.state.value, view.name) == ("failed", "demo")
    assert set(manager.stored) == {old.build_id, new.build_id}
    await manager.loop.prune(PruneRequest(build_id=new.build_id, force=True))
    assert (manager.stored, await newest(manager)) == ([old.build_id], {"demo": old.build_id})


async def test_a_damaged_module_is_told_and_forgotten_when_it_is_mended(manager: Manager) -> None:
    activated = await manager.activate("1")
    await manager.activate("1", name="other", service="other")
    file = manager.settings.bundles_dir / activated.build_id / "index.js"
    content = file.read_bytes()
    file.write_bytes(content + b" ")
    await manager.loop.sweep()
    view = await manager.deployments.fetch(activated.build_id)
    assert view.state.value == "failed"
    assert view.reason.startswith(f"{file} is not as it was stored: it has ")
    assert view.reason.endswith("; newest for demo")
    await manager.loop.sweep()
    assert len(await manager.restate.fetch_registrations()) == 2  # nothing follows from it
    file.write_bytes(content)
    await manager.loop.sweep()
    assert set((await manager.states()).values()) == {"active"}


# -- what Restate answers does not fit together ----------------------------------------------------------


async def test_a_list_of_registrations_without_the_newest_is_not_believed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")

    async def answers_half() -> tuple[object, ...]:
        return ()

    monkeypatch.setattr(manager.restate, "fetch_registrations", answers_half)
    assert await manager.states() == {"1": "unknown"}
    await manager.loop.sweep()
    assert len(manager.stored) == 1


@pytest.mark.parametrize("part", ["fetch_registrations", "fetch_newest", "fetch_demand"])
async def test_a_restate_that_starts_during_a_look_is_not_believed(
    part: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    manager.restate.start("demo")
    await manager.activate("2")
    ask = getattr(manager.restate, part)

    starts = count(2)

    async def restarts() -> object:
        manager.restate.incarnation = None  # it has nothing yet
        answer = await ask()
        manager.restate.incarnation = f"N1:{next(starts)}"
        return answer

    monkeypatch.setattr(manager.restate, part, restarts)
    assert set((await manager.states()).values()) == {"unknown"}
    assert (await manager.loop.prune(PruneRequest())).pruned == ()
    monkeypatch.undo()
    assert await manager.states() == {"1": "draining", "2": "active"}


async def test_a_restate_that_is_starting_is_not_believed_and_waited_for(manager: Manager) -> None:
    await manager.activate("1")
    manager.restate.incarnation = None
    assert await manager.states() == {"1": "unknown"}
    await manager.loop.sweep()
    assert len(manager.stored) == 1
    activation = asyncio.create_task(manager.activate("2"))
    while manager.restate.requests[-1] != "fetch_incarnation":  # noqa: ASYNC110 - the fake has no event for it
        await asyncio.sleep(0)
    manager.restate.incarnation = "N1:2"
    assert (await activation).outcome == "activated"


# -- the disk --------------------------------------------------------------------------------------------


async def test_a_registry_that_cannot_be_written_stops_neither_activation_nor_removal(
    manager: Manager,
) -> None:
    await manager.activate("1")
    (manager.settings.manager_state_dir / ".state.json.partial").mkdir()  # what it would write first
    await manager.activate("2")
    await manager.loop.sweep()
    manager.clock.now += 2 * GRACE
    assert len((await manager.loop.sweep()).pruned) == 1
    assert await manager.states() == {"1": "retired", "2": "active"}


async def test_a_mark_that_cannot_be_written_does_not_keep_files_from_going(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = await manager.activate("1"), await manager.activate("2")

    def full(*_: object) -> None:
        raise StorageFailed("Marking", "/bundles", "No space left on device")

    monkeypatch.setattr(manager.context.store, "mark", full)
    await manager.loop.prune(PruneRequest(build_id=old.build_id))
    assert manager.stored == [new.build_id]
    with pytest.raises(StorageFailed):  # what is in use is not removed without it
        await manager.loop.prune(PruneRequest(build_id=new.build_id, force=True))
    assert await manager.states() == {"2": "active"}


# -- what could not be read, or one build, holds up nothing that it should not ---------------------------


async def wipe_and_sweep_blindly(manager: Manager) -> None:
    """Take all data from Restate, and sweep while it does not list what it has."""
    start_empty(manager)
    manager.restate.failing = {"fetch_registrations"}
    await manager.loop.sweep()
    manager.restate.failing = set()


async def test_what_is_lost_comes_back_before_anything_new_although_a_sweep_saw_nothing(
    manager: Manager,
) -> None:
    old = await manager.activate("1", service="one two")
    await wipe_and_sweep_blindly(manager)
    with pytest.raises(ActivationFailed, match="two is removed"):
        await manager.activate("2", service="one")
    assert await newest(manager) == {"one": old.build_id, "two": old.build_id}


async def test_no_other_name_takes_what_is_lost_although_a_sweep_saw_nothing(manager: Manager) -> None:
    old = await manager.activate("1", service="one")
    await wipe_and_sweep_blindly(manager)
    with pytest.raises(ActivationFailed, match=old.build_id):
        await manager.activate("1", name="thief", service="one")
    assert await newest(manager) == {"one": old.build_id}


async def test_repairs_stay_in_order_where_a_look_between_them_sees_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await manager.activate("1", service="one two")
    new = await manager.activate("2", service="one", breaking=True)
    before = await newest(manager)
    assert before == {"one": new.build_id, "two": old.build_id}
    start_empty(manager)
    ask, numbers = manager.restate.fetch_registrations, count(1)

    async def fails_the_second_time() -> object:
        if next(numbers) == 2:
            raise RestateUnavailable("http://fake", "no answer in time")
        return await ask()

    monkeypatch.setattr(manager.restate, "fetch_registrations", fails_the_second_time)
    await manager.loop.sweep()
    assert await newest(manager) == {}
    await manager.loop.sweep()
    assert await newest(manager) == before


async def test_a_lost_build_that_does_not_answer_holds_up_no_other(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = await manager.activate("1", name="silent", service="silent")
    well = await manager.activate("1", name="well", service="well")
    start_empty(manager)
    manager.cells.break_build(silent.path, Problem(504, NO_ANSWER, "it gave no whole answer within 5 s"))
    discover = manager.restate.discover

    async def waits_for_nothing(uri: str) -> object:
        if silent.path in uri:
            raise RestateUnavailable("http://fake", "no answer to POST /deployments in time")
        return await discover(uri)

    monkeypatch.setattr(manager.restate, "discover", waits_for_nothing)
    await manager.loop.sweep()
    assert await newest(manager) == {"well": well.build_id}
    assert (await manager.activate("1", name="other", service="other")).outcome == "activated"
    view = await manager.deployments.fetch(silent.build_id)
    assert (view.state, "no whole answer" in view.reason) == ("failed", True)


async def test_a_silent_restate_is_not_a_builds_fault(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await manager.activate("1", service="one two")
    new = await manager.activate("2", service="one", breaking=True)
    start_empty(manager)
    discover = manager.restate.discover

    async def is_silent(_: str) -> object:
        raise RestateUnavailable("http://fake", "no answer to POST /deployments in time")

    monkeypatch.setattr(manager.restate, "discover", is_silent)
    await manager.loop.sweep()
    assert await newest(manager) == {}
    monkeypatch.setattr(manager.restate, "discover", discover)
    await manager.loop.sweep()
    assert await newest(manager) == {"one": new.build_id, "two": old.build_id}


async def test_a_lost_build_that_was_damaged_meanwhile_holds_up_no_other(manager: Manager) -> None:
    lost = await manager.activate("1", name="lost", service="lost")
    await manager.loop.sweep()  # its files are known to be whole
    (manager.settings.bundles_dir / lost.build_id / "index.js").unlink()
    start_empty(manager)
    manager.cells.break_build(lost.path, Problem(503, "bundle_unreadable", "index.js is missing."))
    await manager.loop.sweep()
    assert (await manager.activate("1", name="other", service="other")).outcome == "activated"
    assert (await manager.deployments.fetch(lost.build_id)).state == "failed"


async def test_what_restate_has_lost_is_not_pruned_without_force(manager: Manager) -> None:
    lost = await manager.activate("1")
    wipe(manager)
    with pytest.raises(BuildInUse):
        await manager.loop.prune(PruneRequest(build_id=lost.build_id))
    await manager.loop.sweep()
    assert await newest(manager) == {"demo": lost.build_id}


async def test_what_a_sweep_removes_is_not_called_damaged(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, retain=0))
    await manager.activate("1")
    new = await manager.activate("2")
    manager.clock.now += GRACE
    await manager.loop.sweep()
    after = manager.restart()  # which has verified nothing yet
    after.clock.now += 2 * GRACE
    await after.loop.sweep()
    assert (after.stored, after.observer.damage) == ([new.build_id], {})
