from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from structlog.contextvars import merge_contextvars as merge
from structlog.testing import capture_logs

from gridiron.manager.http.request_ids import choose_request_id
from tests.unit.manager.conftest import Manager


@pytest.fixture
async def client(manager: Manager) -> AsyncIterator[httpx2.AsyncClient]:
    async with manager.serve() as client:
        yield client


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "Root-1_2.3", "x" * 64])
def test_a_sane_id_is_taken(given: str) -> None:
    assert choose_request_id(given) == given


@pytest.mark.parametrize("given", ["", "-a", "a b", "a\n", 'a"', "é", "x" * 65])
def test_any_other_is_replaced(given: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", choose_request_id(given))


async def test_the_answer_has_the_id(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/health/live", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    made = {(await client.get("/health/live")).headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3


@pytest.mark.parametrize(
    ("path", "status"), [("/nothing", 404), ("/deployments/ghost", 404), ("/deployments?limit=x", 422)]
)
async def test_a_problem_has_the_id(client: httpx2.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers.get_list("x-request-id")) == (status, ["mine"])
    assert answer.json()["request_id"] == "mine"


async def test_a_crash_has_the_id(
    client: httpx2.AsyncClient, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(manager.deployments, "fetch_page", fail)
    with capture_logs(processors=[merge]) as logged:
        answer = await client.get("/deployments", headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.headers.get_list("x-request-id")) == (500, ["mine"])
    assert answer.json()["request_id"] == "mine"
    assert [(each["event"], each["request_id"]) for each in logged] == [("request.crashed", "mine")]


async def test_what_a_request_does_is_logged_with_its_id_and_its_build(
    client: httpx2.AsyncClient, manager: Manager
) -> None:
    body = {"source": manager.bundle("// offers demo"), "name": "demo", "version": "1"}
    with capture_logs(processors=[merge]) as logged:
        answer = await client.post("/activate", json=body, headers={"x-request-id": "mine"})
    build_id = answer.json()["build_id"]
    about = [(each["event"], each["request_id"], each["build_id"]) for each in logged]
    assert about == [("build.activated", "mine", build_id)]
