from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gridiron.lifecycle.draining import find_drain_starts, track_draining
from gridiron.lifecycle.observation import Demand, Inventory, Registration
from gridiron.lifecycle.states import BuildStatus, statuses_of
from gridiron.model import Build
from tests.values import NOW, make_build, make_observation, make_registration

BUSY = Demand(pinned=1, attempting=0)


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def register(build: Build, seconds: int, *services: str) -> Registration:
    registration = make_registration(build.address, f"dp_{build.version}", *services)
    return replace(registration, created_at=at(seconds))


def starts(newest: dict[str, str], *registered: tuple[Build, Registration]) -> dict[str, datetime]:
    """Of builds that all have an invocation pinned to them."""
    registrations = tuple(each for _, each in registered)
    seen = make_observation(
        tuple(build for build, _ in registered),
        registrations=registrations,
        newest=newest,
        demand={each.deployment_id: BUSY for each in registrations},
    )
    assert isinstance(seen.inventory, Inventory)
    return dict(find_drain_starts(statuses_of(seen.inventory, seen), registrations))


ONE, TWO, THREE = make_build("1", 1), make_build("2", 2), make_build("3", 3)


def test_a_build_drains_since_its_successor_was_registered() -> None:
    first, second, third = register(ONE, 1, "a"), register(TWO, 5, "a"), register(THREE, 9, "a")
    assert starts({"a": "dp_3"}, (ONE, first), (TWO, second), (THREE, third)) == {
        ONE.build_id: at(5),
        TWO.build_id: at(9),
    }


def test_a_build_drains_since_the_last_of_its_services_has_gone() -> None:
    first, second, third = register(ONE, 1, "a", "b"), register(TWO, 5, "a"), register(THREE, 9, "b")
    newest = {"a": "dp_2", "b": "dp_3"}
    assert starts(newest, (ONE, first), (TWO, second), (THREE, third)) == {ONE.build_id: at(9)}


def test_a_build_that_is_active_does_not_drain() -> None:
    first, second = register(ONE, 1, "a", "b"), register(TWO, 5, "a")
    assert starts({"a": "dp_2", "b": "dp_1"}, (ONE, first), (TWO, second)) == {}


def test_nobody_can_tell_where_the_successor_was_removed_since() -> None:
    assert starts({"a": "dp_elsewhere"}, (ONE, register(ONE, 1, "a"))) == {}


def draining(first: Registration, *more: tuple[Build, Registration]) -> tuple[BuildStatus, ...]:
    registrations = (first, *(each for _, each in more))
    seen = make_observation(
        (ONE, *(build for build, _ in more)),
        registrations=registrations,
        newest={"a": registrations[-1].deployment_id if more else "dp_elsewhere"},
        demand={each.deployment_id: BUSY for each in registrations},
    )
    assert isinstance(seen.inventory, Inventory)
    return statuses_of(seen.inventory, seen)


def test_since_when_a_build_drains_is_remembered_when_its_successors_go() -> None:
    first, second, third = register(ONE, 1, "a"), register(TWO, 5, "a"), register(THREE, 9, "a")
    both = draining(first, (TWO, second))
    known = track_draining(both, (first, second), {}, at(6))
    assert known == {ONE.build_id: at(5)}
    later = draining(first, (THREE, third))  # TWO was drained, and removed
    assert track_draining(later, (first, third), known, at(60)) == known
    assert track_draining(draining(first), (first,), {}, at(60)) == {ONE.build_id: at(60)}


def test_a_build_that_is_active_again_drains_from_anew() -> None:
    first = register(ONE, 1, "a")
    seen = make_observation((ONE,), registrations=(first,), newest={"a": "dp_1"})
    assert isinstance(seen.inventory, Inventory)
    statuses = statuses_of(seen.inventory, seen)
    assert track_draining(statuses, (first,), {ONE.build_id: at(5)}, at(60)) == {}
