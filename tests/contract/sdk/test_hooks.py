from __future__ import annotations

import pytest

from tests.contract.sdk.runtimes import Runtime


def around(what: str, *inner: str, hooks: tuple[str, ...]) -> tuple[str, ...]:
    before = (f"{hook} before {what}" for hook in hooks)
    after = (f"{hook} after {what}" for hook in reversed(hooks))
    return (*before, *inner, *after)


def test_hooks_surround_handler_and_steps_in_their_order(runtime: Runtime) -> None:
    invocation = runtime.send("Hooks/nested")
    assert invocation.answer().status_code == 200
    hooks = ("first", "second", "third")
    step = around("step", "step", hooks=hooks)
    invocation.expect_marks("attempt 1", *around("nested", "handler", *step, hooks=hooks))


def test_hooks_come_again_with_each_attempt_but_not_with_a_replayed_step(runtime: Runtime) -> None:
    invocation = runtime.send("Hooks/retried")
    assert invocation.answer().status_code == 200
    hooks = ("first", "second")
    before = ("first before retried", "second before retried")
    step = around("step", "step", hooks=hooks)
    invocation.expect_marks("attempt 1", *before, *step, "attempt 2", *around("retried", hooks=hooks))


BEFORE = ("attempt 1", "first before {0}", "second before {0}")


@pytest.mark.parametrize(
    ("handler", "code", "message", "marks"),
    [
        ("refusedBefore", 403, "closed", BEFORE),
        ("refusedAfter", 410, "too late", (*BEFORE, "handler")),
        ("mended", 418, "instead of a retry", BEFORE),
        ("stepRefused", 403, "no step", (*BEFORE, "first before step", "second before step")),
    ],
)
def test_a_hook_decides_on_the_failure(
    runtime: Runtime, handler: str, code: int, message: str, marks: tuple[str, ...]
) -> None:
    invocation = runtime.send(f"Hooks/{handler}")
    assert invocation.answer().json() == {"code": code, "message": message, "source": "invocation"}
    invocation.expect_marks(*(mark.format(handler) for mark in marks))
