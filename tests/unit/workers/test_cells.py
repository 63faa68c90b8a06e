from __future__ import annotations

from typing import Any

import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers.cells import LoadedBuild, Problem, ProblemAnswer, parse_builds, parse_problem


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
    problem = Problem(502, "script_failed", "why")
    assert parse_problem("cell-1", {"known": True, "problem": body}) == ProblemAnswer(True, problem)
    assert parse_problem("cell-1", {"known": False, "problem": None}) == ProblemAnswer(False, None)


@pytest.mark.parametrize(
    "answer", [{}, {"known": True}, {"problem": None}, {"known": True, "problem": {}}, {"problem": "x"}]
)
def test_what_is_no_answer_about_a_problem_is_not_taken_for_none(answer: dict[str, Any]) -> None:
    with pytest.raises(WorkersUnavailable, match="cell-1"):
        parse_problem("cell-1", answer)
