"""How a handler ends: what it still does when Restate cancels it, ends its attempt or closes its stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.contract.sdk.runtimes import Invocation, Runtime

Play = Callable[[Runtime], Invocation]


def begun(handler: str) -> Play:
    return lambda runtime: runtime.send(f"Endings/{handler}")


def ended_by(verb: str, handler: str, when: str) -> Play:
    """Let the admin API end an invocation when it has marked where it is."""

    def play(runtime: Runtime) -> Invocation:
        invocation = runtime.send(f"Endings/{handler}")
        invocation.wait_for_mark(when)
        invocation.act(verb)
        return invocation

    return play


def suspended_then(act: Callable[[Invocation, str], object]) -> Play:
    def play(runtime: Runtime) -> Invocation:
        invocation = runtime.send("Endings/suspended")
        awakeable = invocation.wait_for_mark(r"1 waits for (\S+)")[1]
        invocation.wait_for_status("suspended")
        invocation.wait_for_mark("1 handler hook ends")
        act(invocation, awakeable)
        return invocation

    return play


def paused_then_resumed(runtime: Runtime) -> Invocation:
    invocation = ended_by("pause", "sleep", "1 waits")(runtime)
    invocation.wait_for_status("paused")
    invocation.wait_for_mark("1 handler hook ends")
    invocation.act("resume")
    invocation.wait_for_mark("2 waits")
    invocation.act("cancel")
    return invocation


CLOSURE, WAITS, CALLS = "1 closure begins", "1 waits", r"1 waits for \S+"
PLAYS: Mapping[str, Play] = {
    "cancelled in a sleep": ended_by("cancel", "sleep", WAITS),
    "cancelled in an awakeable": ended_by("cancel", "awakeable", WAITS),
    "cancelled in a call": ended_by("cancel", "call", CALLS),
    "cancelled in a combinator": ended_by("cancel", "combined", WAITS),
    "cancelled in a mapped promise": ended_by("cancel", "mapped", WAITS),
    "cancelled in a signal": ended_by("cancel", "signal", WAITS),
    "cancelled in an attachment": ended_by("cancel", "attached", CALLS),
    "cancelled in a closure": ended_by("cancel", "outlivingClosure", CLOSURE),
    "cancelled in a promise of its own": ended_by("cancel", "ownPromise", CLOSURE),
    "cancelled while suspended": suspended_then(lambda invocation, _: invocation.act("cancel")),
    "told to stop": ended_by("cancel", "explicit", CLOSURE),
    "told to stop in a call": ended_by("cancel", "explicitCall", CALLS),
    "aborted in a closure": begun("abortedInClosure"),
    "aborted in a promise of its own": begun("abortedInOwnPromise"),
    "failed beside a closure": begun("failing"),
    "killed in a sleep": ended_by("kill", "sleep", WAITS),
    "killed in a call": ended_by("kill", "call", CALLS),
    "killed in a closure": ended_by("kill", "closure", CLOSURE),
    "killed in a promise of its own": ended_by("kill", "ownPromise", CLOSURE),
    "stopped by its signal": ended_by("kill", "stoppedByItsSignal", CLOSURE),
    "killed while suspended": suspended_then(lambda invocation, _: invocation.act("kill")),
    "paused in a closure": ended_by("pause", "closure", CLOSURE),
    "paused in a promise of its own": ended_by("pause", "ownPromise", CLOSURE),
    "paused and resumed": paused_then_resumed,
    "suspended in an awakeable": suspended_then(
        lambda invocation, awakeable: invocation.runtime.resolve(awakeable, "resolved")
    ),
    "suspended in a sleep": begun("suspendedInSleep"),
    "answered with work left": begun("leavesWorkBehind"),
    "refused with work left": begun("refuses"),
}

BEGIN = ("1 handler hook begins",)
STEP = ("1 quick hook begins", "1 quick hook sees an answer", "1 quick hook ends")
CLOSURE_BEGINS = ("1 slow hook begins", "1 closure begins")
CLOSURE_ENDS = ("1 closure goes on", "1 closure ends", "1 slow hook sees an answer", "1 slow hook ends")
OWN_PROMISE_ENDS = ("1 closure goes on", "1 closure ends")
STREAM_CLOSES = ("1 signal", "1 handler hook sees Error", "1 handler hook ends")
KILLED = {"code": 409, "message": "killed", "source": "invocation"}


def suspends(attempt: int = 1) -> tuple[str, ...]:
    return (
        f"{attempt} handler hook sees RestateError",
        f"{attempt} signal",
        f"{attempt} handler hook ends",
    )


def answers(attempt: int = 1) -> tuple[str, ...]:
    return (
        f"{attempt} finally begins",
        f"{attempt} finally ends",
        f"{attempt} handler hook sees an answer",
        f"{attempt} handler hook ends",
        f"{attempt} signal",
    )


def fails(error: str, attempt: int = 1) -> tuple[str, ...]:
    """What a handler does when an error comes out of what it awaits: compensations, `finally`, hook."""
    return (
        f"{attempt} catches {error}",
        f"{attempt} undo second hook begins",
        f"{attempt} undoes second",
        f"{attempt} undo second hook sees an answer",
        f"{attempt} undo second hook ends",
        f"{attempt} undo first hook begins",
        f"{attempt} undoes first",
        f"{attempt} undo first hook sees an answer",
        f"{attempt} undo first hook ends",
        f"{attempt} finally begins",
        f"{attempt} finally ends",
        f"{attempt} handler hook sees {error}",
        f"{attempt} handler hook ends",
        f"{attempt} signal",
    )


def again(marks: tuple[str, ...], attempt: int) -> tuple[str, ...]:
    return tuple(f"{attempt}{mark[1:]}" for mark in marks)


@pytest.fixture(scope="module")
def plays(runtimes: dict[str, Runtime]) -> Iterator[dict[tuple[str, str], Future[Invocation]]]:
    """All of them at once, as each of them waits most of its time."""
    with ThreadPoolExecutor(len(PLAYS) * len(runtimes)) as pool:
        yield {
            (name, runtime.name): pool.submit(play, runtime)
            for name, play in PLAYS.items()
            for runtime in runtimes.values()
        }


@pytest.fixture
def play(plays: dict[tuple[str, str], Future[Invocation]], runtime: Runtime) -> Callable[[str], Invocation]:
    return lambda name: plays[name, runtime.name].result(60)


def assert_cancelled(invocation: Invocation, message: str = "Cancelled") -> None:
    response = invocation.answer()
    assert response.json() == {"code": 409, "message": message, "source": "invocation"}
    assert response.status_code == 409


@pytest.mark.parametrize("where", ["a sleep", "an awakeable", "a combinator", "a mapped promise", "a signal"])
def test_a_cancelled_handler_compensates(play: Callable[[str], Invocation], where: str) -> None:
    invocation = play(f"cancelled in {where}")
    assert_cancelled(invocation)
    invocation.expect_marks(*BEGIN, "1 waits", *fails("CancelledError"))


def test_a_cancellation_reaches_what_is_called(play: Callable[[str], Invocation], runtime: Runtime) -> None:
    invocation = play("cancelled in a call")
    child = runtime.invocation(invocation.wait_for_mark(r"1 waits for (\S+)")[1])
    assert_cancelled(invocation)
    invocation.expect_marks(*BEGIN, f"1 waits for {child.id}", *fails("CancelledError"))
    child.expect_marks(*BEGIN, "1 waits", *fails("CancelledError"))


def test_a_cancellation_does_not_reach_what_is_attached_to(
    play: Callable[[str], Invocation], runtime: Runtime
) -> None:
    invocation = play("cancelled in an attachment")
    child = runtime.invocation(invocation.wait_for_mark(r"1 waits for (\S+)")[1])
    assert_cancelled(invocation)
    invocation.expect_marks(*BEGIN, f"1 waits for {child.id}", *fails("CancelledError"))
    child.expect_marks(*BEGIN, "1 waits")
    child.act("cancel")
    child.expect_marks(*BEGIN, "1 waits", *fails("CancelledError"))


def test_a_closure_goes_on_when_its_handler_is_cancelled(play: Callable[[str], Invocation]) -> None:
    invocation = play("cancelled in a closure")
    assert_cancelled(invocation)
    # the handler has ended, and the stream with it, long before the closure
    invocation.expect_marks(*BEGIN, *CLOSURE_BEGINS, *fails("CancelledError"), *CLOSURE_ENDS)


def test_a_cancellation_does_not_touch_promises_that_are_not_restates(
    play: Callable[[str], Invocation],
) -> None:
    invocation = play("cancelled in a promise of its own")
    assert invocation.value() == "closure"
    invocation.expect_marks(*BEGIN, *STEP, "1 closure begins", *OWN_PROMISE_ENDS, *answers())


def test_a_suspended_handler_is_woken_to_be_cancelled(play: Callable[[str], Invocation]) -> None:
    invocation = play("cancelled while suspended")
    waits = invocation.wait_for_mark(r"1 waits for \S+")[0]
    assert_cancelled(invocation)
    expected = (*BEGIN, waits, *suspends())
    invocation.expect_marks(*expected, *again((*BEGIN, waits), 2), *fails("CancelledError", 2))


def test_a_handler_that_asks_for_it_is_told_to_stop(play: Callable[[str], Invocation]) -> None:
    invocation = play("told to stop")
    assert_cancelled(invocation, "was told to stop")
    catches, *compensates = fails("TerminalError")
    invocation.expect_marks(
        *BEGIN,
        "1 stoppable hook begins",
        "1 closure begins",
        "1 closure is stopped",
        "1 stoppable hook sees an answer",
        catches,
        "1 stoppable hook ends",
        *compensates,
    )


def test_a_handler_that_is_told_to_stop_cancels_what_it_called(
    play: Callable[[str], Invocation], runtime: Runtime
) -> None:
    invocation = play("told to stop in a call")
    child = runtime.invocation(invocation.wait_for_mark(r"1 waits for (\S+)")[1])
    assert_cancelled(invocation)
    calls = (f"1 waits for {child.id}", f"1 cancels {child.id}")
    invocation.expect_marks(*BEGIN, *calls, *fails("TerminalError"))
    child.expect_marks(*BEGIN, "1 waits", *fails("CancelledError"))


def test_a_closure_outlives_its_aborted_attempt(play: Callable[[str], Invocation]) -> None:
    invocation = play("aborted in a closure")
    assert invocation.value() == "attempt 2"
    second = ("2 handler hook begins", "2 slow hook begins", "2 slow hook sees an answer", "2 slow hook ends")
    # the handler itself is where it was: what it awaits of Restate never comes
    suspended = ("1 handler hook sees RestateError", "1 handler hook ends")
    invocation.expect_marks(
        *BEGIN, *CLOSURE_BEGINS, "1 signal", *second, *answers(2), *CLOSURE_ENDS, *suspended
    )


def test_a_handler_outlives_its_aborted_attempt(play: Callable[[str], Invocation]) -> None:
    invocation = play("aborted in a promise of its own")
    assert invocation.value() == "attempt 2"
    ended = [mark for mark in answers(1) if mark != "1 signal"]
    invocation.expect_marks(
        *BEGIN,
        *STEP,
        "1 closure begins",
        "1 signal",
        "2 handler hook begins",
        *answers(2),
        *OWN_PROMISE_ENDS,
        *ended,
    )


def test_a_closure_outlives_an_attempt_that_failed_beside_it(play: Callable[[str], Invocation]) -> None:
    invocation = play("failed beside a closure")
    assert invocation.value() == [None, "attempt 2"]
    failed = ("1 fails hook begins", "1 fails hook sees Error", "1 fails hook ends")
    second = [
        f"2 {name} hook {does}" for name in ("fails", "slow") for does in ("begins", "sees an answer", "ends")
    ]
    invocation.expect_marks(
        *BEGIN,
        *CLOSURE_BEGINS,
        *failed,
        *suspends(),
        "2 handler hook begins",
        *second,
        *answers(2),
        *CLOSURE_ENDS,
    )


def test_a_killed_handler_never_comes_back(play: Callable[[str], Invocation]) -> None:
    invocation = play("killed in a sleep")
    assert invocation.answer().json() == KILLED
    invocation.expect_marks(*BEGIN, "1 waits", *STREAM_CLOSES)


def test_what_a_killed_handler_calls_is_killed(play: Callable[[str], Invocation], runtime: Runtime) -> None:
    invocation = play("killed in a call")
    child = runtime.invocation(invocation.wait_for_mark(r"1 waits for (\S+)")[1])
    assert invocation.answer().json() == KILLED
    invocation.expect_marks(*BEGIN, f"1 waits for {child.id}", *STREAM_CLOSES)
    child.expect_marks(*BEGIN, "1 waits", *STREAM_CLOSES)


def test_a_closure_outlives_its_killed_handler(play: Callable[[str], Invocation]) -> None:
    invocation = play("killed in a closure")
    assert invocation.answer().json() == KILLED
    invocation.expect_marks(*BEGIN, *CLOSURE_BEGINS, *STREAM_CLOSES, *CLOSURE_ENDS)


def test_a_killed_handler_ends_its_own_work(play: Callable[[str], Invocation]) -> None:
    invocation = play("killed in a promise of its own")
    assert invocation.answer().json() == KILLED
    ended = ("1 finally begins", "1 finally ends")
    invocation.expect_marks(*BEGIN, *STEP, "1 closure begins", *STREAM_CLOSES, *OWN_PROMISE_ENDS, *ended)


def test_a_closure_is_stopped_by_the_signal_of_its_attempt(play: Callable[[str], Invocation]) -> None:
    invocation = play("stopped by its signal")
    assert invocation.answer().json() == KILLED
    signal, *hook = STREAM_CLOSES
    step = ("1 closure is stopped: AbortError", "1 slow hook sees an answer")
    marks = (*BEGIN, *CLOSURE_BEGINS, signal, *step, hook[0], "1 slow hook ends", hook[1])
    invocation.expect_marks(*marks)


def test_a_suspended_handler_is_not_woken_to_be_killed(play: Callable[[str], Invocation]) -> None:
    invocation = play("killed while suspended")
    waits = invocation.wait_for_mark(r"1 waits for \S+")[0]
    assert invocation.answer().json() == KILLED
    invocation.expect_marks(*BEGIN, waits, *suspends())


def test_a_handler_is_paused_after_its_closure(play: Callable[[str], Invocation]) -> None:
    invocation = play("paused in a closure")
    invocation.expect_marks(*BEGIN, *CLOSURE_BEGINS, *CLOSURE_ENDS, *suspends())
    invocation.wait_for_status("paused")


def test_a_handler_that_awaits_nothing_of_restates_answers_although_it_is_paused(
    play: Callable[[str], Invocation],
) -> None:
    invocation = play("paused in a promise of its own")
    assert invocation.value() == "closure"
    invocation.expect_marks(*BEGIN, *STEP, "1 closure begins", *OWN_PROMISE_ENDS, *answers())


def test_a_paused_handler_is_resumed(play: Callable[[str], Invocation]) -> None:
    invocation = play("paused and resumed")
    assert_cancelled(invocation)
    waits = (*BEGIN, "1 waits")
    invocation.expect_marks(*waits, *suspends(), *again(waits, 2), *fails("CancelledError", 2))


def test_a_suspended_handler_is_resumed_by_what_it_waits_for(play: Callable[[str], Invocation]) -> None:
    invocation = play("suspended in an awakeable")
    waits = (*BEGIN, invocation.wait_for_mark(r"1 waits for \S+")[0])
    assert invocation.value() == ["resolved", "attempt 2"]
    invocation.expect_marks(*waits, *suspends(), *again(waits, 2), *answers(2))


def test_a_suspended_handler_is_resumed_by_its_timer(play: Callable[[str], Invocation]) -> None:
    invocation = play("suspended in a sleep")
    assert invocation.value() == "attempt 2"
    sleeps = (*BEGIN, "1 sleeps")
    invocation.expect_marks(*sleeps, *suspends(), *again(sleeps, 2), *answers(2))


def test_work_goes_on_when_the_handler_has_answered(play: Callable[[str], Invocation]) -> None:
    invocation = play("answered with work left")
    assert invocation.value() == "answered"
    steps = [f"1 step {number}" for number in range(1, 6)]
    ticks = [f"1 tick {number}" for number in range(1, 4)]
    invocation.expect_marks(*BEGIN, *answers(), *steps, *ticks, "1 timer")


def test_work_goes_on_when_the_handler_has_refused(play: Callable[[str], Invocation]) -> None:
    invocation = play("refused with work left")
    assert invocation.answer().status_code == 418
    invocation.expect_marks(*BEGIN, *fails("TerminalError"), "1 timer")
