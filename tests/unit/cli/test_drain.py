from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gridiron.cli.client import ManagerClient
from gridiron.cli.credentials import Way
from gridiron.cli.drain import POLL_SECONDS, DrainUnfinished, await_drained
from gridiron.cli.edge import ManagerRefused
from gridiron.cli.outside import Outside

Make = Callable[..., dict[str, Any]]
BUILD = "greeter-1.0.0-1"
ROUTE = f"GET /deployments/{BUILD}"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def client(manager: Any) -> Iterator[ManagerClient]:
    with ManagerClient(Way("http://manager.test"), httpx2.MockTransport(manager.handle)) as client:
        yield client


@pytest.fixture
def outside(clock: Any) -> Outside:
    return Outside(monotonic=clock.monotonic, sleep=clock.sleep)


def draining(make_view: Make, pinned: int) -> dict[str, Any]:
    return make_view(state="draining", invocations={"pinned": pinned, "attempting": 1})


def test_each_change_is_said_until_it_is_drained(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make
) -> None:
    said: list[str] = []
    manager.on(ROUTE, draining(make_view, 2), draining(make_view, 1), make_view(state="drained"))
    assert await_drained(client, [BUILD], MINUTE, outside, said.append) == {BUILD: "drained"}
    assert said == [
        f"Waiting for {BUILD} to drain: 2 pinned, 1 being attempted",
        f"Waiting for {BUILD} to drain: 1 pinned, 1 being attempted",
    ]
    assert outside.monotonic() == 2 * POLL_SECONDS


@pytest.mark.parametrize("state", ["active", "drained", "retired", "failed"])
def test_what_does_not_drain_any_further_is_not_waited_for(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make, state: str
) -> None:
    manager.on(ROUTE, make_view(state=state))
    assert await_drained(client, [BUILD], MINUTE, outside, print) == {BUILD: state}
    assert outside.monotonic() == 0


def test_a_build_that_was_pruned_meanwhile_is_gone(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make
) -> None:
    other = "greeter-0.9.0-0"
    manager.refuse(ROUTE, 404, "build_not_found", "There is none.")
    manager.on(f"GET /deployments/{other}", make_view(build_id=other, state="retired"))
    assert await_drained(client, [BUILD, other], MINUTE, outside, print) == {BUILD: "gone", other: "retired"}


def test_an_unknown_is_waited_for(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make
) -> None:
    said: list[str] = []
    unknown = make_view(state="unknown", reason="Restate does not answer", invocations=None)
    manager.on(ROUTE, unknown, make_view(state="drained"))
    assert await_drained(client, [BUILD], MINUTE, outside, said.append) == {BUILD: "drained"}
    assert said == [f"Waiting for {BUILD} to drain: what it has to do is unknown (Restate does not answer)"]


def test_a_manager_that_is_away_for_a_while_is_waited_for(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make
) -> None:
    said: list[str] = []
    manager.on(ROUTE, httpx2.ConnectError("Connection refused"), make_view(state="drained"))
    assert await_drained(client, [BUILD], MINUTE, outside, said.append) == {BUILD: "drained"}
    assert said == [
        (
            f"Waiting for {BUILD} to drain: The manager does not answer at http://manager.test "
            "(Connection refused). Start a node with `gridiron up`."
        )
    ]


def test_the_wait_ends_with_its_time(
    client: ManagerClient, manager: Any, outside: Outside, make_view: Make
) -> None:
    manager.on(ROUTE, draining(make_view, 2))
    with pytest.raises(DrainUnfinished) as caught:
        await_drained(client, [BUILD], MINUTE, outside, lambda _: None)
    assert vars(caught.value) == {
        "build_id": BUILD,
        "seconds": 60.0,
        "reason": "2 pinned, 1 being attempted",
    }
    assert outside.monotonic() == 60


def test_another_refusal_ends_the_wait(client: ManagerClient, manager: Any, outside: Outside) -> None:
    manager.refuse(ROUTE, 500, "storage_failed", "Reading failed.")
    with pytest.raises(ManagerRefused):
        await_drained(client, [BUILD], MINUTE, outside, print)
