from __future__ import annotations

import uuid

import pytest

from tests.contract.sdk.runtimes import Invocation, Runtime
from tests.harness import wait_until


@pytest.fixture
def signup() -> str:
    """A workflow that no other test uses."""
    return f"Signup/{uuid.uuid4()}"


def submit(runtime: Runtime, signup: str) -> Invocation:
    return runtime.send(f"{signup}/run", "Ada", headers={})


def test_a_workflow_waits_for_its_promise(runtime: Runtime, signup: str) -> None:
    running = submit(runtime, signup)
    wait_until(lambda: runtime.call(f"{signup}/status") == "waits for Ada")
    assert runtime.call(f"{signup}/peek") == "undecided"
    runtime.call(f"{signup}/decide", "welcome")
    key = signup.partition("/")[2]
    assert running.value() == {"greeting": "Hello Ada", "decision": "welcome", "key": key}
    assert [runtime.call(f"{signup}/{ask}") for ask in ("peek", "decision", "status")] == ["welcome"] * 2 + [
        "decided"
    ]


def test_a_promise_may_be_resolved_before_it_is_awaited(runtime: Runtime, signup: str) -> None:
    runtime.call(f"{signup}/decide", "welcome")
    assert submit(runtime, signup).value()["decision"] == "welcome"


def test_a_rejected_promise_fails_the_workflow(runtime: Runtime, signup: str) -> None:
    running = submit(runtime, signup)
    runtime.call(f"{signup}/refuse", "too young")
    failed = {"code": 500, "message": "too young", "source": "invocation"}
    assert running.answer().json() == failed
    assert runtime.request(f"{signup}/decision").json() == failed
    assert runtime.request(f"{signup}/peek").json() == failed


def test_a_promise_is_resolved_once(runtime: Runtime, signup: str) -> None:
    runtime.call(f"{signup}/decide", "first")
    for again in ("decide", "refuse"):
        assert runtime.request(f"{signup}/{again}", "second").status_code == 409
    assert runtime.call(f"{signup}/decision") == "first"


def test_a_workflow_runs_once(runtime: Runtime, signup: str) -> None:
    first = submit(runtime, signup)
    assert runtime.request(f"{signup}/run/send", "Bob").json() == {
        "invocationId": first.id,
        "status": "PreviouslyAccepted",
    }
    runtime.call(f"{signup}/decide", "welcome")
    assert first.value()["greeting"] == "Hello Ada"
    # the same answer for whoever comes later, and no second run
    assert runtime.request(f"{signup}/run", "Bob").status_code == 409
    service, key = runtime.path(signup).split("/")[1:]
    attached = runtime.ingress.get(f"/restate/workflow/{service}/{key}/attach")
    output = runtime.ingress.get(f"/restate/workflow/{service}/{key}/output")
    assert attached.json()["greeting"] == output.json()["greeting"] == "Hello Ada"
    first.expect_marks("greeted")


def test_a_handler_calls_a_workflow(runtime: Runtime) -> None:
    key = str(uuid.uuid4())
    called = runtime.call("Registrar/signUp", key)
    assert called == {"greeting": "Hello Ada", "decision": "by the registrar", "key": key}


def test_a_handler_sends_to_a_workflow(runtime: Runtime) -> None:
    key = str(uuid.uuid4())
    sent = runtime.invocation(runtime.call("Registrar/sendOff", key))
    runtime.call(f"Signup/{key}/decide", "welcome")
    assert sent.value()["decision"] == "welcome"
