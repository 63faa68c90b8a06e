from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gridiron.errors import (
    ActivationFailed,
    DigestMismatch,
    NoRestateService,
    RegistrationUnknown,
    RestateRejected,
    RestateUnavailable,
    ScriptFailed,
    SourceMissing,
    WorkersUnavailable,
)
from gridiron.manager import activate as activate_module
from gridiron.manager.api import ActivateRequest
from gridiron.manager.registry import Registry
from gridiron.testing.restate import Refusal, fake_service
from gridiron.workers.cells import Problem
from tests.unit.manager.conftest import Manager, make_settings

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
        await manager.activator.activate(request)
    assert (failure.value.step, type(failure.value.cause)) == ("stage", SourceMissing)
    assert manager.stored == []


async def test_another_digest_than_asked_for_is_refused_before_anything_is_stored(manager: Manager) -> None:
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1", sha256="0" * 64)
    assert (failure.value.step, type(failure.value.cause)) == ("check", DigestMismatch)
    assert manager.stored == []
    assert "discover" not in manager.restate.requests


async def test_the_digest_that_was_asked_for_is_accepted(manager: Manager) -> None:
    digest = (await manager.activate("1", dry_run=True)).sha256
    assert (await manager.activate("1", sha256=digest)).outcome == "activated"


async def refuse(manager: Manager, prepare: Callable[[str], None]) -> ActivationFailed:
    """Activate what is refused, beside a build that is active and stays so; `prepare` gets its uri."""
    manager.restate.serve(manager.uri_of_next("demo", "1"), fake_service("demo", "run"))
    await manager.activator.activate(ActivateRequest(source=manager.bundle(), name="demo", version="1"))
    prepare(manager.uri_of_next("demo", "2"))
    request = ActivateRequest(source=manager.bundle("// bad"), name="demo", version="2")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.activate(request)
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
        await manager.activator.activate(request)
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
    await manager.activator.activate(request)
    await manager.activate("2", service="one", breaking=True)
    manager.restate.serve(manager.uri_of_next("demo", "1"), *both)
    again = await manager.activator.activate(request)
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
        assert (await manager.activator.activate(request)).outcome == "activated"
