from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gridiron.lifecycle.observation import Damaged, Demand, Inventory, Mark, Observation, Unknown
from gridiron.lifecycle.states import IDLE, BuildStatus, Files, statuses_of
from gridiron.model import State
from tests.values import make_build, make_observation, make_registration

OLD, NEW = make_build("1.0.0", 1), make_build("1.1.0", 2)
OLD_REGISTERED = make_registration(OLD.address, "dp_old", "greeter", "helper")
NEW_REGISTERED = make_registration(NEW.address, "dp_new", "greeter")


def observation(**changed: Any) -> Observation:
    parts = {"registrations": (OLD_REGISTERED, NEW_REGISTERED), "newest": {"greeter": "dp_new"}}
    return make_observation((OLD, NEW), **{**parts, **changed})


def statuses(seen: Observation) -> dict[str, BuildStatus]:
    assert isinstance(seen.inventory, Inventory)
    return {status.build_id: status for status in statuses_of(seen.inventory, seen)}


def old(**changed: Any) -> BuildStatus:
    return statuses(observation(**changed))[OLD.build_id]


def new(**changed: Any) -> BuildStatus:
    return statuses(observation(**changed))[NEW.build_id]


def test_the_newest_of_all_its_services_is_active_and_the_idle_one_before_is_drained() -> None:
    seen = observation()
    assert isinstance(seen.inventory, Inventory)
    assert statuses_of(seen.inventory, seen) == (
        BuildStatus(
            OLD.build_id, OLD.address, OLD, State.DRAINED, "nothing needs it", OLD_REGISTERED, (), IDLE
        ),
        BuildStatus(
            NEW.build_id,
            NEW.address,
            NEW,
            State.ACTIVE,
            "newest for greeter",
            NEW_REGISTERED,
            ("greeter",),
            IDLE,
        ),
    )


def test_a_build_that_is_newest_for_some_of_its_services_only_is_active_and_says_which() -> None:
    status = old(newest={"greeter": "dp_new", "helper": "dp_old"})
    assert (status.state, status.active_services) == (State.ACTIVE, ("helper",))
    assert status.reason == "newest for helper; a newer build has greeter"


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        (Demand(pinned=1, attempting=0), "1 invocation is pinned to it"),
        (Demand(pinned=2, attempting=0), "2 invocations are pinned to it"),
        (Demand(pinned=0, attempting=1), "1 invocation is being attempted on it"),
        (
            Demand(pinned=2, attempting=3),
            "2 invocations are pinned to it and 3 invocations are being attempted on it",
        ),
    ],
)
def test_whatever_it_still_has_to_do_keeps_it_draining(demand: Demand, reason: str) -> None:
    status = old(demand={"dp_old": demand})
    assert (status.state, status.reason, status.demand) == (State.DRAINING, reason, demand)


def test_an_active_build_stays_active_while_invocations_are_unknown() -> None:
    status = new(demand=Unknown("no answer"))
    assert (status.state, status.demand) == (State.ACTIVE, None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"registrations": Unknown("down")}, "Restate's registrations are unknown: down"),
        ({"newest": Unknown("down")}, "Restate's routing is unknown: down"),
        ({"demand": Unknown("down")}, "Restate's invocations are unknown: down"),
    ],
)
def test_a_part_that_could_not_be_read_makes_the_state_unknown_and_never_drained(
    changed: dict[str, object], reason: str
) -> None:
    status = old(**changed)
    assert (status.state, status.reason) == (State.UNKNOWN, reason)


def test_an_active_build_says_what_else_it_still_has_to_do() -> None:
    status = new(demand={"dp_new": Demand(pinned=1, attempting=0)})
    assert (status.state, status.reason) == (State.ACTIVE, "newest for greeter; 1 invocation is pinned to it")


def test_an_address_that_is_registered_twice_is_unknown_whatever_either_has_to_do() -> None:
    by_hand = make_registration(OLD.address, "dp_by_hand", "greeter")
    status = old(registrations=(OLD_REGISTERED, by_hand))
    assert (status.state, status.registration) == (State.UNKNOWN, None)
    assert "dp_old, dp_by_hand" in status.reason


def test_a_registration_of_another_build_with_a_name_that_reads_alike_does_not_count() -> None:
    stored, other = make_build("b-1", 7, name="a"), make_build("1", 7, name="a-b")
    assert stored.build_id == other.build_id
    registered = make_registration(other.address, "dp", "s")
    seen = make_observation((stored,), registrations=(registered,), newest={"s": "dp"}, marks={})
    assert {status.state for status in statuses(seen).values()} == {State.STAGED}


# -- without a registration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "changed", "state", "reason"),
    [
        (Mark.ACTIVATING, {"activating": {OLD.build_id}}, State.STAGED, "its activation is under way"),
        (Mark.ACTIVATING, {}, State.FAILED, "its activation did not come to its end"),
        (Mark.RETIRED, {}, State.RETIRED, "not registered with Restate"),
        (Mark.LEAVING, {}, State.RETIRED, "not registered with Restate"),
        (Mark.FORCED, {}, State.RETIRED, "not registered with Restate"),
        (None, {}, State.STAGED, "Restate has lost its registration, which is made again"),
        (
            None,
            {"failures": {OLD.build_id: "no."}},
            State.FAILED,
            "Restate has lost its registration, and to register it again failed: no.",
        ),
    ],
)
def test_what_a_build_without_a_registration_is(
    mark: Mark | None, changed: dict[str, Any], state: State, reason: str
) -> None:
    marks = {} if mark is None else {OLD.build_id: mark}
    status = old(registrations=(NEW_REGISTERED,), marks=marks, **changed)
    assert (status.state, status.reason, status.mark) == (state, reason, mark)


@pytest.mark.parametrize("mark", list(Mark))
def test_what_is_registered_is_what_restate_says_whatever_its_mark(mark: Mark) -> None:
    assert new(marks={NEW.build_id: mark}).state is State.ACTIVE
    assert old(marks={OLD.build_id: mark}).state is State.DRAINED


# -- without whole files ---------------------------------------------------------------------------------


def without_old(**changed: Any) -> BuildStatus:
    """The old build's status when its files cannot be used, and it is newest for a service."""
    parts = {"registrations": (OLD_REGISTERED, NEW_REGISTERED), "newest": {"helper": "dp_old"}}
    return statuses(make_observation((NEW,), **{**parts, **changed}))[OLD.build_id]


def test_a_registration_whose_files_are_gone_has_failed() -> None:
    status = without_old()
    assert (status.state, status.files, status.build) == (State.FAILED, Files.GONE, None)
    assert status.reason == "its files are gone; newest for helper; a newer build has greeter"
    assert (status.address, status.active_services, status.demand) == (OLD.address, ("helper",), IDLE)


def test_a_registration_from_another_bundle_directory_is_told_apart_and_never_drained() -> None:
    elsewhere = replace(OLD_REGISTERED, metadata={"build_id": OLD.build_id, "store": "there"})
    status = without_old(registrations=(elsewhere,), newest={})
    assert (status.state, status.files) == (State.FAILED, Files.ELSEWHERE)
    assert status.reason == "it was registered from another bundle directory than this; nothing needs it"


def test_somebody_elses_endpoint_at_such_a_path_is_no_build() -> None:
    by_hand = replace(OLD_REGISTERED, metadata={})
    assert statuses(make_observation((), registrations=(by_hand,), newest={"greeter": "dp_old"})) == {}


def test_a_damaged_directory_that_is_registered_has_failed() -> None:
    status = without_old(damaged=(Damaged(OLD.build_id, "metadata.json is damaged"),))
    assert (status.state, status.files) == (State.FAILED, Files.DAMAGED)
    assert status.reason == "metadata.json is damaged; newest for helper; a newer build has greeter"


def test_a_damaged_directory_that_is_not_registered_has_failed() -> None:
    damaged = Damaged("torn-1-1", "metadata.json is damaged")
    assert statuses(make_observation((), damaged=(damaged,))) == {
        "torn-1-1": BuildStatus(
            "torn-1-1",
            None,
            None,
            State.FAILED,
            "metadata.json is damaged; not registered with Restate",
            None,
            (),
            IDLE,
            Files.DAMAGED,
        )
    }


def test_damaged_modules_fail_a_build_that_somebody_needs() -> None:
    damage = {OLD.build_id: "index.js is not as stored", NEW.build_id: "index.js is missing"}
    active = new(damage=damage)
    assert (active.state, active.files) == (State.FAILED, Files.DAMAGED)
    assert active.reason == "index.js is missing; newest for greeter"
    assert old(damage=damage).state is State.DRAINED  # it goes as it is
    retired = old(damage=damage, registrations=(NEW_REGISTERED,), marks={OLD.build_id: Mark.RETIRED})
    assert retired.state is State.RETIRED


@pytest.mark.parametrize("part", ["registrations", "newest", "demand"])
def test_what_restate_does_not_say_stays_unknown_whatever_the_files(part: str) -> None:
    damage = {OLD.build_id: "index.js is missing"}
    assert old(damage=damage, **{part: Unknown("down")}).state is State.UNKNOWN
