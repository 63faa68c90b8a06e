from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from tests.unit.cli.conftest import FakeManager
from tests.unit.cli.test_verb_deploy import ANSWER

Run = Callable[..., Result]


def test_a_rollback_says_what_is_active_now(manager: FakeManager, run: Run) -> None:
    manager.on("POST /rollback", ANSWER, status=201)
    result = run("rollback", "greeter")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"{ANSWER['build_id']} is active."
    assert manager.asked == [("POST /rollback", {"name": "greeter"})]


def test_a_rollback_to_a_build_as_json(manager: FakeManager, run: Run) -> None:
    manager.on("POST /rollback", ANSWER, status=201)
    result = run("rollback", "greeter", "greeter-1.0.0-1", "--json")
    printed: dict[str, Any] = json.loads(result.stdout)
    assert printed["build_id"] == ANSWER["build_id"]
    assert manager.asked == [("POST /rollback", {"name": "greeter", "build_id": "greeter-1.0.0-1"})]


def test_a_rollback_that_is_refused_fails(manager: FakeManager, run: Run) -> None:
    manager.refuse("POST /rollback", 409, "nothing_to_roll_back_to", "greeter has no earlier build.")
    result = run("rollback", "greeter")
    assert result.exit_code == 1
    assert "greeter has no earlier build.  [nothing_to_roll_back_to]" in result.stderr
