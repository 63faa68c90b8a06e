from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gridiron.bundles import store as store_module
from gridiron.errors import (
    ActivationFailed,
    DigestMismatch,
    NoRestateService,
    RegistrationUnknown,
    RestateRejected,
    RestateUnavailable,
    ScriptFailed,
    SourceMissing,
    StorageFailed,
    WorkersUnavailable,
)
from gridiron.manager import activate as activate_module
from gridiron.manager import discover as discover_module
from gridiron.manager.api import ActivateRequest, RollbackRequest
from gridiron.manager.registry import Registry
from gridiron.model import Git
from gridiron.testing.restate import Refusal, fake_service
from gridiron.workers.cells import NO_ANSWER, Problem
from tests.unit.manager.conftest import ADMIN, Manager, make_settings

STEPS = ["stage", "check", "store", "discover", "compare", "register", "total"]


async def test_a_bundle_becomes_the_active_build(manager: Manager) -> None:
    activated = await manager.activate("1")
    assert (activated.outcome, activated.services, activated.replaces) == ("activated", ("demo",), ())
    assert list(activated.timings_ms) == STEPS
    assert await manager.states() == {"1": "active"}
    assert manager.stored == [activated.build_id]
    (registration,) = await manager.restate.fetch_registrations()
    assert registration.metadata == {
        "build_id": activated.build_id,
        "sha256": activated.sha256,
        "store": manager.context.store.fetch_identity(),
    }


async def test_the_next_version_replaces_it(manager: Manager) -> None:
    first = await manager.activate("1")
    second = await manager.activate("2")
    assert second.replaces == (first.build_id,)
    assert await manager.states() == {"1": "drained", "2": "active"}


async def test_the_same_content_is_left_as_it_is_and_other_variables_are_not_the_same(
    manager: Manager,
) -> None:
    first = await manager.activate("1")
    same = await manager.activate("1")
    assert (same.outcome, same.build_id, same.deployment_id) == (
        "unchanged",
        first.build_id,
        first.deployment_id,
    )
    assert manager.stored == [first.build_id]
    other = await manager.activate("1", vars={"A": 1})
    assert (other.outcome, other.replaces) == ("activated", (first.build_id,))


async def test_a_commit_is_recorded_and_is_no_part_of_the_content(manager: Manager) -> None:
    commits = [Git(commit=digit * 40, branch="main", dirty=digit == "2") for digit in "123"]
    first = await manager.activate("1", git=commits[0])
    same = await manager.activate("1", git=commits[1])
    assert (same.outcome, same.build_id) == ("unchanged", first.build_id)
    await manager.activate("2", git=commits[2])
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    builds = (first.build_id, back.build_id)
    shown = [(await manager.deployments.fetch(build_id)).git for build_id in builds]
    assert shown == [commits[0], commits[0]]
    record = manager.settings.bundles_dir / back.build_id / "metadata.json"
    assert json.loads(record.read_bytes())["git"] == {"commit": "1" * 40, "branch": "main", "dirty": False}


async def test_content_that_was_replaced_is_activated_anew(manager: Manager) -> None:
    await manager.activate("1")
    await manager.activate("2")
    again = await manager.activate("1")
    assert again.outcome == "activated"
    assert (await manager.restate.fetch_newest())["demo"] == again.deployment_id


async def test_a_dry_run_leaves_nothing(manager: Manager) -> None:
    dry = await manager.activate("1", dry_run=True)
    assert (dry.outcome, dry.services, dry.deployment_id) == ("dry_run", ("demo",), None)
    assert (manager.stored, await manager.states()) == ([], {})
    assert await manager.loaded() == []


async def test_a_source_that_cannot_be_staged_leaves_nothing(manager: Manager) -> None:
    request = ActivateRequest(source="file:///does/not/exist", name="demo", version="1")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.activate(request, ADMIN)
    assert (failure.value.step, type(failure.value.cause)) == ("stage", SourceMissing)
    assert manager.stored == []


async def test_another_digest_than_asked_for_is_refused_before_anything_is_stored(manager: Manager) -> None:
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1", sha256="0" * 64)
    assert (failure.value.step, type(failure.value.cause)) == ("stage", DigestMismatch)
    assert manager.stored == []
    assert "discover" not in manager.restate.requests


async def test_the_digest_that_was_asked_for_is_accepted(manager: Manager) -> None:
    digest = (await manager.activate("1", dry_run=True)).sha256
    assert (await manager.activate("1", sha256=digest)).outcome == "activated"


async def refuse(manager: Manager, prepare: Callable[[str], None]) -> ActivationFailed:
    """Activate what is refused, beside a build that is active and stays so; `prepare` gets its uri."""
    manager.restate.serve(manager.uri_of_next("demo", "1"), fake_service("demo", "run"))
    request = ActivateRequest(source=manager.bundle(), name="demo", version="1")
    await manager.activator.activate(request, ADMIN)
    prepare(manager.uri_of_next("demo", "2"))
    request = ActivateRequest(source=manager.bundle("// bad"), name="demo", version="2")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.activate(request, ADMIN)
    assert await manager.states() == {"1": "active"}
    assert len(manager.stored) == 1
    return failure.value


async def test_a_script_that_does_not_load_is_told_with_its_own_error(manager: Manager) -> None:
    broken = Problem(502, "script_failed", "SyntaxError: no")
    failure = await refuse(manager, lambda uri: manager.cells.break_build(urlsplit(uri).path, broken))
    assert (failure.step, failure.cause.code, failure.build_id[:7]) == (
        "discover",
        "script_failed",
        "demo-2-",
    )
    assert isinstance(failure.cause, ScriptFailed)
    assert failure.cause.reason == "SyntaxError: no"


@pytest.mark.parametrize("code", ["META0003", "META0013"])
async def test_a_worker_that_serves_no_restate_service(code: str, manager: Manager) -> None:
    refusal = Refusal(code, "no discovery")
    failure = await refuse(manager, lambda uri: manager.restate.refuse(uri, refusal))
    assert (failure.step, type(failure.cause)) == ("discover", NoRestateService)
    assert "no discovery" in str(failure.cause)


async def test_what_else_restate_refuses_is_told_in_its_words(manager: Manager) -> None:
    refusal = Refusal("META0006", "the service changes its type", 409)
    failure = await refuse(manager, lambda uri: manager.restate.refuse(uri, refusal))
    assert isinstance(failure.cause, RestateRejected)
    assert (failure.step, failure.cause.restate_code) == ("discover", "META0006")


async def test_workers_that_are_down(manager: Manager) -> None:
    failure = await refuse(manager, lambda _: manager.cells.silence())
    assert (failure.step, type(failure.cause)) == ("discover", WorkersUnavailable)


async def test_a_worker_that_serves_an_empty_list_of_services(manager: Manager) -> None:
    manager.restate.serve(manager.uri_of_next("demo", "1"))
    request = ActivateRequest(source=manager.bundle(), name="demo", version="1")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.activate(request, ADMIN)
    assert isinstance(failure.value.cause, NoRestateService)
    assert manager.stored == []


async def test_a_restate_that_is_down_changes_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    monkeypatch.setattr(activate_module, "START_LIMIT", timedelta(0))
    manager.restate.down = "connection refused"
    with pytest.raises(RestateUnavailable):
        await manager.activate("2")
    assert len(manager.stored) == 1


async def test_a_restate_that_goes_down_changes_nothing(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    discover = manager.restate.discover

    async def goes_down(uri: str) -> object:
        manager.restate.down = "connection refused"
        return await discover(uri)

    monkeypatch.setattr(manager.restate, "discover", goes_down)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("2")
    assert (failure.value.step, type(failure.value.cause)) == ("discover", RestateUnavailable)
    assert len(manager.stored) == 1


async def test_a_restate_that_lost_its_data_gets_them_back_before_anything_new(manager: Manager) -> None:
    old = await manager.activate("1", service="one two")
    await manager.activate("2", service="one", breaking=True)
    for deployment_id in list(manager.restate._deployments):
        del manager.restate._deployments[deployment_id]
    manager.restate.incarnation = "N1:2"
    new = await manager.activate("3", service="one")
    found = {str(each.address): each.services for each in await manager.restate.fetch_registrations()}
    assert found[old.build_id] == ("one", "two")
    newest = await manager.restate.fetch_newest()
    assert newest["one"] == new.deployment_id
    assert len(found) == 3


async def test_a_build_stays_when_restate_does_not_say_whether_it_registered_it(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = manager.restate.register

    async def registers_and_loses_the_answer(uri: str, metadata: dict[str, str], **_: object) -> None:
        await register(uri, metadata)
        raise RestateUnavailable("http://restate", "timed out")

    monkeypatch.setattr(manager.restate, "register", registers_and_loses_the_answer)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1")
    assert isinstance(failure.value.cause, RegistrationUnknown)
    assert await manager.states() == {"1": "active"}


async def test_one_name_is_activated_one_at_a_time_and_two_names_side_by_side(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    discover, begun, go_on = manager.restate.discover, asyncio.Semaphore(0), asyncio.Event()

    async def waits(uri: str) -> object:
        begun.release()
        await go_on.wait()
        return await discover(uri)

    monkeypatch.setattr(manager.restate, "discover", waits)
    first = asyncio.create_task(manager.activate("1"))
    second = asyncio.create_task(manager.activate("2"))
    other = asyncio.create_task(manager.activate("1", name="other", service="other"))
    for _ in range(2):
        await begun.acquire()
    assert sorted(build_id.rpartition("-")[0] for build_id in manager.stored) == ["demo-1", "other-1"]
    go_on.set()
    assert {(await each).outcome for each in (first, second, other)} == {"activated"}
    assert (await second).replaces == ((await first).build_id,)
    assert (await manager.restate.fetch_newest())["demo"] == (await second).deployment_id


async def test_a_hundred_at_once_are_neither_lost_nor_doubled(manager: Manager) -> None:
    names = [f"n{number % 10}" for number in range(100)]
    activations = [
        asyncio.create_task(manager.activate(str(version), name=name, service=name))
        for version, name in enumerate(names)
    ]
    answers = [await activation for activation in activations]
    assert {answer.outcome for answer in answers} == {"activated"}
    ids = {answer.build_id for answer in answers}
    assert len(ids) == 100
    assert set(manager.stored) == ids
    newest = await manager.restate.fetch_newest()
    assert newest == {name: answer.deployment_id for name, answer in zip(names, answers, strict=True)}


async def test_the_same_content_a_hundred_times_at_once_is_one_build(manager: Manager) -> None:
    activations = [asyncio.create_task(manager.activate("1")) for _ in range(100)]
    answers = [await activation for activation in activations]
    assert [answer.outcome for answer in answers].count("activated") == 1
    assert {answer.build_id for answer in answers} == set(manager.stored)
    assert len(manager.stored) == 1


async def test_the_registry_can_be_lost_at_any_time(manager: Manager) -> None:
    activated = await manager.activate("1")
    path = manager.settings.manager_state_dir / "state.json"
    path.unlink()
    registry = Registry(path)
    registry.reconcile(await manager.observer.observe())
    assert {build_id: record.deployment_id for build_id, record in registry.records.items()} == {
        activated.build_id: activated.deployment_id
    }


async def test_a_build_that_is_newest_for_some_of_its_services_only_is_activated_anew(
    manager: Manager,
) -> None:
    both = fake_service("one", "run"), fake_service("two", "run")
    request = ActivateRequest(source=manager.bundle("// both"), name="demo", version="1")
    manager.restate.serve(manager.uri_of_next("demo", "1"), *both)
    await manager.activator.activate(request, ADMIN)
    await manager.activate("2", service="one", breaking=True)
    manager.restate.serve(manager.uri_of_next("demo", "1"), *both)
    again = await manager.activator.activate(request, ADMIN)
    assert again.outcome == "activated"
    assert set((await manager.restate.fetch_newest()).values()) == {again.deployment_id}


async def test_a_build_that_restate_calls_at_another_address_is_activated_anew(tmp_path: Path) -> None:
    before = Manager(tmp_path, make_settings(tmp_path))
    await before.activate("1")
    after = Manager(tmp_path, make_settings(tmp_path, port_offset=100), before.restate)
    assert (await after.activate("1")).outcome == "activated"


@pytest.mark.parametrize(("version", "content"), [("1", "// new"), ("2", "// same")])
async def test_another_version_or_another_content_is_another_build(
    version: str, content: str, manager: Manager
) -> None:
    for wanted, text in (("1", "// same"), (version, content)):
        manager.restate.serve(manager.uri_of_next("demo", wanted), fake_service("demo", "run"))
        request = ActivateRequest(source=manager.bundle(text), name="demo", version=wanted)
        assert (await manager.activator.activate(request, ADMIN)).outcome == "activated"


async def test_a_damaged_build_can_be_deployed_again(manager: Manager) -> None:
    damaged = await manager.activate("1")
    file = manager.settings.bundles_dir / damaged.build_id / "index.js"
    file.write_bytes(file.read_bytes() + b" ")
    again = await manager.activate("1")
    assert (again.outcome, again.replaces) == ("activated", (damaged.build_id,))
    rolled_back = await manager.activator.rollback(RollbackRequest(name="demo", build_id=again.build_id))
    assert (rolled_back.outcome, rolled_back.build_id) == ("unchanged", again.build_id)


async def test_a_variable_that_becomes_true_instead_of_1_is_a_change(manager: Manager) -> None:
    await manager.activate("1", vars={"DEBUG": 1})
    assert (await manager.activate("1", vars={"DEBUG": True})).outcome == "activated"
    assert (await manager.activate("1", vars={"DEBUG": True})).outcome == "unchanged"


async def test_a_bundle_that_does_not_answer_is_blamed_itself(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waits_for_nothing(_: str) -> object:
        raise RestateUnavailable("http://fake", "no answer to POST /deployments in time")

    async def keeps_it_back(_: str) -> Problem:
        return Problem(504, NO_ANSWER, "it gave no whole answer within 5 s")

    monkeypatch.setattr(manager.restate, "discover", waits_for_nothing)
    monkeypatch.setattr(manager.cells, "fetch_problem", keeps_it_back)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1")
    assert isinstance(failure.value.cause, NoRestateService)
    assert "no whole answer" in str(failure.value)
    assert manager.stored == []


async def test_a_bundle_that_answers_late_is_waited_for(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover_module, "PATIENCE", timedelta(0))
    discover = manager.restate.discover

    async def late(uri: str) -> object:
        await asyncio.sleep(0.05)
        return await discover(uri)

    async def not_yet(_: str) -> Problem:
        return Problem(504, NO_ANSWER, "it gave no whole answer within 5 s")

    monkeypatch.setattr(manager.restate, "discover", late)
    monkeypatch.setattr(manager.cells, "fetch_problem", not_yet)
    assert (await manager.activate("1")).outcome == "activated"


async def test_what_an_activation_failed_by_is_told_although_its_build_cannot_be_taken_away(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(_: str) -> None:
        raise StorageFailed("Removing", "/bundles", "Read-only file system")

    monkeypatch.setattr(manager.context.store, "remove", read_only)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate_source(manager.bundle("no offers"), "1")
    assert failure.value.step == "discover"
    monkeypatch.undo()
    await manager.loop.sweep()
    assert manager.stored == []


async def test_builds_that_cannot_be_listed_fail_the_check(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: str) -> None:
        raise StorageFailed("Reading", "/bundles", "Input/output error")

    await manager.activate("1")
    monkeypatch.setattr(manager.context.store, "fetch_inventory_of", unreadable)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("2")
    assert (failure.value.step, type(failure.value.cause)) == ("check", StorageFailed)
    assert len(manager.stored) == 1


async def test_activations_of_one_name_wait_for_restate_side_by_side(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, now = asyncio.sleep, 0.0

    async def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds
        await sleep(0)

    monkeypatch.setattr(activate_module.time, "monotonic", lambda: now)
    monkeypatch.setattr(activate_module.asyncio, "sleep", pass_time)
    manager.restate.down = "connection refused"
    results = await asyncio.gather(*(manager.activate("1") for _ in range(8)), return_exceptions=True)
    assert {type(each) for each in results} == {RestateUnavailable}
    assert now == pytest.approx(activate_module.START_LIMIT.total_seconds(), abs=1)


async def test_a_takeover_does_not_come_after_what_began_after_it(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await manager.activate("0", name="slow", service="slow")
    discover, quick_done, began = manager.restate.discover, asyncio.Event(), asyncio.Event()

    async def waits(uri: str) -> object:
        if "/slow/" in uri:
            began.set()
            await quick_done.wait()
        return await discover(uri)

    monkeypatch.setattr(manager.restate, "discover", waits)
    slow = asyncio.create_task(manager.activate("1", name="slow", service="shared slow", takeover=True))
    await began.wait()
    quick = await manager.activate("1", name="quick", service="shared")
    quick_done.set()
    with pytest.raises(ActivationFailed, match=f"{quick.build_id} was activated meanwhile"):
        await slow
    assert set(manager.stored) == {first.build_id, quick.build_id}
    again = await manager.activate("1", name="slow", service="shared slow", takeover=True)
    assert again.takes_over == {"shared": quick.build_id}


@pytest.mark.parametrize("method", ["snapshot", "publish"])
async def test_what_nobody_foresaw_leaves_nothing_either(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_given: object) -> None:
        raise RuntimeError(method)

    owner = manager.context.store if method == "publish" else manager.context.secrets
    monkeypatch.setattr(owner, method, fail)
    with pytest.raises(RuntimeError, match=method):
        await manager.activate("1")
    assert manager.stored == []


async def test_a_cancelled_activation_leaves_what_the_next_start_takes_away(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow_sync(_: object) -> None:
        entered.set()
        go.wait(5)

    rmtree = shutil.rmtree

    def hollow(directory: Path, **more: Any) -> None:
        for file in sorted(directory.iterdir()):
            file.unlink()
            go.set()
        rmtree(directory, **more)

    monkeypatch.setattr(store_module, "sync_tree", slow_sync)
    monkeypatch.setattr(store_module.shutil, "rmtree", hollow)
    publish, published = manager.context.store.publish, threading.Event()

    def publishing(*given: Any) -> Path:
        try:
            return publish(*given)
        finally:
            published.set()

    monkeypatch.setattr(manager.context.store, "publish", publishing)
    activation = asyncio.create_task(manager.activate("1"))
    await asyncio.to_thread(entered.wait, 5)
    activation.cancel()
    await asyncio.gather(activation, return_exceptions=True)
    go.set()
    assert await asyncio.to_thread(published.wait, 5)
    monkeypatch.undo()
    assert len(manager.stored) == 1
    after = manager.restart()
    await after.loop.sweep()
    assert after.stored == []
