"""Everything that happened in a soak: calls, changes, prunes, kills, and what was found wrong. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from gridiron.model import Address
from soak.calls import Answer, Call
from soak.history import Change, Fate, History
from soak.sight import Sight

DRY_RUN = "dry run"
"""The kind of a deploy that has to leave nothing."""

UNSETTLED = frozenset({None, "registration_unknown", "internal_error"})
"""Codes of refusals after which a build may be there all the same; None is an answer that was lost."""


class Fault(StrEnum):
    """Kinds of findings; there must be none of any."""

    LOST = "calls lost"
    FAILED = "calls failed"
    WRONG = "answered by a wrong version"
    OFF = "counters off"
    BUILD = "builds lost"
    LEAK = "leaked"
    CRASH = "failed unforeseen"
    UNSEEN = "could not be looked at"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    fault: Fault
    text: str


class Ledger:
    """What was seen so far. Times are of one monotonic clock, in seconds."""

    def __init__(self, names: Iterable[str], retain: int) -> None:
        self.histories = {name: History(retain) for name in names}
        self.findings: list[Finding] = []
        self.under_way: dict[str, Call] = {}  # by key
        self.answered: Counter[str] = Counter()  # by kind of call
        self.repeated: Counter[str] = Counter()  # attempts, by reason
        self.crossed = 0  # answers by a version that was replaced meanwhile
        self.longest_seconds = 0.0  # of a call, from its first attempt to its answer
        self.acknowledged: Counter[str] = Counter()  # by kind of request to the manager
        self.refused: Counter[tuple[str, str]] = Counter()  # by kind and code
        self.unanswered: Counter[tuple[str, Fate | None]] = Counter()  # by kind and what it came to, if known
        self.kills: Counter[str] = Counter()  # by kind of process

    def note(self, fault: Fault, text: str) -> None:
        """Note that something is wrong."""
        self.findings.append(Finding(fault, text))

    # -- calls -----------------------------------------------------------------------------------------------

    def send(self, call: Call) -> None:
        """Note that a call begins."""
        self.under_way[call.key] = call

    def answer(self, call: Call, answer: Answer, now: float) -> None:
        """Note the answer of a call, and see whether it may be so."""
        del self.under_way[call.key]
        self.answered[call.kind] += 1
        self.longest_seconds = max(self.longest_seconds, now - call.sent_at)
        history = self.histories[call.name]
        if answer.begun != answer.ended:
            self.note(Fault.WRONG, f"{call.key} began on {answer.begun} and ended on {answer.ended}")
        elif not history.allows(answer.begun, call.sent_at, now):
            self.note(Fault.WRONG, f"{call.key} was answered by {answer.begun}, which was not active then")
        if call.value is not None and answer.value != call.value:
            self.note(Fault.OFF, f"{call.key} answered {answer.value}, not {call.value}")
        self.crossed += not history.allows(answer.begun, now, now)

    def fail(self, call: Call, reason: str) -> None:
        """Note that a call was answered with an error."""
        del self.under_way[call.key]
        self.note(Fault.FAILED, f"{call.key}: {reason}")

    def give_up(self, now: float) -> None:
        """Note that what is under way will not be answered any more."""
        for call in self.under_way.values():
            self.note(Fault.LOST, f"{call.key} was not answered for {now - call.sent_at:.0f} s")

    # -- requests to the manager -----------------------------------------------------------------------------

    def begin(self, change: Change) -> None:
        """Note that a change is asked for."""
        self.histories[change.name].begin(change)

    def acknowledge(self, change: Change, address: Address, now: float) -> None:
        """Note that a change was acknowledged: what it made has to stay."""
        self.acknowledged[change.kind] += 1
        self.histories[change.name].end(change, Fate.MADE, now, address)

    def settle(self, change: Change, code: str | None, sight: Sight, now: float) -> None:
        """Note what was seen of a change that was refused with a code, or whose answer was lost (None).

        Nothing may come of one that was refused, unless the refusal says that it does not know, nor of a
        dry run, which never begins here.
        """
        history = self.histories[change.name]
        history.end(change, sight.fate, now, sight.address)
        if code is None:
            self.unanswered[change.kind, sight.fate] += 1
        else:
            self.refuse(change.kind, code)
        if sight.fate is Fate.NOTHING and code is None:
            history.shelf.pass_by()
        how = f"{change.kind}: {'its answer was lost' if code is None else code}"
        if sight.fate is Fate.STRAY:
            self.note(Fault.LEAK, f"{sight.address} was stored, never registered, and stays ({how})")
        elif sight.fate is Fate.MADE and (change.kind == DRY_RUN or code not in UNSETTLED):
            self.note(Fault.LEAK, f"{sight.address} became active, and was not to ({how})")

    def refuse(self, kind: str, code: str) -> None:
        """Note that a request was refused."""
        self.refused[kind, code] += 1
        if code == "internal_error":
            self.note(Fault.CRASH, f"{kind}: the manager answered internal_error")

    def lose_answer(self, kind: str) -> None:
        """Note that the answer of a request that changes no version was lost."""
        self.unanswered[kind, None] += 1
