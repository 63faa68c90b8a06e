"""What invocations share in the memory of their process or isolate."""

from __future__ import annotations

import uuid

from tests.contract.sdk.runtimes import Runtime
from tests.harness import wait_until


def test_invocations_await_the_same_promise(runtime: Runtime) -> None:
    runtime.call("Shared/forget")
    first, *others = [runtime.send("Shared/load") for _ in range(4)]
    assert [one.value() for one in (first, *others)] == ["loaded"] * 4

    def fetch_marks() -> list[str]:
        return sorted(mark for one in (first, *others) for mark in one.marks)

    expected = ["begins"] * 4 + ["has loaded", "loads"]
    wait_until(lambda: len(fetch_marks()) >= len(expected), what="all is marked")
    assert fetch_marks() == expected


def test_a_promise_outlives_the_invocation_that_began_it(runtime: Runtime) -> None:
    runtime.call("Shared/forget")
    first = runtime.send("Shared/load")
    first.wait_for_mark("loads")
    second = runtime.send("Shared/load")
    second.wait_for_mark("begins")
    first.act("kill")
    assert second.value() == "loaded"
    first.expect_marks("begins", "loads", "has loaded")


def test_an_invocation_is_resolved_by_another(runtime: Runtime) -> None:
    key = str(uuid.uuid4())
    waiting = runtime.send("Shared/waitInMemory", key)
    waiting.wait_for_mark("waits")
    runtime.call("Shared/resolveInMemory", [key, "resolved"])
    assert waiting.value() == "resolved"
    waiting.expect_marks("waits", "goes on")
