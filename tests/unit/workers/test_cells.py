from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers.cells import LoadedBuild, Problem, parse_builds, parse_problem

PROBLEM = {"content-type": "application/problem+json"}
URL = "http://localhost:9080"


def test_builds() -> None:
    answer = {"builds": [{"path": "/a/1-1", "in_flight": 2}, {"path": "/b/1-2", "in_flight": 0}]}
    assert parse_builds("cell-1", answer) == (LoadedBuild("/a/1-1", 2), LoadedBuild("/b/1-2", 0))


@pytest.mark.parametrize(
    "answer", [{}, {"builds": None}, {"builds": [{}]}, {"builds": [{"path": "/a/1-1", "in_flight": "x"}]}]
)
def test_what_is_no_list_of_builds_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(WorkersUnavailable, match="cell-1"):
        parse_builds("cell-1", answer)


def test_a_problem() -> None:
    body = {"type": "about:blank", "title": "t", "status": 502, "code": "script_failed", "detail": "why"}
    response = httpx2.Response(502, headers=PROBLEM, json=body)
    assert parse_problem(URL, response) == Problem(502, "script_failed", "why")


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, json={"services": []}),
        httpx2.Response(500, text="Internal Server Error"),
        # a build may answer with problems of its own
        httpx2.Response(400, headers=PROBLEM, json={"code": "script_failed", "detail": "x"}),
        httpx2.Response(502, headers=PROBLEM, json={"code": "other", "detail": "x"}),
        httpx2.Response(502, headers=PROBLEM, json=["script_failed"]),
    ],
)
def test_a_builds_own_answer_is_no_problem(response: httpx2.Response) -> None:
    assert parse_problem(URL, response) is None


def test_an_answer_of_haproxy_is_no_answer() -> None:
    with pytest.raises(WorkersUnavailable, match="HTTP 503"):
        parse_problem(URL, httpx2.Response(503, html="<h1>503 Service Unavailable</h1>"))
