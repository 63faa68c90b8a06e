from __future__ import annotations

import time
import uuid

import pytest

from tests.contract.sdk.runtimes import Runtime


def test_a_handler_calls_another(runtime: Runtime) -> None:
    assert runtime.call("Caller/call", "Ada") == "Hello Ada"


def test_a_handler_calls_an_object(runtime: Runtime) -> None:
    assert runtime.call("Caller/callObject", str(uuid.uuid4())) == [2, 5, 5]


def test_a_call_has_headers_and_serdes(runtime: Runtime) -> None:
    assert runtime.call("Caller/options") == ["from the caller", len(b'"Hello Ada"')]


def test_a_call_by_name(runtime: Runtime) -> None:
    assert runtime.call("Caller/generic") == [[1, 2, 3], "generic"]


def test_a_failure_arrives_whole(runtime: Runtime) -> None:
    assert runtime.call("Caller/failed") == ["TerminalError", True, 418, "no tea", {"pot": "empty"}]


def test_a_failure_that_is_not_caught_is_passed_on(runtime: Runtime) -> None:
    response = runtime.request("Caller/passedOn")
    assert response.status_code == 418
    assert response.json() == {
        "code": 418,
        "message": "no tea",
        "metadata": {"pot": "empty"},
        "source": "invocation",
    }


def test_a_call_tells_its_invocation(runtime: Runtime) -> None:
    callee, answer = runtime.call("Caller/callAndAttach")
    assert answer == "Hello Ada"
    runtime.invocation(callee).expect_marks("greets Ada")


def test_a_call_with_an_idempotency_key_is_made_once(runtime: Runtime) -> None:
    assert runtime.call("Caller/callOnce", str(uuid.uuid4())) == [1, 1]


@pytest.mark.parametrize(("handler", "name"), [("send", "Bob"), ("genericSend", "generic")])
def test_a_handler_sends_and_does_not_wait(runtime: Runtime, handler: str, name: str) -> None:
    sent = runtime.invocation(runtime.call(f"Caller/{handler}", "Bob"))
    sent.expect_marks(f"greets {name}")


def test_a_handler_sends_to_an_object(runtime: Runtime) -> None:
    key = str(uuid.uuid4())
    runtime.call("Caller/sendObject", key)
    # what is sent to a key comes before what is called later
    assert runtime.call(f"Counter/{key}/add", 1) == 8


def test_a_handler_sends_later(runtime: Runtime) -> None:
    before = time.monotonic()
    sent = runtime.invocation(runtime.call("Caller/sendLater", 500))
    sent.expect_marks("greets later")
    assert time.monotonic() - before >= 0.5


def test_a_send_with_an_idempotency_key_is_made_once(runtime: Runtime) -> None:
    first, second = runtime.call("Caller/once", str(uuid.uuid4()))
    assert first == second
    runtime.invocation(first).expect_marks("greets once")


def test_the_ingress_knows_an_idempotency_key(runtime: Runtime) -> None:
    headers = {"idempotency-key": str(uuid.uuid4())}
    first, second = (runtime.request("Callee/greet", "Ada", headers=headers) for _ in range(2))
    assert first.json() == second.json() == "Hello Ada"
    runtime.invocation(first.headers["x-restate-id"]).expect_marks("greets Ada")


def test_a_handler_attaches_to_an_invocation(runtime: Runtime) -> None:
    greeting = runtime.send("Callee/greet", "Ada")
    assert runtime.call("Caller/attach", greeting.id) == ["Hello Ada", "Hello Ada"]
    greeting.expect_marks("greets Ada")


@pytest.mark.parametrize("handler", ["cancel", "cancelByReference"])
def test_a_handler_cancels_an_invocation(runtime: Runtime, handler: str) -> None:
    waiting = runtime.send("Callee/wait")
    waiting.wait_for_mark("waits")
    runtime.call(f"Caller/{handler}", waiting.id)
    assert waiting.answer().json() == {"code": 409, "message": "Cancelled", "source": "invocation"}
    waiting.expect_marks("waits", "ends")
