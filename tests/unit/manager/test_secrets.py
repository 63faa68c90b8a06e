from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gridiron.bundles.paths import SEALED_FILE
from gridiron.errors import (
    ActivationFailed,
    GridironError,
    RegistrationUnknown,
    RestateRejected,
    SecretInvalid,
    SecretIsVariable,
    SecretNotFound,
    SecretsMissing,
    SecretsUnreadable,
    SecretTooLarge,
    StorageFailed,
)
from gridiron.manager.api import PruneRequest, RollbackRequest, SecretChanged
from gridiron.manager.secrets import Change
from gridiron.process import kept as kept_module
from gridiron.secrets.key import KEY_FILE, fetch_key
from gridiron.secrets.seal import snapshot_of, unseal
from gridiron.secrets.store import Secret
from gridiron.workers.cells import Problem
from tests.unit.manager.conftest import NOW, Manager


async def put(manager: Manager, key: str, value: str | None, name: str = "demo") -> SecretChanged:
    manager.clock.now += timedelta(seconds=1)
    return await manager.activator.change_secret(Change(name, key, value))


def kept(manager: Manager, name: str = "demo") -> dict[str, str]:
    return {key: secret.value for key, secret in manager.context.secrets.fetch(name).items()}


def given(manager: Manager, build_id: str) -> dict[str, str]:
    """What a build is given, as the cells read it."""
    path = manager.settings.bundles_dir / build_id / SEALED_FILE
    if not path.exists():
        return {}
    opened = unseal(fetch_key(manager.settings.secrets_dir), snapshot_of(build_id), path.read_bytes(), "")
    values: dict[str, str] = json.loads(opened)
    return values


def metadata(manager: Manager, build_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (manager.settings.bundles_dir / build_id / "metadata.json").read_text()
    )
    return found


async def active(manager: Manager) -> str:
    """The build that Restate routes new invocations to."""
    newest = (await manager.restate.fetch_newest())["demo"]
    registrations = await manager.restate.fetch_registrations()
    return next(str(each.address) for each in registrations if each.deployment_id == newest)


# -- setting and removing --------------------------------------------------------------------------------


async def test_a_secret_of_a_name_without_builds_waits_for_one(manager: Manager) -> None:
    changed = await put(manager, "A", "a")
    assert changed == SecretChanged(name="demo", key="A", changed=True, activated=None, missing=())
    assert (kept(manager), manager.stored) == ({"A": "a"}, [])
    build_id = (await manager.activate("1")).build_id
    assert given(manager, build_id) == {"A": "a"}
    assert metadata(manager, build_id)["secrets"] == ["A"]


async def test_a_secret_makes_the_active_build_anew(manager: Manager) -> None:
    first = await manager.activate("1")
    changed = await put(manager, "A", "hunter2")
    assert changed.changed
    assert changed.activated is not None
    assert (changed.activated.outcome, changed.activated.replaces) == ("activated", (first.build_id,))
    second = changed.activated.build_id
    assert (await active(manager), given(manager, second)) == (second, {"A": "hunter2"})
    assert kept(manager) == {"A": "hunter2"}
    old, new = metadata(manager, first.build_id), metadata(manager, second)
    assert {key for key in new if new[key] != old.get(key)} == {
        "created_at",
        "secrets",
        "secrets_tag",
        "source",
        "timestamp",
    }
    assert new["source"] == f"build:{first.build_id}"
    assert changed.activated.ignored == ()


async def test_a_build_without_secrets_is_written_as_ever(manager: Manager) -> None:
    build_id = (await manager.activate("1")).build_id
    assert not {"secrets", "secrets_tag", "required_secrets"} & metadata(manager, build_id).keys()
    assert not (manager.settings.bundles_dir / build_id / SEALED_FILE).exists()


async def test_a_build_never_changes(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    path = manager.settings.bundles_dir / first / SEALED_FILE
    before = path.read_bytes()
    await put(manager, "A", "b")
    assert (path.read_bytes(), given(manager, first)) == (before, {"A": "a"})


async def test_the_same_value_again_changes_nothing(manager: Manager) -> None:
    await put(manager, "A", "a")
    await manager.activate("1")
    times, stored = manager.context.secrets.fetch_times("demo"), manager.stored
    again = await put(manager, "A", "a")
    assert again == SecretChanged(name="demo", key="A", changed=False, activated=None, missing=())
    assert (manager.context.secrets.fetch_times("demo"), manager.stored) == (times, stored)


async def test_the_times_are_those_of_the_changes(manager: Manager) -> None:
    await put(manager, "A", "a")
    await put(manager, "B", "b")
    await put(manager, "A", "a")
    times = manager.context.secrets.fetch_times("demo")
    assert times == {"A": NOW + timedelta(seconds=1), "B": NOW + timedelta(seconds=2)}


async def test_a_removed_secret_is_in_no_new_build(manager: Manager) -> None:
    await manager.activate("1")
    await put(manager, "A", "a")
    await put(manager, "B", "b")
    removed = await put(manager, "A", None)
    assert (removed.changed, kept(manager)) == (True, {"B": "b"})
    assert given(manager, await active(manager)) == {"B": "b"}
    last = await put(manager, "B", None)
    assert last.activated is not None
    build_id = last.activated.build_id
    assert await active(manager) == build_id
    assert not {"secrets", "secrets_tag"} & metadata(manager, build_id).keys()
    with pytest.raises(SecretNotFound):
        await put(manager, "B", None)


async def test_names_have_their_own(manager: Manager) -> None:
    await manager.activate("1")
    other = await manager.activate("1", name="other", service="other")
    changed = await put(manager, "A", "a", name="other")
    assert changed.activated is not None
    assert changed.activated.replaces == (other.build_id,)
    assert (kept(manager), given(manager, await active(manager))) == ({}, {})


async def test_two_changes_at_once_are_both_there_in_the_end(manager: Manager) -> None:
    await manager.activate("1")
    changes = [Change("demo", f"K{number}", str(number)) for number in range(6)]
    await asyncio.gather(*(manager.activator.change_secret(change) for change in changes))
    wanted = {f"K{number}": str(number) for number in range(6)}
    assert (kept(manager), given(manager, await active(manager))) == (wanted, wanted)


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [("A B", "a", SecretInvalid), ("A", "", SecretInvalid), ("A", "a" * 65537, SecretTooLarge)],
)
async def test_what_cannot_be_a_secret_changes_nothing(
    manager: Manager, key: str, value: str, error: type[GridironError]
) -> None:
    await manager.activate("1")
    stored = manager.stored
    with pytest.raises(error):
        await put(manager, key, value)
    assert (kept(manager), manager.stored) == ({}, stored)


# -- failures --------------------------------------------------------------------------------------------


async def fail(manager: Manager, key: str, value: str | None) -> ActivationFailed:
    with pytest.raises(ActivationFailed) as failure:
        await put(manager, key, value)
    return failure.value


def broken(manager: Manager) -> None:
    """Have the next build of the name not load: it fails after it was stored."""
    manager.clock.now += timedelta(seconds=1)
    uri = manager.uri_of_next("demo", "1")
    manager.clock.now -= timedelta(seconds=1)
    manager.restate.serve(uri)  # it offers nothing
    path = "/demo" + uri.partition("/demo")[2]
    manager.cells.break_build(path, Problem(502, "script_failed", "no luck"))


async def test_where_the_new_build_does_not_load_all_is_as_before(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    broken(manager)
    failure = await fail(manager, "A", "b")
    assert failure.step == "discover"
    assert (kept(manager), await active(manager), manager.stored) == ({"A": "a"}, first, [first])


async def test_where_the_registration_is_refused_all_is_as_before(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    seen: list[Mapping[str, str]] = []

    async def refuse(*_: object, **__: object) -> None:
        seen.append(kept(manager))
        raise RestateRejected("register", 409, "no")

    monkeypatch.setattr(manager.restate, "register", refuse)
    for value in ("b", None):
        failure = await fail(manager, "A", value)
        assert (failure.step, type(failure.cause)) == ("register", RestateRejected)
        assert (kept(manager), await active(manager), manager.stored) == ({"A": "a"}, first, [first])
    assert seen == [{"A": "b"}, {}]


async def test_where_the_disk_fails_under_the_change_all_is_as_before(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    sync, failures = kept_module.sync_directory, iter([OSError(5, "Input/output error")])

    def fail_once(directory: Path) -> None:
        for failure in failures:
            raise failure
        sync(directory)

    monkeypatch.setattr(kept_module, "sync_directory", fail_once)
    failure = await fail(manager, "A", "b")
    assert (failure.step, type(failure.cause)) == ("register", StorageFailed)
    assert (kept(manager), await active(manager), manager.stored) == ({"A": "a"}, first, [first])


async def test_where_the_registration_is_unknown_the_secret_stays_with_the_build(manager: Manager) -> None:
    await manager.activate("1")
    manager.restate.failing.add("register")
    failure = await fail(manager, "A", "a")
    assert isinstance(failure.cause, RegistrationUnknown)
    assert kept(manager) == {"A": "a"}
    manager.restate.failing.clear()
    again = await put(manager, "A", "a")  # the active build has not got it
    assert not again.changed
    assert again.activated is not None
    assert given(manager, await active(manager)) == {"A": "a"}


async def test_what_a_crash_left_is_finished_by_the_next_change(manager: Manager) -> None:
    await manager.activate("1")
    secrets = manager.context.secrets
    secrets.replace("demo", {"A": Secret("a", NOW)}, {})  # it was kept, and nothing more
    later = manager.restart()
    again = await put(later, "A", "a")
    assert not again.changed
    assert again.activated is not None
    assert given(later, await active(later)) == {"A": "a"}


async def test_a_spoiled_snapshot_is_told_and_mended_by_setting_the_same(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    (manager.settings.bundles_dir / first / SEALED_FILE).write_bytes(b"spoiled")
    await manager.loop.sweep()
    view = await manager.deployments.fetch(first)
    assert view.state.value == "failed"
    assert "they do not open with this node's key" in view.reason
    again = await put(manager, "A", "a")
    assert (again.changed, again.activated is not None) == (False, True)
    assert given(manager, await active(manager)) == {"A": "a"}


async def test_a_missing_snapshot_is_told(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    (manager.settings.bundles_dir / first / SEALED_FILE).unlink()
    await manager.loop.sweep()
    view = await manager.deployments.fetch(first)
    assert f"{SEALED_FILE} is not as it was stored: No such file or directory" in view.reason


async def test_without_the_key_nothing_of_the_name_is_activated(manager: Manager, tmp_path: Path) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    path = manager.settings.secrets_dir / KEY_FILE
    path.rename(tmp_path / KEY_FILE)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("2")
    assert isinstance(failure.value.cause, SecretsUnreadable)
    with pytest.raises(SecretsUnreadable):
        await put(manager, "A", "b")
    assert manager.stored == [first]
    assert (await manager.activate("1", name="other", service="other")).outcome == "activated"
    (tmp_path / KEY_FILE).rename(path)
    assert given(manager, (await manager.activate("2")).build_id) == {"A": "a"}


async def test_secrets_that_a_cell_cannot_open_are_told_as_such(manager: Manager) -> None:
    await put(manager, "A", "a")
    manager.clock.now += timedelta(seconds=1)
    uri = manager.uri_of_next("demo", "1")
    manager.clock.now -= timedelta(seconds=1)
    manager.restate.serve(uri)
    unreadable = Problem(503, "secrets_unreadable", "The node's key is missing.")
    manager.cells.break_build("/demo" + uri.partition("/demo")[2], unreadable)
    manager.restate.failing.add("discover")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1")
    assert isinstance(failure.value.cause, SecretsUnreadable)
    assert failure.value.cause.reason == "The node's key is missing."


# -- activations -----------------------------------------------------------------------------------------


async def test_secrets_that_are_given_with_an_activation_stay(manager: Manager) -> None:
    await put(manager, "OLD", "old")
    first = await manager.activate("1", secrets={"A": "a"})
    assert (kept(manager), given(manager, first.build_id)) == ({"OLD": "old", "A": "a"},) * 2
    second = await manager.activate("2")
    assert given(manager, second.build_id) == {"OLD": "old", "A": "a"}


async def test_other_secrets_make_another_build_and_the_same_do_not(manager: Manager) -> None:
    first = await manager.activate("1", secrets={"A": "a"})
    assert (await manager.activate("1")).outcome == "unchanged"
    assert (await manager.activate("1", secrets={"A": "a"})).outcome == "unchanged"
    other = await manager.activate("1", secrets={"A": "b"})
    assert (other.outcome, other.replaces) == ("activated", (first.build_id,))
    assert (kept(manager), given(manager, other.build_id)) == ({"A": "b"}, {"A": "b"})


async def test_a_failed_activation_keeps_none_of_them(manager: Manager) -> None:
    await manager.activate("1")
    with pytest.raises(ActivationFailed):
        await manager.activate_source(manager.bundle("export default 1"), "2", secrets={"A": "a"})
    assert kept(manager) == {}


async def test_nor_does_a_dry_run(manager: Manager) -> None:
    dry = await manager.activate("1", secrets={"A": "a"}, dry_run=True)
    assert (dry.outcome, kept(manager), manager.stored) == ("dry_run", {}, [])


@pytest.mark.parametrize("secrets", [{"A-B": "a"}, {"A": ""}, {"A": "a" * 65537}])
async def test_what_cannot_be_a_secret_is_refused_before_anything_is_stored(
    manager: Manager, secrets: dict[str, str]
) -> None:
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1", secrets=secrets)
    assert failure.value.step == "check"
    assert failure.value.cause.code in {"secret_invalid", "secret_too_large"}
    assert (manager.stored, kept(manager)) == ([], {})


async def test_a_rollback_has_the_secrets_of_now(manager: Manager) -> None:
    await put(manager, "A", "old")
    first = (await manager.activate("1")).build_id
    await manager.activate("2")
    await put(manager, "A", "new")  # makes the second version anew
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert metadata(manager, back.build_id)["source"] == f"build:{first}"
    assert given(manager, back.build_id) == {"A": "new"}
    assert (await manager.states())["1"] == "active"


# -- what a bundle requires ------------------------------------------------------------------------------


async def require(manager: Manager, version: str, *keys: str, **more: Any) -> str:
    """Activate a version that requires secrets."""
    source = manager.bundle(f"// {version} {keys}\n// offers demo")
    directory = Path(source.removeprefix("file://"))
    (directory / "metadata.json").write_text(json.dumps({"required_secrets": keys, **more}))
    manager.clock.now += timedelta(seconds=1)
    return (await manager.activate_source(source, version)).build_id


async def test_a_bundle_gets_what_it_requires_or_is_refused(manager: Manager) -> None:
    await put(manager, "B", "b")
    with pytest.raises(ActivationFailed) as failure:
        await require(manager, "1", "A", "B", "C")
    assert isinstance(failure.value.cause, SecretsMissing)
    assert failure.value.cause.keys == "A, C"
    assert manager.stored == []
    for key in "AC":
        await put(manager, key, "x")
    assert given(manager, await require(manager, "1", "A", "B", "C")) == {"A": "x", "B": "b", "C": "x"}


async def test_what_the_active_build_requires_cannot_be_removed(manager: Manager) -> None:
    await put(manager, "A", "a")
    build_id = await require(manager, "1", "A")
    with pytest.raises(SecretsMissing):
        await put(manager, "A", None)
    assert (kept(manager), await active(manager), manager.stored) == ({"A": "a"}, build_id, [build_id])


async def test_after_a_loss_what_is_required_is_set_one_after_the_other(manager: Manager) -> None:
    await put(manager, "A", "a")
    await put(manager, "B", "b")
    await require(manager, "1", "A", "B")
    manager.context.secrets.replace("demo", {}, {})
    first = await put(manager, "A", "a")
    assert first == SecretChanged(name="demo", key="A", changed=True, activated=None, missing=("B",))
    second = await put(manager, "B", "x")
    assert second.activated is not None
    assert given(manager, await active(manager)) == {"A": "a", "B": "x"}


async def test_a_rollback_to_what_requires_a_secret_that_is_gone_is_refused(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = await require(manager, "1", "A")
    await manager.activate("2")
    await put(manager, "A", None)
    with pytest.raises(SecretsMissing):
        await manager.activator.rollback(RollbackRequest(name="demo", build_id=first))


async def test_a_variable_and_a_secret_of_one_name_are_refused(manager: Manager) -> None:
    await put(manager, "A", "a")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate("1", vars={"A": 1})
    assert isinstance(failure.value.cause, SecretIsVariable)
    await manager.activate("1", vars={"B": 1})
    stored = manager.stored
    with pytest.raises(SecretIsVariable):
        await put(manager, "B", "b")
    assert (kept(manager), manager.stored) == ({"A": "a"}, stored)


async def test_a_stored_build_can_be_deployed_again(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = await require(manager, "1", "A")
    source = (manager.settings.bundles_dir / first).as_uri()
    manager.clock.now += timedelta(seconds=1)
    again = await manager.activate_source(source, "2")
    assert (SEALED_FILE in again.ignored, given(manager, again.build_id)) == (True, {"A": "a"})
    with pytest.raises(ActivationFailed, match="secrets that other does not have: A"):
        await manager.activate_source(source, "1", name="other")


async def test_no_rule_makes_the_snapshot_a_module(manager: Manager) -> None:
    source = manager.bundle("// offers demo")
    directory = Path(source.removeprefix("file://"))
    (directory / "metadata.json").write_text(json.dumps({"rules": [{"type": "data", "globs": ["**"]}]}))
    (directory / SEALED_FILE).write_bytes(b"of somewhere else")
    await put(manager, "A", "a")
    manager.clock.now += timedelta(seconds=1)
    first = await manager.activate_source(source, "1")
    assert (SEALED_FILE in first.ignored, given(manager, first.build_id)) == (True, {"A": "a"})
    changed = await put(manager, "A", "b")
    assert changed.activated is not None
    modules = metadata(manager, changed.activated.build_id)["modules"]
    assert [module["name"] for module in modules] == ["index.js"]
    assert given(manager, await active(manager)) == {"A": "b"}


# -- the end of a build ----------------------------------------------------------------------------------


async def test_the_snapshot_goes_with_the_build(manager: Manager) -> None:
    await put(manager, "A", "a")
    first = (await manager.activate("1")).build_id
    await manager.activate("2")
    await manager.loop.prune(PruneRequest(build_id=first))
    assert not (manager.settings.bundles_dir / first).exists()
    assert kept(manager) == {"A": "a"}


def test_nothing_shows_a_value_by_itself() -> None:
    assert "hunter2" not in repr(Change("demo", "A", "hunter2"))
    assert "hunter2" not in repr(Secret("hunter2", NOW))
