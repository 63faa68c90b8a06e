"""Work that goes on after the stream has closed, although nothing but itself refers to it any more."""

from __future__ import annotations

from tests.contract.sdk.runtimes import Invocation, Runtime

CLOSURE_BEGINS = ("1 handler hook begins", "1 slow hook begins", "1 closure begins")
STREAM_CLOSES = ("1 signal", "1 handler hook sees Error", "1 handler hook ends")
CLOSURE_ENDS = ("1 closure ends", "1 slow hook sees an answer", "1 slow hook ends")
WASTE = ("1 makes 1000000 objects",) * 5
KILLED = {"code": 409, "message": "killed", "source": "invocation"}


def test_a_closure_goes_on_although_memory_is_collected(runtime: Runtime) -> None:
    invocation = runtime.send("Endings/wasteful")
    invocation.wait_for_mark("1 closure begins")
    invocation.act("kill")
    invocation.expect_marks(*CLOSURE_BEGINS, *STREAM_CLOSES, *WASTE, *CLOSURE_ENDS)


def test_timers_go_on_after_the_answer_although_memory_is_collected(runtime: Runtime) -> None:
    invocation = runtime.send("Endings/leavesWasteBehind")
    assert invocation.value() == "answered"
    invocation.expect_marks(
        "1 handler hook begins",
        "1 finally begins",
        "1 finally ends",
        "1 handler hook sees an answer",
        "1 handler hook ends",
        "1 signal",
        *WASTE,
        "1 timers end",
    )


def test_a_closure_goes_on_for_longer_than_any_short_limit(
    killed_early: dict[str, Invocation], runtime: Runtime
) -> None:
    killed = killed_early[runtime.name]
    assert killed.answer().json() == KILLED
    killed.expect_marks(*CLOSURE_BEGINS, *STREAM_CLOSES, "1 closure goes on", *CLOSURE_ENDS, seconds=60)
