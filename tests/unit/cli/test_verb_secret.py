from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from tests.unit.cli.conftest import FakeManager
from tests.unit.cli.test_verb_deploy import ANSWER

Run = Callable[..., Result]

PUT = "PUT /secrets/greeter/API_KEY"
DELETE = "DELETE /secrets/greeter/API_KEY"


def changed(**overrides: Any) -> dict[str, Any]:
    answer = {"name": "greeter", "key": "API_KEY", "changed": True, "activated": None, "missing": []}
    return {**answer, **overrides}


def test_a_new_build_is_told(manager: FakeManager, run: Run) -> None:
    manager.on(PUT, changed(activated=ANSWER))
    result = run("secret", "put", "greeter", "API_KEY", typed="hunter2\n")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == ["API_KEY of greeter is set.", f"{ANSWER['build_id']} is active."]
    assert manager.asked == [(PUT, {"value": "hunter2"})]
    assert "hunter2" not in result.output


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        (" a \n", " a "),
        ("a\nb\n", "a\nb"),
        ("\n\n", "\n"),
        ("a\r", "a\r"),
        ("grüße 𝄞\n", "grüße 𝄞"),
        ("a" * 65_536 + "\r\n", "a" * 65_536),
    ],
)
def test_one_line_end_is_taken_away(manager: FakeManager, run: Run, typed: str, value: str) -> None:
    manager.on(PUT, changed())
    assert run("secret", "put", "greeter", "API_KEY", typed=typed).exit_code == 0
    assert manager.asked == [(PUT, {"value": value})]


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "secret_invalid"),
        ("\n", "secret_invalid"),
        (b"a\xff", "secret_invalid"),
        ("hunter2" * 10_000, "secret_too_large"),
        ("a" * 65_537, "secret_too_large"),
        ("ü" * 40_000, "secret_too_large"),
    ],
)
def test_what_cannot_be_a_value_is_not_sent(manager: FakeManager, run: Run, typed: Any, code: str) -> None:
    result = run("secret", "put", "greeter", "API_KEY", typed=typed)
    assert (result.exit_code, manager.asked) == (1, [])
    assert result.stderr.endswith(f"[{code}]\n")
    assert "hunter2" not in result.output


@pytest.mark.parametrize("verb", ["put", "delete"])
def test_a_value_in_the_place_of_the_key_is_neither_sent_nor_shown(
    manager: FakeManager, run: Run, verb: str
) -> None:
    result = run("secret", verb, "greeter", "API_KEY=hunter2", typed="a")
    assert (result.exit_code, manager.asked) == (1, [])
    assert result.stderr.endswith("the value goes to standard input.  [secret_invalid]\n")
    assert "hunter2" not in result.output


def test_a_terminal_is_asked_and_shows_nothing(manager: FakeManager, run: Run) -> None:
    manager.on(PUT, changed())
    result = run("secret", "put", "greeter", "API_KEY", types=True, typed="hunter2\n")
    assert result.exit_code == 0
    assert result.stderr.startswith("API_KEY, which is not shown:")
    assert "hunter2" not in result.output
    assert manager.asked == [(PUT, {"value": "hunter2"})]


OUTCOMES: dict[str, tuple[dict[str, Any], str]] = {
    "no build": ({}, "API_KEY of greeter is set. No active build had to be made anew."),
    "the same": ({"changed": False}, "API_KEY of greeter has this value already: nothing was changed."),
    "missing": (
        {"missing": ["B", "C"]},
        "API_KEY of greeter is set. No new build was made: the active one's code also requires B, C.",
    ),
    "finished": (
        {"changed": False, "activated": ANSWER},
        "API_KEY of greeter had this value, and the active build had not.",
    ),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_became_of_it(manager: FakeManager, run: Run, outcome: str) -> None:
    answer, said = OUTCOMES[outcome]
    manager.on(PUT, changed(**answer))
    assert run("secret", "put", "greeter", "API_KEY", typed="a").stdout.splitlines()[0] == said


def test_json_is_what_the_manager_says(manager: FakeManager, run: Run) -> None:
    manager.on(PUT, changed(activated=ANSWER))
    result = run("secret", "put", "greeter", "API_KEY", "--json", typed="a")
    assert json.loads(result.stdout) == changed(activated=ANSWER)
    manager.on(DELETE, changed())
    result = run("secret", "delete", "greeter", "API_KEY", "-y", "--json")
    assert json.loads(result.stdout) == changed()


def test_a_new_build_that_fails_is_told_with_its_step(manager: FakeManager, run: Run) -> None:
    manager.refuse(PUT, 422, "script_failed", "The bundle does not load: no", step="discover")
    result = run("secret", "put", "greeter", "API_KEY", typed="a")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "error: The activation failed at 'discover'. The bundle does not load: no  [script_failed]\n"
    )


def test_the_list(manager: FakeManager, run: Run) -> None:
    listed = [
        {"key": "API_KEY", "set_at": "2026-11-01T11:00:00Z"},
        {"key": "B", "set_at": "2026-10-30T12:00:00Z"},
    ]
    manager.on("GET /secrets/greeter", {"name": "greeter", "secrets": listed})
    result = run("secret", "list", "greeter")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["KEY", "API_KEY", "B"]
    assert "1h" in result.stdout
    as_json = json.loads(run("secret", "list", "greeter", "--json").stdout)
    assert as_json == {"name": "greeter", "secrets": listed}


def test_a_name_without_secrets(manager: FakeManager, run: Run) -> None:
    manager.on("GET /secrets/greeter", {"name": "greeter", "secrets": []})
    assert run("secret", "list", "greeter").stdout == (
        "greeter has no secrets. `gridiron secret put greeter KEY` sets one.\n"
    )


def test_a_removal_is_asked_about(manager: FakeManager, run: Run) -> None:
    manager.on(DELETE, changed(activated=ANSWER))
    result = run("secret", "delete", "greeter", "API_KEY", can_ask=True, typed="y\n")
    assert result.exit_code == 0
    assert "Remove API_KEY of greeter? [y/N]: " in result.output
    assert "API_KEY of greeter is removed." in result.stdout
    assert manager.asked == [(DELETE, None)]


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_whoever_says_no_keeps_it(manager: FakeManager, run: Run, typed: str) -> None:
    result = run("secret", "delete", "greeter", "API_KEY", can_ask=True, typed=typed)
    assert (result.exit_code, manager.asked) == (1, [])
    assert result.stderr.endswith("Nothing was removed.\n")


def test_without_a_terminal_yes_has_to_be_said(manager: FakeManager, run: Run) -> None:
    result = run("secret", "delete", "greeter", "API_KEY")
    assert (result.exit_code, manager.asked) == (2, [])
    manager.on(DELETE, changed())
    assert run("secret", "delete", "greeter", "API_KEY", "-y").exit_code == 0


def test_a_secret_that_there_is_not(manager: FakeManager, run: Run) -> None:
    manager.refuse(DELETE, 404, "secret_not_found", "greeter has no secret API_KEY.")
    result = run("secret", "delete", "greeter", "API_KEY", "-y")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: greeter has no secret API_KEY.  [secret_not_found]\n",
    )


def test_show_names_the_secrets(manager: FakeManager, run: Run, make_view: Callable[..., Any]) -> None:
    manager.on("GET /deployments/greeter-1.0.0-1", make_view(secrets=["API_KEY", "B"]))
    lines = run("show", "greeter-1.0.0-1").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("secrets")] == ["API_KEY, B"]
