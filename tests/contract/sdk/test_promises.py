"""Awakeables and signals: what another invocation, or the ingress, resolves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.sdk.runtimes import Invocation, Runtime


def wait(runtime: Runtime, handler: str = "wait") -> tuple[Invocation, str]:
    """Begin to wait for an awakeable, and give its id."""
    waiting = runtime.send(f"Promises/{handler}")
    return waiting, waiting.wait_for_mark(r"awakeable (\S+)")[1]


VALUES = [0, "", None, {"deep": [1, None]}]


@pytest.mark.parametrize("value", VALUES)
def test_a_handler_resolves_an_awakeable(runtime: Runtime, value: object) -> None:
    waiting, awakeable = wait(runtime)
    runtime.call("Promises/resolve", [awakeable, value])
    assert waiting.value() == {"value": value}


def test_a_handler_resolves_an_awakeable_with_nothing(runtime: Runtime) -> None:
    waiting, awakeable = wait(runtime)
    runtime.call("Promises/resolveWithNothing", awakeable)
    assert waiting.value() == {"value": None}


@pytest.mark.parametrize("value", VALUES[:2] + VALUES[3:])
def test_the_ingress_resolves_an_awakeable(runtime: Runtime, value: object) -> None:
    waiting, awakeable = wait(runtime)
    runtime.resolve(awakeable, value)
    assert waiting.value() == {"value": value}


def test_an_awakeable_of_another_serde(runtime: Runtime) -> None:
    waiting, awakeable = wait(runtime, "waitForBytes")
    runtime.call("Promises/resolveWithBytes", [awakeable, [0, 255]])
    assert waiting.value() == [0, 255]


def by_handler(runtime: Runtime, awakeable: str) -> None:
    runtime.call("Promises/reject", [awakeable, "no tea"])


def by_ingress(runtime: Runtime, awakeable: str) -> None:
    runtime.reject(awakeable, "no tea")


@pytest.mark.parametrize("reject", [by_handler, by_ingress])
def test_an_awakeable_is_rejected(runtime: Runtime, reject: Callable[[Runtime, str], None]) -> None:
    waiting, awakeable = wait(runtime)
    reject(runtime, awakeable)
    assert waiting.value() == {"error": ["TerminalError", True, 500, "no tea"], "metadata": {}}


def test_an_awakeable_is_rejected_with_a_code(runtime: Runtime) -> None:
    waiting, awakeable = wait(runtime)
    runtime.call("Promises/rejectWithCode", [awakeable, "no tea", 418])
    assert waiting.value() == {"error": ["TerminalError", True, 418, "no tea"], "metadata": {"why": "test"}}


def test_an_awakeable_is_resolved_once(runtime: Runtime) -> None:
    waiting, awakeable = wait(runtime)
    runtime.resolve(awakeable, "first")
    runtime.call("Promises/resolve", [awakeable, "second"])
    assert waiting.value() == {"value": "first"}


def test_signals_arrive_in_any_order(runtime: Runtime) -> None:
    waiting = runtime.send("Promises/waitForSignal")
    runtime.call("Promises/signal", [waiting.id, "second", {"b": 2}])
    runtime.call("Promises/signal", [waiting.id, "first", {"a": 1}])
    assert waiting.value() == {"values": [{"a": 1}, {"b": 2}]}


def test_a_signal_is_rejected(runtime: Runtime) -> None:
    waiting = runtime.send("Promises/waitForSignal")
    runtime.call("Promises/rejectSignal", [waiting.id, "first", "no tea"])
    assert waiting.value() == {"error": ["TerminalError", True, 500, "no tea"]}
