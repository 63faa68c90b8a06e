from __future__ import annotations

from datetime import timedelta

import pytest

from gridiron.errors import ActivationInProgress, BuildInUse, DrainUnknown
from gridiron.lifecycle.observation import Demand
from gridiron.lifecycle.plan import (
    MAX_RETIREMENTS,
    Policy,
    Removal,
    plan_prune,
    plan_prune_drained,
    plan_sweep,
    track_drained,
)
from gridiron.lifecycle.states import IDLE, BuildStatus
from gridiron.model import State
from tests.values import NOW, make_build, make_registration

GRACE = timedelta(seconds=60)
POLICY = Policy(grace=GRACE, retain=2)
REGISTERED = {State.ACTIVE, State.DRAINING, State.DRAINED}


def status(state: State, timestamp: int, name: str = "demo") -> BuildStatus:
    build = make_build("1.0.0", timestamp, name)
    registration = make_registration(build.address, f"dp_{timestamp}", "s")
    demand = Demand(pinned=2, attempting=1) if state is State.DRAINING else IDLE
    return BuildStatus(build, state, "because", registration if state in REGISTERED else None, (), demand)


def removals(planned: tuple[Removal, ...]) -> list[tuple[int, str | None, bool]]:
    return [(removal.build.timestamp, removal.deployment_id, removal.files) for removal in planned]


def test_only_what_is_drained_is_retired_and_only_after_its_grace() -> None:
    statuses = tuple(status(state, n) for n, state in enumerate(State))
    since = {s.build.build_id: NOW - GRACE for s in statuses}
    drained = list(State).index(State.DRAINED)
    policy = Policy(grace=GRACE, retain=100)
    assert removals(plan_sweep(statuses, since, policy, NOW)) == [(drained, f"dp_{drained}", False)]
    assert plan_sweep(statuses, since, policy, NOW - timedelta(seconds=1)) == ()
    assert plan_sweep(statuses, {}, policy, NOW) == ()


def test_files_go_once_more_than_retain_newer_builds_of_the_name_exist() -> None:
    statuses = (
        status(State.RETIRED, 1),
        status(State.RETIRED, 2),
        status(State.RETIRED, 3),
        status(State.ACTIVE, 4),
        status(State.RETIRED, 5, name="other"),
    )
    assert removals(plan_sweep(statuses, {}, POLICY, NOW)) == [(1, None, True)]
    assert removals(plan_sweep(statuses, {}, Policy(GRACE, retain=0), NOW)) == [
        (1, None, True),
        (2, None, True),
        (3, None, True),
    ]


def test_a_drained_build_with_enough_newer_ones_goes_with_its_files() -> None:
    statuses = (
        status(State.DRAINED, 1),
        status(State.ACTIVE, 2),
        status(State.ACTIVE, 3),
        status(State.ACTIVE, 4),
    )
    assert removals(plan_prune_drained(statuses, POLICY)) == [(1, "dp_1", True)]


def test_a_sweep_retires_a_bounded_number() -> None:
    statuses = tuple(status(State.DRAINED, n) for n in range(MAX_RETIREMENTS + 5))
    policy, since = Policy(GRACE, retain=10_000), {s.build.build_id: NOW - GRACE for s in statuses}
    assert len(plan_sweep(statuses, since, policy, NOW)) == MAX_RETIREMENTS
    assert len(plan_prune_drained(statuses, policy)) == len(statuses)


def test_a_build_that_is_only_staged_does_not_age_the_others() -> None:
    statuses = (status(State.RETIRED, 1), status(State.STAGED, 2))
    assert plan_sweep(statuses, {}, Policy(GRACE, retain=0), NOW) == ()


@pytest.mark.parametrize("state", [State.ACTIVE, State.DRAINING])
def test_a_build_in_use_is_not_pruned_unless_forced(state: State) -> None:
    used = status(state, 1)
    with pytest.raises(BuildInUse) as refusal:
        plan_prune(used, force=False)
    assert (refusal.value.state, refusal.value.invocations) == (state, 3 if state is State.DRAINING else 0)
    assert plan_prune(used, force=True) == Removal(used.build, "dp_1", files=True)


def test_pruning_by_name_takes_the_files_along() -> None:
    drained, retired = status(State.DRAINED, 1), status(State.RETIRED, 2)
    assert plan_prune(drained, force=False) == Removal(drained.build, "dp_1", files=True)
    assert plan_prune(retired, force=False) == Removal(retired.build, None, files=True)


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_removed_on_an_unknown_even_by_force(force: bool) -> None:
    with pytest.raises(DrainUnknown):
        plan_prune(status(State.UNKNOWN, 1), force=force)
    with pytest.raises(ActivationInProgress):
        plan_prune(status(State.STAGED, 1), force=force)


def test_since_when_a_build_is_drained_survives_an_unknown_and_ends_with_new_work() -> None:
    long_ago = NOW - timedelta(hours=1)
    drained, unknown, draining, fresh = (
        status(State.DRAINED, 1),
        status(State.UNKNOWN, 2),
        status(State.DRAINING, 3),
        status(State.DRAINED, 4),
    )
    before = {s.build.build_id: long_ago for s in (drained, unknown, draining)}
    assert track_drained((drained, unknown, draining, fresh), before, NOW) == {
        drained.build.build_id: long_ago,
        unknown.build.build_id: long_ago,
        fresh.build.build_id: NOW,
    }
