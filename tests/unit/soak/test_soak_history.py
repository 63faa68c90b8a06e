"""Times are in seconds; each change takes two."""

from __future__ import annotations

from gridiron.model import Address
from soak.history import Change, Fate, History


def begin(history: History, version: str | None, at: float) -> Change:
    change = Change("deploy", "alder", version, at)
    history.begin(change)
    return change


def make(history: History, version: str, at: float, fate: Fate = Fate.MADE) -> Change:
    change = begin(history, version, at)
    address = Address(name="alder", version=version, timestamp=int(at))
    history.end(change, fate, at + 2, address if fate is not Fate.NOTHING else None)
    return change


def upgraded() -> History:
    history = History(retain=2)
    make(history, "1", at=10)
    make(history, "2", at=20)
    return history


def test_a_call_is_answered_by_what_was_active_between_its_beginning_and_its_end() -> None:
    history = upgraded()
    assert history.allows("1", sent_at=13, answered_at=14)
    assert history.allows("2", sent_at=23, answered_at=24)
    assert history.allows("2", sent_at=13, answered_at=30)  # it waited for the upgrade


def test_a_call_that_crosses_an_upgrade_is_answered_by_the_version_that_it_met() -> None:
    assert upgraded().allows("1", sent_at=19, answered_at=60)


def test_while_an_upgrade_is_under_way_both_versions_may_answer() -> None:
    history = upgraded()
    assert history.allows("1", sent_at=21, answered_at=21.5)
    assert history.allows("2", sent_at=21, answered_at=21.5)


def test_a_version_that_was_replaced_answers_no_new_call() -> None:
    assert not upgraded().allows("1", sent_at=22.5, answered_at=23)


def test_a_version_that_was_not_asked_for_yet_answers_no_call() -> None:
    assert not upgraded().allows("2", sent_at=13, answered_at=19)
    assert not upgraded().allows("3", sent_at=13, answered_at=60)


def test_a_version_that_was_refused_answers_no_call() -> None:
    history = upgraded()
    make(history, "3", at=30, fate=Fate.NOTHING)
    assert not history.allows("3", sent_at=33, answered_at=34)
    assert history.allows("2", sent_at=33, answered_at=34)


def test_a_version_whose_fate_is_open_may_answer_and_replaces_nothing() -> None:
    history = upgraded()
    begin(history, "3", at=30)
    assert history.allows("3", sent_at=40, answered_at=41)
    assert history.allows("2", sent_at=40, answered_at=41)


def test_a_version_that_is_made_active_again_answers_again() -> None:
    history = upgraded()
    make(history, "1", at=30)
    assert history.allows("1", sent_at=33, answered_at=34)
    assert not history.allows("2", sent_at=33, answered_at=34)


def test_a_rollback_of_the_managers_choice_may_bring_back_any_version() -> None:
    history = upgraded()
    rollback = begin(history, None, at=30)
    assert history.allows("1", sent_at=31, answered_at=32)
    assert not history.allows("9", sent_at=31, answered_at=32)
    history.end(rollback, Fate.MADE, 33, Address(name="alder", version="1", timestamp=30))
    assert history.allows("1", sent_at=34, answered_at=35)
    assert not history.allows("2", sent_at=34, answered_at=35)


def test_the_last_one_made_has_to_be_active() -> None:
    history = upgraded()
    make(history, "3", at=30, fate=Fate.NOTHING)
    assert history.find_newest() == {"alder-2-20"}


def test_of_two_that_overlapped_either_may_be_active() -> None:
    history = upgraded()
    first, second = begin(history, "3", at=30), begin(history, "4", at=30.1)
    history.end(second, Fate.MADE, 31, Address(name="alder", version="4", timestamp=31))
    history.end(first, Fate.MADE, 32, Address(name="alder", version="3", timestamp=30))
    assert history.find_newest() == {"alder-3-30", "alder-4-31"}
