"""Planted faults: each is found, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gridiron.model import Address, State
from soak.calls import Answer, Call
from soak.history import Change, Fate
from soak.ledger import DRY_RUN, Fault, Finding, Ledger
from soak.sight import Listed, Sight
from soak.verdict import Remains, judge

OLD = Address(name="alder", version="1", timestamp=10)
NEW = Address(name="alder", version="2", timestamp=20)


def make_ledger() -> Ledger:
    """Version 1 was acknowledged at 12, and version 2 at 22."""
    ledger = Ledger(["alder"], retain=2)
    for address in (OLD, NEW):
        change = Change("deploy", "alder", address.version, address.timestamp)
        ledger.begin(change)
        ledger.acknowledge(change, address, address.timestamp + 2)
    return ledger


SOUND = Remains(
    listed=(Listed(OLD, State.RETIRED, "", ()), Listed(NEW, State.ACTIVE, "", ("alder",))),
    directories=frozenset({"alder-1-10", "alder-2-20"}),
    staging=frozenset(),
    registrations={"dp_2": "http://localhost:9080/alder/2-20/"},
    invocations={},
    loaded={"cell-1": frozenset({"/alder/2-20"})},
    answers={"alder": "2"},
)


def call(key: str = "a call", value: int | None = None) -> Call:
    return Call(key, "steps", "alder", sent_at=30, value=value)


def test_what_is_as_it_has_to_be_is_found_to_be_so() -> None:
    ledger = make_ledger()
    ledger.send(call(value=1))
    ledger.answer(call(value=1), Answer(begun="2", ended="2", value=1), now=31)
    ledger.give_up(now=90)
    assert ledger.findings == []
    assert judge(ledger, SOUND) == ()


# -- calls -----------------------------------------------------------------------------------------------


def test_a_call_that_is_never_answered_is_lost() -> None:
    ledger = make_ledger()
    ledger.send(call())
    ledger.give_up(now=90)
    assert ledger.findings == [Finding(Fault.LOST, "a call was not answered for 60 s")]


@pytest.mark.parametrize(
    ("answer", "fault", "text"),
    [
        (
            Answer(begun="1", ended="1", value=1),
            Fault.WRONG,
            "a call was answered by 1, which was not active then",
        ),
        (
            Answer(begun="3", ended="3", value=1),
            Fault.WRONG,
            "a call was answered by 3, which was not active then",
        ),
        (Answer(begun="1", ended="2", value=1), Fault.WRONG, "a call began on 1 and ended on 2"),
        (Answer(begun="2", ended="2", value=0), Fault.OFF, "a call answered 0, not 1"),
        (Answer(begun="2", ended="2", value=2), Fault.OFF, "a call answered 2, not 1"),
    ],
)
def test_a_wrong_answer_is_found(answer: Answer, fault: Fault, text: str) -> None:
    ledger = make_ledger()
    ledger.send(call(value=1))
    ledger.answer(call(value=1), answer, now=31)
    assert ledger.findings == [Finding(fault, text)]


def test_a_call_that_is_answered_with_an_error_failed_and_is_not_lost() -> None:
    ledger = make_ledger()
    ledger.send(call())
    ledger.fail(call(), "HTTP 404: no such service")
    ledger.give_up(now=90)
    assert ledger.findings == [Finding(Fault.FAILED, "a call: HTTP 404: no such service")]


# -- changes whose answer did not tell -------------------------------------------------------------------

THIRD = Address(name="alder", version="3", timestamp=30)
STORED = "alder-3-30 was stored, never registered, and stays"
MADE = "alder-3-30 became active, and was not to"


@pytest.mark.parametrize(
    ("kind", "code", "fate", "found"),
    [
        ("deploy", None, Fate.MADE, None),
        ("deploy", None, Fate.NOTHING, None),
        ("deploy", "restate_unavailable", Fate.NOTHING, None),
        ("deploy", "registration_unknown", Fate.MADE, None),
        ("deploy", None, Fate.STRAY, f"{STORED} (deploy: its answer was lost)"),
        ("deploy", "restate_unavailable", Fate.MADE, f"{MADE} (deploy: restate_unavailable)"),
        (DRY_RUN, None, Fate.MADE, f"{MADE} (dry run: its answer was lost)"),
    ],
)
def test_what_a_change_may_have_come_to_hangs_on_its_answer(
    kind: str, code: str | None, fate: Fate, found: str | None
) -> None:
    ledger = make_ledger()
    change = Change(kind, "alder", "3", 30)
    ledger.settle(change, code, Sight(fate, None if fate is Fate.NOTHING else THIRD), now=32)
    assert ledger.findings == ([] if found is None else [Finding(Fault.LEAK, found)])


def test_a_manager_that_failed_unforeseen_is_a_finding() -> None:
    ledger = make_ledger()
    ledger.refuse("prune all", "internal_error")
    assert ledger.findings == [Finding(Fault.CRASH, "prune all: the manager answered internal_error")]


# -- what is left ----------------------------------------------------------------------------------------


def without_old(remains: Remains) -> Remains:
    return replace(remains, listed=remains.listed[1:], directories=frozenset({"alder-2-20"}))


def with_files_lost(remains: Remains) -> Remains:
    return replace(remains, directories=frozenset({"alder-2-20"}))


def with_old_active(remains: Remains) -> Remains:
    listed = (Listed(OLD, State.ACTIVE, "", ("alder",)), Listed(NEW, State.RETIRED, "", ()))
    loaded = {"cell-1": frozenset({"/alder/1-10"})}
    registrations = {"dp_1": "http://localhost:9080/alder/1-10/"}
    return replace(remains, listed=listed, loaded=loaded, registrations=registrations, answers={"alder": "1"})


def with_old_answering(remains: Remains) -> Remains:
    return replace(remains, answers={"alder": "1"})


def with_staging(remains: Remains) -> Remains:
    return replace(remains, staging=frozenset({"in-0123"}))


def with_directory(remains: Remains) -> Remains:
    return replace(remains, directories=remains.directories | {"alder-3-30"})


def with_stray(remains: Remains) -> Remains:
    listed = (*remains.listed, Listed(THIRD, State.RETIRED, "", ()))
    return replace(remains, listed=listed, directories=remains.directories | {"alder-3-30"})


def with_unknown(remains: Remains) -> Remains:
    listed = (Listed(OLD, State.UNKNOWN, "nobody answers", ()), remains.listed[1])
    return replace(remains, listed=listed)


def with_registration(remains: Remains) -> Remains:
    registrations = {**remains.registrations, "dp_3": "http://localhost:9080/alder/3-30"}
    return replace(remains, registrations=registrations)


def with_old_registered(remains: Remains) -> Remains:
    registrations = {**remains.registrations, "dp_1": "http://localhost:9080/alder/1-10"}
    return replace(remains, registrations=registrations)


def with_invocation(remains: Remains) -> Remains:
    return replace(remains, invocations={"backing-off": 1})


def with_old_loaded(remains: Remains) -> Remains:
    return replace(remains, loaded={"cell-1": frozenset({"/alder/1-10", "/alder/2-20"})})


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (without_old, [Finding(Fault.BUILD, "alder-1-10 was acknowledged, may not be gone, and is")]),
        (
            with_files_lost,
            [
                Finding(Fault.BUILD, "alder-1-10 was acknowledged, may not be gone, and is"),
                Finding(Fault.LEAK, "alder-1-10 is listed and has no files"),
            ],
        ),
        (with_old_active, [Finding(Fault.BUILD, "alder: alder-1-10 is active, and alder-2-20 has to be")]),
        (with_old_answering, [Finding(Fault.BUILD, "alder: 1 answers, and alder-2-20 is active")]),
        (with_staging, [Finding(Fault.LEAK, "in-0123 lies in staging")]),
        (with_directory, [Finding(Fault.LEAK, "alder-3-30 lies there and is not listed")]),
        (with_stray, [Finding(Fault.LEAK, "alder-3-30 comes of nothing that was acknowledged")]),
        (with_unknown, [Finding(Fault.LEAK, "alder-1-10 is unknown still: nobody answers")]),
        (
            with_registration,
            [
                Finding(
                    Fault.LEAK,
                    "dp_3 is registered at http://localhost:9080/alder/3-30, where no build serves",
                )
            ],
        ),
        (
            with_old_registered,
            [
                Finding(
                    Fault.LEAK,
                    "dp_1 is registered at http://localhost:9080/alder/1-10, where no build serves",
                )
            ],
        ),
        (with_invocation, [Finding(Fault.LEAK, "1 invocations are not completed: backing-off")]),
        (with_old_loaded, [Finding(Fault.LEAK, "cell-1 has /alder/1-10 loaded, which is not active")]),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Remains], Remains], found: list[Finding]) -> None:
    assert list(judge(make_ledger(), plant(SOUND))) == found


def test_a_stray_that_was_told_of_is_not_told_of_again() -> None:
    ledger = make_ledger()
    ledger.settle(Change("deploy", "alder", "3", 30), None, Sight(Fate.STRAY, THIRD), now=32)
    assert judge(ledger, with_stray(SOUND)) == ()
