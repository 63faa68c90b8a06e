from __future__ import annotations

import pytest

from gridiron.model import Address, State
from soak.history import Change, Fate
from soak.sight import Listed, Sight, find_own, judge_sight, parse_listed

OLD = Address(name="alder", version="1", timestamp=10)
NEW = Address(name="alder", version="2", timestamp=20)


def listed(address: Address, state: State) -> Listed:
    return Listed(address, state, "", ())


def test_a_build_is_read_from_the_managers_list() -> None:
    services = [{"name": "alder", "active": True}, {"name": "alder-counter", "active": False}]
    deployment = {"path": "/alder/2-20", "state": "active", "reason": "newest", "services": services}
    assert parse_listed(deployment) == Listed(NEW, State.ACTIVE, "newest", ("alder",))


def test_a_change_made_the_build_that_no_other_is_known_to_have_made() -> None:
    builds = [listed(OLD, State.DRAINED), listed(NEW, State.ACTIVE)]
    known = {str(OLD)}
    assert find_own(Change("deploy", "alder", "2", 0), builds, known) == builds[1]
    assert find_own(Change("rollback", "alder", None, 0), builds, known) == builds[1]
    assert find_own(Change("deploy", "alder", "3", 0), builds, known) is None


@pytest.mark.parametrize("state", [State.ACTIVE, State.DRAINING, State.DRAINED])
def test_what_is_registered_was_made(state: State) -> None:
    own = listed(NEW, state)
    assert judge_sight(own, [own], patient=True) == Sight(Fate.MADE, NEW)


def test_what_is_not_there_came_to_nothing() -> None:
    assert judge_sight(None, [listed(OLD, State.ACTIVE)], patient=True) == Sight(Fate.NOTHING)


@pytest.mark.parametrize("state", [State.STAGED, State.UNKNOWN, State.FAILED])
def test_what_is_not_decided_is_looked_at_again(state: State) -> None:
    own = listed(NEW, state)
    assert judge_sight(own, [own], patient=False) is None


def test_what_is_stored_and_not_registered_is_a_stray_when_it_stays() -> None:
    own = listed(NEW, State.RETIRED)
    builds = [listed(OLD, State.ACTIVE), own]
    assert judge_sight(own, builds, patient=True) is None
    assert judge_sight(own, builds, patient=False) == Sight(Fate.STRAY, NEW)


def test_what_a_newer_build_may_have_replaced_cannot_be_told() -> None:
    own = listed(OLD, State.RETIRED)
    assert judge_sight(own, [own, listed(NEW, State.ACTIVE)], patient=False) == Sight(Fate.UNTOLD, OLD)
