"""Steps: `ctx.run`, and what else a replay must find as it was: chance and time."""

from __future__ import annotations

import json
import time

from tests.contract.sdk.runtimes import Invocation, Runtime


def closures(count: int) -> list[str]:
    return [f"closure {number}" for number in range(1, count + 1)]


def finished(runtime: Runtime, handler: str) -> Invocation:
    invocation = runtime.send(f"Runs/{handler}")
    invocation.answer()
    return invocation


def test_a_step_gives_any_value(runtime: Runtime) -> None:
    assert runtime.call("Runs/values") == ["without a name", 1, {"deep": [None, True]}, "nothing", [1, 2]]


def test_a_step_is_retried_until_it_succeeds(runtime: Runtime) -> None:
    invocation = finished(runtime, "retried")
    assert invocation.value() == "closure 3"
    invocation.expect_marks(*closures(3))


def test_a_step_gives_up_after_its_attempts(runtime: Runtime) -> None:
    invocation = finished(runtime, "givesUp")
    assert invocation.value() == {"error": ["TerminalError", True, 500, "failure 3"]}
    invocation.expect_marks(*closures(3))


def test_a_step_gives_up_after_its_time(runtime: Runtime) -> None:
    invocation = finished(runtime, "givesUpInTime")
    *error, message = invocation.value()["error"]
    assert error == ["TerminalError", True, 500]
    count = int(message.removeprefix("failure "))
    assert count > 1
    invocation.expect_marks(*closures(count))


def test_a_terminal_error_is_not_retried(runtime: Runtime) -> None:
    invocation = finished(runtime, "refuses")
    assert invocation.value() == ["TerminalError", True, 418, "no tea", {"pot": "empty"}]
    invocation.expect_marks("closure 1")


def test_a_retryable_error_says_when(runtime: Runtime) -> None:
    invocation = finished(runtime, "retriesAfter")
    value, millis = invocation.value()
    assert value == "closure 2"
    assert 300 <= millis < 3000
    invocation.expect_marks(*closures(2))


def test_a_retryable_error_wraps_another(runtime: Runtime) -> None:
    invocation = finished(runtime, "wrapped")
    assert invocation.value() == {"error": ["TerminalError", True, 500, "inner"]}
    invocation.expect_marks(*closures(2))


def test_what_is_thrown_need_not_be_an_error(runtime: Runtime) -> None:
    messages = ['Non-Error value: "a text"', "an object", "Non-Error value: null"]
    assert runtime.call("Runs/throwsOdd") == [
        {"error": ["TerminalError", True, 500, message]} for message in messages
    ]


def test_an_error_of_restate_is_retried_unless_it_is_terminal(runtime: Runtime) -> None:
    invocation = finished(runtime, "throwsRestateError")
    assert invocation.value() == {"error": ["TerminalError", True, 500, "not terminal"]}
    invocation.expect_marks(*closures(2))


def test_an_error_is_declared_terminal(runtime: Runtime) -> None:
    invocation = finished(runtime, "mapped")
    assert invocation.answer().json() == {"code": 410, "message": "sold out", "source": "invocation"}
    invocation.expect_marks("closure 1", "step TerminalError,true,410,sold out")


def test_a_step_that_times_out_goes_on(runtime: Runtime) -> None:
    invocation = finished(runtime, "timesOut")
    assert invocation.value() == {"error": ["TimeoutError", True, 408, "Timeout occurred"]}
    invocation.expect_marks("closure begins", "timed out", "closure ends")


def test_a_replay_finds_steps_chance_and_time_as_they_were(runtime: Runtime) -> None:
    before = time.time() * 1000
    invocation = finished(runtime, "replayed")
    value = invocation.value()
    assert value["stepped"] == "by attempt 1"
    assert before <= value["now"] <= time.time() * 1000
    first, second, uuid = value["chance"]
    assert 0 <= first < 1
    assert first != second
    assert len(uuid) == 36
    marks = invocation.marks
    assert json.loads(marks[0]) == value
    invocation.expect_marks(*[marks[0]] * 3)
