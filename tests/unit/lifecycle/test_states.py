from __future__ import annotations

import pytest

from gridiron.lifecycle.observation import Demand, Observation, Unknown
from gridiron.lifecycle.states import IDLE, BuildStatus, statuses_of
from gridiron.model import State
from tests.values import NOW, make_build, make_registration

OLD, NEW = make_build("1.0.0", 1), make_build("1.1.0", 2)
OLD_REGISTERED = make_registration(OLD.address, "dp_old", "greeter", "helper")
NEW_REGISTERED = make_registration(NEW.address, "dp_new", "greeter")


def observation(**changed: object) -> Observation:
    parts = {
        "builds": (OLD, NEW),
        "registrations": (OLD_REGISTERED, NEW_REGISTERED),
        "newest": {"greeter": "dp_new"},
        "demand": {},
        "activating": frozenset(),
        "observed_at": NOW,
    }
    return Observation(**{**parts, **changed})


def test_the_newest_of_all_its_services_is_active_and_the_idle_one_before_is_drained() -> None:
    assert statuses_of((OLD, NEW), observation()) == (
        BuildStatus(OLD, State.DRAINED, "nothing needs it", OLD_REGISTERED, (), IDLE),
        BuildStatus(NEW, State.ACTIVE, "newest for greeter", NEW_REGISTERED, ("greeter",), IDLE),
    )


def test_a_build_that_is_newest_for_some_of_its_services_only_is_active_and_says_which() -> None:
    seen = observation(newest={"greeter": "dp_new", "helper": "dp_old"})
    assert statuses_of((OLD,), seen) == (
        BuildStatus(
            OLD,
            State.ACTIVE,
            "newest for helper; a newer build has greeter",
            OLD_REGISTERED,
            ("helper",),
            IDLE,
        ),
    )


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
    assert statuses_of((OLD,), observation(demand={"dp_old": demand})) == (
        BuildStatus(OLD, State.DRAINING, reason, OLD_REGISTERED, (), demand),
    )


def test_an_active_build_stays_active_while_invocations_are_unknown() -> None:
    (status,) = statuses_of((NEW,), observation(demand=Unknown("no answer")))
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
    (status,) = statuses_of((OLD,), observation(**changed))
    assert (status.state, status.reason) == (State.UNKNOWN, reason)


def test_a_build_without_a_registration_is_retired_or_staged_while_it_is_activated() -> None:
    seen = observation(registrations=(), activating=frozenset({NEW.build_id}))
    assert [status.state for status in statuses_of((OLD, NEW), seen)] == [
        State.RETIRED,
        State.STAGED,
    ]


def test_a_registration_of_another_build_with_a_name_that_reads_alike_does_not_count() -> None:
    alike = make_build("b-1", 7, name="a"), make_build("1", 7, name="a-b")
    assert alike[0].build_id == alike[1].build_id
    seen = observation(registrations=(make_registration(alike[0].address, "dp", "s"),), newest={"s": "dp"})
    assert [status.state for status in statuses_of(alike, seen)] == [State.ACTIVE, State.RETIRED]


def test_an_active_build_says_what_else_it_still_has_to_do() -> None:
    (status,) = statuses_of((NEW,), observation(demand={"dp_new": Demand(pinned=1, attempting=0)}))
    assert (status.state, status.reason) == (State.ACTIVE, "newest for greeter; 1 invocation is pinned to it")


def test_an_address_that_is_registered_twice_is_unknown_whatever_either_has_to_do() -> None:
    by_hand = make_registration(OLD.address, "dp_by_hand", "greeter")
    (status,) = statuses_of((OLD,), observation(registrations=(OLD_REGISTERED, by_hand)))
    assert (status.state, status.registration) == (State.UNKNOWN, None)
    assert "dp_old, dp_by_hand" in status.reason
