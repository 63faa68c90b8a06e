from __future__ import annotations

import pytest

from tests.contract.sdk.runtimes import Runtime

ATTEMPTS = ("attempt 1", "attempt 2", "attempt 3")


@pytest.mark.parametrize(
    ("code", "status"), [(400, 400), (418, 418), (503, 503), (599, 599), (0, 500), (1000, 500)]
)
def test_a_terminal_error_is_the_answer(runtime: Runtime, code: int, status: int) -> None:
    response = runtime.request("Errors/refuse", code)
    assert response.status_code == status
    assert response.json() == {
        "code": code,
        "message": "no tea",
        "metadata": {"pot": "empty"},
        "source": "invocation",
    }


@pytest.mark.parametrize(("handler", "code"), [("refuseWithoutCode", 500), ("refuseSynchronously", 418)])
def test_a_terminal_error_without_more(runtime: Runtime, handler: str, code: int) -> None:
    response = runtime.request(f"Errors/{handler}")
    assert response.json() == {"code": code, "message": "no tea", "source": "invocation"}


@pytest.mark.parametrize(
    "handler", ["fail", "failWithCode", "failLater", "throwText", "throwNothing", "throwObject"]
)
def test_whatever_else_is_thrown_is_retried(runtime: Runtime, handler: str) -> None:
    invocation = runtime.send(f"Errors/{handler}")
    assert invocation.value() == "by attempt 3"
    invocation.expect_marks(*ATTEMPTS)


def test_an_error_that_nobody_awaits_is_nobodys(runtime: Runtime) -> None:
    invocation = runtime.send("Errors/rejectUnawaited")
    assert invocation.value() == "answered"
    invocation.expect_marks("attempt 1")


def test_an_answer_that_is_no_json_is_retried(runtime: Runtime) -> None:
    invocation = runtime.send("Errors/hasNoJson")
    assert invocation.value() == "mended"
    invocation.expect_marks("attempt 1", "attempt 2")


def test_retries_end_in_a_failure_where_they_are_limited(runtime: Runtime) -> None:
    invocation = runtime.send("Errors/diesOut")
    response = invocation.answer()
    assert response.status_code == 500
    assert response.json()["message"] == "hopeless"
    invocation.expect_marks(*ATTEMPTS)


def test_retries_end_in_a_pause_where_they_are_limited(runtime: Runtime) -> None:
    invocation = runtime.send("Errors/pauses")
    invocation.wait_for_status("paused")
    invocation.expect_marks(*ATTEMPTS)
    invocation.act("resume")
    assert invocation.value() == "by attempt 4"
    invocation.expect_marks(*ATTEMPTS, "attempt 4")


def test_other_steps_than_those_in_the_journal_are_an_error(runtime: Runtime) -> None:
    invocation = runtime.send("Errors/changesItsMind")
    response = invocation.answer()
    assert response.json()["code"] == 570
    assert "mismatch" in response.json()["message"]
    invocation.expect_marks(*ATTEMPTS)
