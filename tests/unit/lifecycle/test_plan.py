from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gridiron.errors import ActivationInProgress, BuildInUse, BuildNotFound, DrainUnknown
from gridiron.lifecycle.observation import Damaged, Demand, Inventory, Mark, Observation, Unknown
from gridiron.lifecycle.plan import (
    MAX_REMOVALS,
    Action,
    Policy,
    Register,
    Remove,
    Settle,
    Unload,
    plan,
    plan_prune,
    plan_prune_drained,
    track_drained,
)
from gridiron.lifecycle.states import BuildStatus, statuses_of
from gridiron.model import Build, State
from tests.values import NOW, make_build, make_observation, make_registration

GRACE = timedelta(seconds=60)
POLICY = Policy(grace=GRACE, retain=5)
LONG_AGO = NOW - timedelta(hours=1)
V1, V2, V3 = (make_build(f"{n}.0.0", n) for n in (1, 2, 3))

ONLY_V1 = (make_registration(V1.address, "dp_1", "s"),)


def id_of(build: Build) -> str:
    return f"dp_{build.timestamp}"


def observe(*builds: Build, **parts: Any) -> Observation:
    """All of the builds registered, the last one newest for their one service; `parts` change that."""
    registrations = tuple(make_registration(build.address, id_of(build), "s") for build in builds)
    seen = {"registrations": registrations, "newest": {"s": id_of(builds[-1])} if builds else {}}
    return make_observation(builds, **{**seen, **parts})


def actions(
    seen: Observation, drained_at: Mapping[str, datetime] | None = None, policy: Policy = POLICY
) -> tuple[Action, ...]:
    """What is planned when everything has been drained for long."""
    assert isinstance(seen.inventory, Inventory)
    since = {status.build_id: LONG_AGO for status in statuses_of(seen.inventory, seen)}
    return plan(seen, since if drained_at is None else drained_at, policy, NOW)


def statuses(seen: Observation) -> tuple[BuildStatus, ...]:
    assert isinstance(seen.inventory, Inventory)
    return statuses_of(seen.inventory, seen)


def removal(build: Build, *, registered: bool = True, files: bool = False, forced: bool = False) -> Remove:
    deployment_id = id_of(build) if registered else None
    return Remove(build.build_id, build.address.path, deployment_id, files=files, forced=forced)


# -- retiring --------------------------------------------------------------------------------------------


def test_only_what_is_drained_is_retired_and_only_after_its_grace() -> None:
    seen = observe(V1, V2, V3, demand={id_of(V2): Demand(pinned=1, attempting=0)})
    assert actions(seen) == (removal(V1),)
    since = {V1.build_id: NOW - GRACE}
    assert plan(seen, since, POLICY, NOW) == (removal(V1),)
    assert plan(seen, since, POLICY, NOW - timedelta(seconds=1)) == ()
    assert plan(seen, {}, POLICY, NOW) == ()


def test_files_go_once_more_than_retain_newer_builds_of_the_name_exist() -> None:
    other = make_build("1", 5, name="other")
    v4 = make_build("4.0.0", 4)
    marks = dict.fromkeys((b.build_id for b in (V1, V2, V3, other)), Mark.RETIRED)
    registered = make_registration(v4.address, id_of(v4), "s")
    seen = make_observation(
        (V1, V2, V3, v4, other), marks=marks, registrations=(registered,), newest={"s": id_of(v4)}
    )
    gone = [removal(build, registered=False, files=True) for build in (V1, V2, V3)]
    assert actions(seen, policy=Policy(GRACE, retain=2)) == tuple(gone[:1])
    assert actions(seen, policy=Policy(GRACE, retain=0)) == tuple(gone)


def test_a_drained_build_with_enough_newer_ones_goes_with_its_files() -> None:
    assert actions(observe(V1, V2), policy=Policy(GRACE, retain=0)) == (removal(V1, files=True),)


def test_a_build_whose_activation_is_under_way_does_not_age_the_others() -> None:
    marks = {V1.build_id: Mark.RETIRED, V2.build_id: Mark.ACTIVATING}
    seen = make_observation((V1, V2), marks=marks, activating=frozenset({V2.build_id}))
    assert actions(seen, policy=Policy(GRACE, retain=0)) == ()


def test_a_sweep_retires_a_bounded_number() -> None:
    builds = tuple(make_build("1", n) for n in range(1, MAX_REMOVALS + 10))
    seen = observe(*builds)
    assert len(actions(seen, policy=Policy(GRACE, retain=10_000))) == MAX_REMOVALS
    assert len(plan_prune_drained(statuses(seen), POLICY)) == len(builds) - 1
    marks = dict.fromkeys((build.build_id for build in builds), Mark.RETIRED)
    assert len(actions(make_observation(builds, marks=marks))) == MAX_REMOVALS


# -- repairing -------------------------------------------------------------------------------------------


def test_what_restate_has_lost_is_registered_again_oldest_first() -> None:
    assert actions(observe(V1, V2, V3, registrations=(), newest={})) == (
        Register(V1),
        Register(V2),
        Register(V3),
    )


def test_what_is_not_to_be_registered_is_not() -> None:
    marks = {V1.build_id: Mark.RETIRED, V2.build_id: Mark.ACTIVATING}
    seen = make_observation((V1, V2), marks=marks, activating=frozenset({V2.build_id}))
    assert actions(seen) == ()
    damaged = observe(V1, registrations=(), newest={}, damage={V1.build_id: "index.js is missing"})
    assert actions(damaged) == ()


def test_what_failed_is_held_off() -> None:
    lost = {"registrations": (), "newest": {}, "failures": {V1.build_id: "no"}}
    assert actions(observe(V1, **lost)) == (Register(V1),)
    assert actions(observe(V1, **lost, held_off=frozenset({V1.build_id}))) == ()


def test_an_activation_that_a_crash_cut_short_is_taken_back_or_settled() -> None:
    marks = {V2.build_id: Mark.ACTIVATING}
    unfinished = observe(V1, V2, marks=marks, registrations=ONLY_V1, newest={"s": id_of(V1)})
    assert actions(unfinished) == (removal(V2, registered=False, files=True),)
    assert actions(observe(V1, V2, marks=marks, demand={id_of(V1): Demand(1, 0)})) == (Settle(V2.build_id),)


def test_a_removal_that_a_crash_cut_short_is_brought_to_its_end_unless_the_build_is_needed_again() -> None:
    marks = {V1.build_id: Mark.LEAVING}
    assert actions(observe(V1, V2, marks=marks), drained_at={}) == (removal(V1, files=True),)
    unregistered = observe(V1, V2, marks=marks, registrations=(make_registration(V2.address, "dp_2", "s"),))
    assert actions(unregistered) == (removal(V1, registered=False, files=True),)
    needed = observe(V1, V2, marks=marks, demand={id_of(V1): Demand(1, 0)})
    assert actions(needed) == (Settle(V1.build_id),)
    assert actions(observe(V1, marks=marks)) == (Settle(V1.build_id),)


def test_nothing_is_brought_to_its_end_before_what_takes_its_place_is_settled() -> None:
    marks = {V1.build_id: Mark.LEAVING, V2.build_id: Mark.RETIRED, V3.build_id: Mark.REGISTERING}
    assert actions(observe(V1, V2, V3, marks=marks), drained_at={}) == (
        Settle(V3.build_id),
        removal(V1, files=True),
        removal(V2),
    )


def test_a_forced_removal_is_brought_to_its_end() -> None:
    marks = {V2.build_id: Mark.FORCED}
    needed = {id_of(build): Demand(pinned=3, attempting=0) for build in (V1, V2)}
    assert actions(observe(V1, V2, marks=marks, demand=needed)) == (removal(V2, files=True, forced=True),)
    gone = observe(V1, V2, marks=marks, registrations=ONLY_V1, newest={"s": id_of(V1)})
    assert actions(gone) == (removal(V2, registered=False, files=True, forced=True),)


def test_a_registration_whose_files_are_gone_is_taken_away() -> None:
    registrations = tuple(make_registration(build.address, id_of(build), "s") for build in (V1, V2))
    seen = make_observation((V1,), registrations=registrations, newest={"s": id_of(V2)}, demand={})
    assert removal(V2, files=True) in actions(seen)


def test_a_registration_without_files_stays_while_an_invocation_could_go_on_with_them() -> None:
    registrations = tuple(make_registration(build.address, id_of(build), "s") for build in (V1, V2))
    parts = {"registrations": registrations, "newest": {"s": id_of(V2)}}
    for demand, gone in ((Demand(1, 0), False), (Demand(0, 1), True)):
        seen = make_observation((V1,), **parts, demand={id_of(V2): demand})
        assert (removal(V2, files=True) in actions(seen)) is gone
    assert removal(V2, files=True) not in actions(make_observation((V1,), **parts, demand=Unknown("down")))


def test_a_registration_from_another_bundle_directory_is_left_alone() -> None:
    elsewhere = replace(
        make_registration(V1.address, "dp_1", "s"), metadata={"build_id": V1.build_id, "store": "there"}
    )
    for newest in ({"s": "dp_1"}, {}):
        assert actions(make_observation((), registrations=(elsewhere,), newest=newest)) == ()


def test_a_damaged_directory_is_left_alone() -> None:
    damaged = Damaged(V1.build_id, "metadata.json is damaged")
    assert actions(make_observation((), damaged=(damaged,))) == ()
    registered = make_registration(V1.address, "dp_1", "s")
    seen = make_observation((), damaged=(damaged,), registrations=(registered,), newest={"s": "dp_1"})
    assert actions(seen) == ()


def test_what_nothing_can_call_is_unloaded() -> None:
    marks = {V1.build_id: Mark.RETIRED}
    loaded = frozenset({V1.address.path, V2.address.path, "/gone/1-1"})
    registered = (make_registration(V2.address, id_of(V2), "s"),)
    seen = observe(V1, V2, marks=marks, registrations=registered, loaded=loaded)
    assert actions(seen) == (Unload(V1.address.path), Unload("/gone/1-1"))
    assert actions(observe(V1, V2, marks=marks, registrations=registered, loaded=Unknown("hangs"))) == ()


# -- the unknown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("unknown", ["inventory", "registrations", "newest", "demand"])
@pytest.mark.parametrize("mark", [None, Mark.RETIRED, Mark.ACTIVATING])
def test_nothing_is_removed_or_registered_on_an_unknown(unknown: str, mark: Mark | None) -> None:
    """The old build is lost, retired or unfinished, or drained for long; and is loaded."""
    marks = {} if mark is None else {V1.build_id: mark}
    policy = Policy(GRACE, retain=0)
    since = {V1.build_id: LONG_AGO}
    for registrations in (
        (make_registration(V2.address, id_of(V2), "s"),),
        tuple(make_registration(build.address, id_of(build), "s") for build in (V1, V2)),
    ):
        known = {"registrations": registrations, "marks": marks, "loaded": frozenset({V1.address.path})}
        seen = replace(observe(V1, V2, **known), **{unknown: Unknown("down")})  # type: ignore[arg-type]
        planned = plan(seen, since, policy, NOW)
        if unknown in {"newest", "demand"} and len(registrations) == 1:
            continue  # what is not registered is decided without either
        assert [action for action in planned if not isinstance(action, Settle)] == []


# -- pruning ---------------------------------------------------------------------------------------------


def test_a_build_in_use_is_not_pruned_unless_forced() -> None:
    seen = statuses(observe(V1, V2, demand={id_of(V1): Demand(pinned=2, attempting=1)}))
    for build, state, invocations in ((V1, "draining", 3), (V2, "active", 0)):
        with pytest.raises(BuildInUse) as refusal:
            plan_prune(seen, build.build_id, force=False)
        assert (refusal.value.state, refusal.value.invocations) == (state, invocations)
        assert plan_prune(seen, build.build_id, force=True) == (removal(build, files=True, forced=True),)


def test_pruning_by_name_takes_the_files_along() -> None:
    seen = statuses(observe(V1, V2))
    for force in (False, True):
        assert plan_prune(seen, V1.build_id, force=force) == (removal(V1, files=True),)
    retired = statuses(make_observation((V1,), marks={V1.build_id: Mark.RETIRED}))
    assert plan_prune(retired, V1.build_id, force=False) == (removal(V1, registered=False, files=True),)


def test_what_is_damaged_can_be_pruned_unless_somebody_needs_it() -> None:
    damaged = (Damaged(V1.build_id, "metadata.json is damaged"),)
    left = statuses(make_observation((), damaged=damaged))
    assert plan_prune(left, V1.build_id, force=False) == (Remove(V1.build_id, None, None, files=True),)
    registered = make_registration(V1.address, id_of(V1), "s")
    needed = make_observation((), damaged=damaged, registrations=(registered,), newest={"s": id_of(V1)})
    with pytest.raises(BuildInUse):
        plan_prune(statuses(needed), V1.build_id, force=False)
    assert plan_prune(statuses(needed), V1.build_id, force=True) == (removal(V1, files=True, forced=True),)


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_pruned_on_an_unknown_even_by_force(force: bool) -> None:
    for part in ("registrations", "newest", "demand"):
        with pytest.raises(DrainUnknown):
            plan_prune(statuses(observe(V1, V2, **{part: Unknown("down")})), V1.build_id, force=force)
    staged = make_observation(
        (V1,), marks={V1.build_id: Mark.ACTIVATING}, activating=frozenset({V1.build_id})
    )
    with pytest.raises(ActivationInProgress):
        plan_prune(statuses(staged), V1.build_id, force=force)
    with pytest.raises(BuildNotFound):
        plan_prune((), V1.build_id, force=force)


# -- since when ------------------------------------------------------------------------------------------


def test_since_when_a_build_is_drained_survives_an_unknown_and_ends_with_new_work() -> None:
    seen = statuses(observe(V1, V2, V3, demand={id_of(V2): Demand(pinned=1, attempting=0)}))
    unknown = statuses(observe(V1, V2, V3, demand=Unknown("down")))
    before = {V1.build_id: LONG_AGO, V2.build_id: LONG_AGO}
    assert track_drained(seen, before, NOW) == {V1.build_id: LONG_AGO}
    assert track_drained(seen, {}, NOW) == {V1.build_id: NOW}
    assert track_drained(unknown, before, NOW) == before
    assert {status.state for status in unknown[:2]} == {State.UNKNOWN}


def test_a_clock_that_was_set_back_begins_the_grace_anew() -> None:
    to_come = {V1.build_id: NOW + timedelta(days=3650)}
    assert track_drained(statuses(observe(V1, V2)), to_come, NOW) == {V1.build_id: NOW}
