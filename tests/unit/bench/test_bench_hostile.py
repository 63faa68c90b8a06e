from __future__ import annotations

from bench.caller import Call
from bench.measures.hostile import Stall, Suffered

CALLS = [
    *(Call(due=due, seconds=0.1, answer="1", error=None) for due in (0, 1, 2)),
    Call(due=3, seconds=6, answer="1", error=None),  # under way at the deed, and begun before it
    Call(due=5, seconds=4.5, answer="1", error=None),
    Call(due=9, seconds=2, answer="1", error=None),  # due before it was over, answered after that
    *(Call(due=due, seconds=0.2, answer="1", error=None) for due in (12, 13, 14)),
]


def suffer(deed: str) -> Suffered:
    return Suffered(deed, rate=1, calls=CALLS, begin=0, done_at=4, over_at=10, end=15)


def test_a_call_that_is_under_way_at_the_deed_counts_for_the_deed() -> None:
    suffered = suffer("loop")
    assert suffered.quiet == Stall(call=0.1, gap=4 - 2.1)
    assert suffered.first == Stall(call=6, gap=5)


def test_the_time_in_quarantine_begins_when_all_have_their_answers() -> None:
    suffered = suffer("loop")
    assert suffered.recovered_at == 11
    assert suffered.quarantined == Stall(call=0.2, gap=12.2 - 11)


def test_what_only_wastes_is_not_looked_at_in_quarantine() -> None:
    assert suffer("storm").quarantined is None
