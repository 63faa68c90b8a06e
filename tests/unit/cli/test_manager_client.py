from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gridiron.cli.client import ManagerClient
from gridiron.cli.credentials import Way
from gridiron.cli.edge import ManagerRefused
from gridiron.errors import ManagerUnavailable
from gridiron.manager.api import ActivateRequest, DeploymentView, Health, Problem, PruneRequest
from gridiron.model import State

URL = "http://manager.test:8081"


@pytest.fixture
def client(manager: Any) -> Iterator[ManagerClient]:
    with ManagerClient(Way(f"{URL}/"), httpx2.MockTransport(manager.handle)) as client:
        yield client


def test_pages_are_followed_to_the_last(
    client: ManagerClient, manager: Any, make_view: Callable[..., Any]
) -> None:
    first, second = make_view(), make_view(build_id="greeter-1.1.0-2")
    manager.on(
        "GET /deployments",
        {"deployments": [first], "next": "1"},
        {"deployments": [second], "next": None},
    )
    assert client.fetch_deployments("greeter", State.ACTIVE) == (
        DeploymentView.model_validate(first),
        DeploymentView.model_validate(second),
    )
    assert manager.asked == [
        ("GET /deployments?name=greeter&state=active&limit=500", None),
        ("GET /deployments?name=greeter&state=active&cursor=1&limit=500", None),
    ]


def test_a_page_that_follows_itself_is_not_followed(
    client: ManagerClient, manager: Any, make_view: Callable[..., Any]
) -> None:
    manager.on("GET /deployments", {"deployments": [make_view()], "next": "1"})
    with pytest.raises(ManagerUnavailable) as caught:
        client.fetch_deployments()
    assert caught.value.reason == "it answers the same page again and again"


def test_requests_carry_only_what_is_asked_for(client: ManagerClient, manager: Any) -> None:
    manager.on("POST /prune", {"dry_run": False, "pruned": [], "kept": []})
    client.prune(PruneRequest())
    client.prune(PruneRequest(build_id="greeter-1.0.0-1", force=True))
    assert manager.asked == [
        ("POST /prune", {}),
        ("POST /prune", {"build_id": "greeter-1.0.0-1", "force": True}),
    ]


def test_a_build_id_stays_one_part_of_the_path(client: ManagerClient, manager: Any) -> None:
    manager.refuse("GET /deployments/a/b?c", 404, "build_not_found", "There is none.")
    with pytest.raises(ManagerRefused):
        client.fetch_deployment("a/b?c")
    assert manager.asked == [("GET /deployments/a%2Fb%3Fc", None)]


def test_a_problem_keeps_all_that_it_says(client: ManagerClient, manager: Any) -> None:
    manager.refuse(
        "POST /activate",
        422,
        "script_failed",
        "It does not load: x",
        build_id="greeter-1.0.0-1",
        step="discover",
    )
    request = ActivateRequest(source="file:///greeter", name="greeter", version="1.0.0")
    with pytest.raises(ManagerRefused) as caught:
        client.activate(request, timedelta(seconds=1), lambda _progress: None)
    assert caught.value.problem == Problem(
        title="script_failed",
        status=422,
        detail="It does not load: x",
        code="script_failed",
        build_id="greeter-1.0.0-1",
        step="discover",
    )
    assert str(caught.value) == "It does not load: x"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (httpx2.ConnectError("[Errno 111] Connection refused"), "Connection refused"),
        (httpx2.ReadTimeout("timed out"), "no answer in time"),
        (httpx2.RemoteProtocolError("Server disconnected"), "Server disconnected"),
        (httpx2.ReadError(""), "ReadError"),
    ],
)
def test_a_manager_that_does_not_answer(
    client: ManagerClient, manager: Any, failure: Exception, reason: str
) -> None:
    manager.on("GET /deployments", failure)
    with pytest.raises(ManagerUnavailable) as caught:
        client.fetch_deployments()
    assert (caught.value.url, caught.value.reason) == (URL, reason)


@pytest.mark.parametrize("url", ["nonsense", "ftp://manager.test", "http://[::"])
def test_a_url_that_is_none(url: str) -> None:
    with ManagerClient(Way(url)) as client, pytest.raises(ManagerUnavailable):
        client.fetch_deployments()


@pytest.mark.parametrize("status", [302, 404, 500])
def test_another_program_at_that_port(client: ManagerClient, manager: Any, status: int) -> None:
    manager.on("GET /deployments", "<html>", status=status, media_type="text/html; charset=utf-8")
    with pytest.raises(ManagerUnavailable) as caught:
        client.fetch_deployments()
    assert caught.value.reason == (f"HTTP {status} with no problem in it: another program may listen there")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<html>", "body: Invalid JSON: expected value at line 1 column 1"),
        ({"deployments": []}, "next: Field required"),
    ],
)
def test_an_answer_of_another_form(client: ManagerClient, manager: Any, body: Any, problem: str) -> None:
    manager.on("GET /deployments", body)
    with pytest.raises(ManagerUnavailable) as caught:
        client.fetch_deployments()
    assert caught.value.reason == (
        f"its answer to /deployments is not understood; of another version? {problem}"
    )


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_read_whatever_it_is(
    client: ManagerClient, manager: Any, *, ready: bool, status: int
) -> None:
    since = "2026-11-01T12:00:00Z"
    state = {"ready": ready, "reason": "" if ready else "no answer", "since": since}
    component = {**state, "name": "cells", "required": True, "age_seconds": 0.5}
    health = {**state, "components": [component]}
    manager.on("GET /health/ready", health, status=status)
    assert client.fetch_health() == Health.model_validate(health)


def test_readiness_of_another_program(client: ManagerClient, manager: Any) -> None:
    manager.on("GET /health/ready", "Service Unavailable", status=503, media_type="text/plain")
    with pytest.raises(ManagerUnavailable):
        client.fetch_health()
