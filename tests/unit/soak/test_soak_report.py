from __future__ import annotations

from gridiron.model import Address
from soak.calls import Answer, Call
from soak.history import Change, Fate
from soak.ledger import Fault, Ledger
from soak.report import render_findings, render_table
from soak.sight import Sight

TABLE = """| what | count | of these |
| --- | ---: | --- |
| calls answered | 1 | steps 1 |
| of them by a version replaced meanwhile | 0 | longest 1.5 s |
| calls under way | 1 | for up to 5.0 s |
| attempts repeated | 2 | ReadError 2 |
| deploy | 1 | answer lost, nothing 1, restate_unavailable 1 |
| prune all | 0 | answer lost 1 |
| kills | 1 | manager 1 |
| calls lost | 0 |  |
| calls failed | 0 |  |
| answered by a wrong version | 0 |  |
| counters off | 0 |  |
| builds lost | 0 |  |
| leaked | 0 |  |
| failed unforeseen | 0 |  |
| could not be looked at | 0 |  |"""


def make_ledger() -> Ledger:
    ledger = Ledger(["alder"], retain=2)
    changes = [Change("deploy", "alder", str(number), number) for number in range(3)]
    for change in changes:
        ledger.begin(change)
    ledger.acknowledge(changes[0], Address(name="alder", version="0", timestamp=0), now=0.5)
    ledger.settle(changes[1], None, Sight(Fate.NOTHING), now=1.5)
    ledger.settle(changes[2], "restate_unavailable", Sight(Fate.NOTHING), now=2.5)
    ledger.lose_answer("prune all")
    call = Call("a call", "steps", "alder", sent_at=3)
    ledger.send(call)
    ledger.repeated["ReadError"] += 2
    ledger.answer(call, Answer(begun="0", ended="0", value=0), now=4.5)
    ledger.send(Call("another", "sleep", "alder", sent_at=5))
    ledger.kills["manager"] += 1
    return ledger


def test_the_table_counts_everything() -> None:
    assert render_table(make_ledger(), now=10) == TABLE


def test_findings_are_told_by_kind_and_many_of_one_kind_are_cut() -> None:
    ledger = make_ledger()
    assert render_findings(ledger) == ""
    ledger.note(Fault.LEAK, "a build stays")
    for number in range(22):
        ledger.note(Fault.LOST, f"call {number}")
    lines = render_findings(ledger).splitlines()
    assert lines[:2] == ["calls lost: 22", "  call 0"]
    assert lines[20:] == ["  call 19", "  … and 2 more", "leaked: 1", "  a build stays"]
