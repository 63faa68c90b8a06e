"""Whose a service is, what a new version changes, and rolling back."""

from __future__ import annotations

import asyncio

import pytest

from gridiron.errors import (
    ActivationFailed,
    BreakingChange,
    BuildNotFound,
    DigestMismatch,
    GridironError,
    NothingToRollBackTo,
    RestateUnavailable,
    ServiceTaken,
)
from gridiron.manager.api import Activated, Keeping, PruneRequest, RollbackRequest
from gridiron.testing.restate import fake_service
from tests.unit.manager.conftest import Manager


async def refused(manager: Manager, *arguments: str, **more: object) -> GridironError:
    """What an activation is refused for, which leaves everything as it was."""
    before = manager.stored, await manager.restate.fetch_newest()
    with pytest.raises(ActivationFailed) as failure:
        await manager.activate(*arguments, **more)  # type: ignore[arg-type]
    assert failure.value.step == "compare"
    assert (manager.stored, await manager.restate.fetch_newest()) == before
    return failure.value.cause


# -- owners ----------------------------------------------------------------------------------------------


async def test_a_service_of_another_name_is_refused_unless_it_is_taken_over(manager: Manager) -> None:
    owner = await manager.activate("1", name="owner", service="cart")
    cause = await refused(manager, "1", name="thief", service="cart")
    assert isinstance(cause, ServiceTaken)
    assert cause.owners == f"cart ({owner.build_id})"
    taken = await manager.activate("1", name="thief", service="cart", takeover=True)
    assert taken.takes_over == {"cart": owner.build_id}
    assert (await manager.restate.fetch_newest())["cart"] == taken.deployment_id
    cause = await refused(manager, "2", name="owner", service="cart")  # it is not its own any more
    assert isinstance(cause, ServiceTaken)


async def test_a_service_that_was_registered_by_hand_has_an_owner_too(manager: Manager) -> None:
    manager.restate.serve("http://elsewhere:9000/", fake_service("cart", "run"))
    await manager.restate.register("http://elsewhere:9000/", {})
    cause = await refused(manager, "1", service="cart")
    assert isinstance(cause, ServiceTaken)
    assert cause.owners == "cart (http://elsewhere:9000/)"


async def test_of_two_that_want_one_service_at_once_one_gets_it(manager: Manager) -> None:
    names = [f"n{number}" for number in range(10)]
    activations = [
        asyncio.create_task(manager.activate("1", name=name, service="cart more")) for name in names
    ]
    outcomes = await asyncio.gather(*activations, return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, Activated)]
    causes = [outcome.cause for outcome in outcomes if isinstance(outcome, ActivationFailed)]
    assert len(winners) == 1
    assert {type(cause) for cause in causes} == {ServiceTaken}
    assert manager.stored == [winners[0].build_id]


async def test_a_restate_that_restarts_during_the_comparison_is_not_believed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1", name="owner", service="cart")
    fetch_holder = manager.restate.fetch_holder

    async def restarts(service: str) -> object:
        manager.restate.incarnation = None
        answer = await fetch_holder(service)
        manager.restate.incarnation = "N1:2"
        return answer

    monkeypatch.setattr(manager.restate, "fetch_holder", restarts)
    assert isinstance(await refused(manager, "1", name="thief", service="cart"), RestateUnavailable)


# -- breaking changes ------------------------------------------------------------------------------------


async def test_a_service_less_is_refused_unless_it_is_meant(manager: Manager) -> None:
    old = await manager.activate("1", service="cart greeter")
    cause = await refused(manager, "2", service="greeter")
    assert isinstance(cause, BreakingChange)
    assert cause.changes == "cart is removed"
    new = await manager.activate("2", service="greeter", breaking=True)
    assert new.keeps == (Keeping(service="cart", build_id=old.build_id),)
    assert await manager.states() == {"1": "active", "2": "active"}
    third = await manager.activate("3", service="greeter")  # what is compared with is the newest build
    assert (third.changes, third.keeps) == ((), new.keeps)


async def test_a_dry_run_shows_what_would_change_and_be_refused(manager: Manager) -> None:
    owner = await manager.activate("1", name="owner", service="clock")
    old = await manager.activate("1", service="cart greeter")
    dry = await manager.activate("2", service="greeter clock more", dry_run=True)
    assert [(change.detail, change.breaking) for change in dry.changes] == [
        ("cart is removed", True),
        ("more is added", False),
    ]
    assert dry.takes_over == {"clock": owner.build_id}
    assert [refusal.code for refusal in dry.refusals] == ["service_taken", "breaking_change"]
    assert dry.keeps == (Keeping(service="cart", build_id=old.build_id),)
    allowed = await manager.activate(
        "2", service="greeter clock more", dry_run=True, breaking=True, takeover=True
    )
    assert allowed.refusals == ()
    assert await manager.states() == {"1": "active"}


@pytest.mark.parametrize(
    ("service", "change"),
    [
        ("cart:get", "cart/add is removed"),
        ("cart=Workflow:add,get", "cart changes from Service to Workflow"),
    ],
)
async def test_a_handler_less_or_another_type_is_refused_unless_it_is_meant(
    service: str, change: str, manager: Manager
) -> None:
    await manager.activate("1", service="cart:add,get")
    cause = await refused(manager, "2", service=service)
    assert isinstance(cause, BreakingChange)
    assert cause.changes == change
    done = await manager.activate("2", service=service, breaking=True)
    assert [(each.detail, each.breaking) for each in done.changes] == [(change, True)]


# -- rolling back ----------------------------------------------------------------------------------------


async def test_a_rollback_makes_the_build_before_active_again_as_a_new_one(manager: Manager) -> None:
    first, second = await manager.activate("1"), await manager.activate("2")
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert (back.outcome, back.sha256, back.replaces) == ("activated", first.sha256, (second.build_id,))
    assert back.build_id not in {first.build_id, second.build_id}
    assert (await manager.restate.fetch_newest())["demo"] == back.deployment_id
    view = await manager.deployments.fetch(back.build_id)
    assert (view.version, view.source, view.state.value) == ("1", f"build:{first.build_id}", "active")
    again = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert again.sha256 == second.sha256


async def test_the_same_content_under_another_version_can_be_rolled_back_to(manager: Manager) -> None:
    source = manager.bundle("// the same\n// offers demo")
    first = await manager.activate_source(source, "1")
    await manager.activate_source(source, "2")
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert (back.outcome, back.sha256) == ("activated", first.sha256)
    assert (await manager.deployments.fetch(back.build_id)).version == "1"


async def test_a_rollback_to_a_build_that_is_named(manager: Manager) -> None:
    builds = [await manager.activate(version) for version in "123"]
    await manager.loop.prune(PruneRequest())  # the first two retire
    back = await manager.activator.rollback(RollbackRequest(name="demo", build_id=builds[0].build_id))
    assert back.sha256 == builds[0].sha256
    same = await manager.activator.rollback(RollbackRequest(name="demo", build_id=back.build_id))
    assert (same.outcome, same.build_id) == ("unchanged", back.build_id)


async def test_what_a_rollback_takes_from_callers_is_allowed(manager: Manager) -> None:
    await manager.activate("1", service="cart")
    second = await manager.activate("2", service="cart more")
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert back.keeps == (Keeping(service="more", build_id=second.build_id),)


async def test_a_rollback_takes_no_service_from_others(manager: Manager) -> None:
    await manager.activate("1", service="cart")
    await manager.activate("2", service="more", breaking=True)
    await manager.activate("1", name="other", service="cart", takeover=True)
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.rollback(RollbackRequest(name="demo"))
    assert isinstance(failure.value.cause, ServiceTaken)


async def test_there_has_to_be_something_to_roll_back_to(manager: Manager) -> None:
    with pytest.raises(NothingToRollBackTo):
        await manager.activator.rollback(RollbackRequest(name="demo"))
    only = await manager.activate("1")
    with pytest.raises(NothingToRollBackTo):
        await manager.activator.rollback(RollbackRequest(name="demo"))
    other = await manager.activate("1", name="other", service="other")
    for build_id in (other.build_id, "demo-9-9"):
        with pytest.raises(BuildNotFound):
            await manager.activator.rollback(RollbackRequest(name="demo", build_id=build_id))
    assert set(manager.stored) == {only.build_id, other.build_id}


async def test_a_build_that_is_damaged_is_not_rolled_back_to(manager: Manager) -> None:
    first, second = await manager.activate("1"), await manager.activate("2")
    (manager.settings.bundles_dir / first.build_id / "index.js").write_text("// offers demo and more")
    with pytest.raises(ActivationFailed) as failure:
        await manager.activator.rollback(RollbackRequest(name="demo"))
    assert (failure.value.step, type(failure.value.cause)) == ("stage", DigestMismatch)
    assert set(manager.stored) == {first.build_id, second.build_id}


async def test_without_an_active_build_the_newest_that_is_kept_comes_back(manager: Manager) -> None:
    first, second = await manager.activate("1"), await manager.activate("2")
    await manager.loop.prune(PruneRequest())
    await manager.loop.prune(PruneRequest(build_id=second.build_id, force=True))
    assert await manager.states() == {"1": "retired"}
    back = await manager.activator.rollback(RollbackRequest(name="demo"))
    assert (back.sha256, back.replaces) == (first.sha256, ())
