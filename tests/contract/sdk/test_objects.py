from __future__ import annotations

import uuid

import pytest

from tests.contract.sdk.runtimes import Runtime
from tests.harness import wait_until


@pytest.fixture(params=["Counter", "LazyCounter"])
def counter(request: pytest.FixtureRequest) -> str:
    """A virtual object that no other test uses: its state is sent along, or fetched when it is read."""
    return f"{request.param}/{uuid.uuid4()}"


def test_state_stays(runtime: Runtime, counter: str) -> None:
    assert runtime.call(f"{counter}/get", "sum") is None
    assert [runtime.call(f"{counter}/add", number) for number in (1, 2, 3)] == [1, 3, 6]
    assert runtime.call(f"{counter}/get", "sum") == 6


def test_each_key_has_its_own_state(runtime: Runtime, counter: str) -> None:
    other = f"{counter}-other"
    runtime.call(f"{counter}/add", 1)
    assert runtime.call(f"{other}/add", 5) == 5
    assert runtime.call(f"{counter}/get", "sum") == 1


def test_state_is_listed_and_cleared(runtime: Runtime, counter: str) -> None:
    for name in "abc":
        runtime.call(f"{counter}/set", [name, {"of": name}])
    assert runtime.call(f"{counter}/keys") == ["a", "b", "c"]
    assert runtime.call(f"{counter}/get", "b") == {"of": "b"}
    runtime.call(f"{counter}/clear", "b")
    assert runtime.call(f"{counter}/keys") == ["a", "c"]
    runtime.call(f"{counter}/clearAll")
    assert runtime.call(f"{counter}/keys") == []
    assert runtime.call(f"{counter}/get", "a") is None


def test_an_invocation_sees_its_own_changes(runtime: Runtime, counter: str) -> None:
    assert runtime.call(f"{counter}/change") == [["a", "b"], None, {"deep": [True]}, []]


def test_state_of_another_serde(runtime: Runtime, counter: str) -> None:
    assert runtime.call(f"{counter}/bytes", [0, 255, 10]) == [0, 255, 10]


def test_invocations_of_a_key_come_one_after_another(runtime: Runtime, counter: str) -> None:
    sent = [runtime.send(f"{counter}/slowly", 1) for _ in range(5)]
    assert sorted(one.value() for one in sent) == [1, 2, 3, 4, 5]


def test_shared_handlers_do_not_wait_and_see_what_is_committed(runtime: Runtime, counter: str) -> None:
    holds = runtime.send(f"{counter}/hold")
    holds.wait_for_mark("holds")
    waits = runtime.send(f"{counter}/add", 1)
    # what is set is written at once, and not when the invocation ends
    wait_until(lambda: runtime.call(f"{counter}/get", "sum") == 42)
    assert waits.status() in {"inboxed", "pending"}
    holds.act("kill")
    assert waits.value() == 43


@pytest.mark.parametrize("key", ["plain", "a b", "ä/ö?#%"])
def test_a_key_may_be_any_text(runtime: Runtime, key: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in key.encode())
    assert runtime.call(f"Counter/{quoted}/own") == key
    assert runtime.call(f"Keyed/{quoted}/request") == [f"Keyed.{runtime.name}/{key}/request", key]
