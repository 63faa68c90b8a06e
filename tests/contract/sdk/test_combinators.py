from __future__ import annotations

from typing import Any

import pytest

from tests.contract.sdk.runtimes import Runtime

NO_TEA = {"error": ["TerminalError", 418, "no tea"]}


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        ("all", ["slow", "fast", "called"]),
        ("allOfNone", []),
        ("allWithFailure", NO_TEA),
        ("race", "slow"),
        ("raceWithFailure", NO_TEA),
        ("any", "slow"),
        (
            "anyOfFailures",
            ["AggregateError", [["TerminalError", 418, "no tea"], ["TerminalError", 418, "no coffee"]]],
        ),
        ("allSettled", [["fulfilled", 1], ["rejected", NO_TEA["error"]], ["fulfilled", 3]]),
        ("nested", ["slow", "fast"]),
        ("constants", [2, {"error": ["TerminalError", 400, "no"]}]),
        ("map", [42, "mended: no tea", {"error": ["TerminalError", 400, "broken"]}]),
        ("orTimeout", [{"error": ["TimeoutError", 408, "Timeout occurred"]}, {"value": "in time"}]),
    ],
)
def test_promises_are_combined(runtime: Runtime, handler: str, answer: Any) -> None:
    assert runtime.call(f"Combinators/{handler}") == answer


def test_a_race_has_the_same_winner_when_it_is_replayed(runtime: Runtime) -> None:
    racing = runtime.send("Combinators/replayedRace")
    assert racing.value() == ["first", "second"]
    racing.wait_for_mark("attempt 2")  # it was replayed at all


def test_a_timer_takes_its_time(runtime: Runtime) -> None:
    assert 300 <= runtime.call("Combinators/sleep", 300) < 3000
