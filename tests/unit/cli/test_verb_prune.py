from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]

GONE = {"build_id": "greeter-1.0.0-1", "unregistered": True, "files_removed": True}
LEFT = {"build_id": "greeter-1.1.0-2", "unregistered": True, "files_removed": False}
OLD = {"build_id": "greeter-0.9.0-0", "unregistered": False, "files_removed": True}
KEPT = {"build_id": "counter-1.0.0-3", "state": "draining", "reason": "1 invocation is pinned to it"}


def outcome(*pruned: Any, kept: tuple[Any, ...] = (), dry_run: bool = False) -> dict[str, Any]:
    return {"dry_run": dry_run, "pruned": list(pruned), "kept": list(kept)}


def test_what_went_and_what_stayed(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome(GONE, LEFT, OLD, kept=(KEPT,)))
    result = run("prune")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "greeter-1.0.0-1  removed  registration and files",
        "greeter-1.1.0-2  removed  registration; its files stay for a rollback",
        "greeter-0.9.0-0  removed  files",
        "counter-1.0.0-3  kept     draining: 1 invocation is pinned to it",
    ]
    assert manager.asked == [("POST /prune", {})]


def test_nothing_to_do(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome())
    assert run("prune").stdout == "Nothing is drained; nothing was removed.\n"


def test_a_dry_run_asks_nothing(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome(GONE, dry_run=True))
    result = run("prune", "--dry-run", can_ask=True)
    assert result.stdout == "greeter-1.0.0-1  would go  registration and files\n"
    assert manager.asked == [("POST /prune", {"dry_run": True})]


def test_json_is_what_the_manager_says(run: Run, manager: Any) -> None:
    answer = outcome(GONE, kept=(KEPT,))
    manager.on("POST /prune", answer)
    assert json.loads(run("prune", "--json").stdout) == answer


def test_a_terminal_is_asked(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome(GONE, dry_run=True), outcome(GONE))
    result = run("prune", can_ask=True, typed="y\n")
    assert result.exit_code == 0
    assert manager.asked == [("POST /prune", {"dry_run": True}), ("POST /prune", {})]
    assert result.stdout.splitlines()[0] == "greeter-1.0.0-1  would go  registration and files"
    assert result.stdout.splitlines()[-1] == "greeter-1.0.0-1  removed  registration and files"
    assert "Remove 1 build? [y/N]: " in result.output


@pytest.mark.parametrize("typed", ["n\n", "\n"])
def test_whoever_says_no_keeps_everything(run: Run, manager: Any, typed: str) -> None:
    manager.on("POST /prune", outcome(GONE, LEFT, dry_run=True))
    result = run("prune", can_ask=True, typed=typed)
    assert result.exit_code == 1
    assert result.stderr.endswith("Nothing was removed.\n")
    assert manager.asked == [("POST /prune", {"dry_run": True})]


def test_a_terminal_is_not_asked_about_nothing(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome(dry_run=True))
    result = run("prune", can_ask=True)
    assert (result.exit_code, result.stdout) == (0, "Nothing is drained; nothing was removed.\n")
    assert len(manager.asked) == 1


def test_yes_skips_the_question(run: Run, manager: Any) -> None:
    manager.on("POST /prune", outcome(GONE))
    assert run("prune", "greeter-1.0.0-1", "--force", "-y", can_ask=True).exit_code == 0
    assert manager.asked == [("POST /prune", {"build_id": "greeter-1.0.0-1", "force": True})]


def test_force_without_a_terminal_needs_yes(run: Run, manager: Any) -> None:
    result = run("prune", "greeter-1.0.0-1", "--force")
    assert (result.exit_code, result.stderr) == (
        2,
        (
            "error: Invalid value for --force: needs -y where no terminal can be asked. "
            "Try `gridiron prune --help`.  [usage]\n"
        ),
    )
    assert not manager.asked


def test_force_needs_a_build(run: Run, manager: Any) -> None:
    result = run("prune", "--force", "-y")
    assert (result.exit_code, result.stderr) == (
        2,
        (
            "error: Invalid value for --force: needs a BUILD_ID: what is drained goes without force. "
            "Try `gridiron prune --help`.  [usage]\n"
        ),
    )
    assert not manager.asked


def test_a_build_in_use_is_a_failure(run: Run, manager: Any) -> None:
    detail = "greeter-1.0.0-1 is draining: 2 invocations are pinned to it."
    manager.refuse("POST /prune", 409, "build_in_use", detail, build_id="greeter-1.0.0-1", invocations=2)
    result = run("prune", "greeter-1.0.0-1", "--json")
    assert (result.exit_code, result.stderr) == (1, f"error: {detail}  [build_in_use]\n")
    assert json.loads(result.stdout)["invocations"] == 2


@pytest.mark.parametrize(
    ("state", "code", "sentence"),
    [
        (
            "draining",
            "build_in_use",
            "counter-1.0.0-3 is draining: because. Wait until it is drained, or force its removal.",
        ),
        (
            "unknown",
            "drain_unknown",
            "What counter-1.0.0-3 still has to do is unknown (because). Nothing was removed; try again.",
        ),
    ],
)
def test_the_one_build_that_was_needed_again_meanwhile_is_a_failure(
    run: Run, manager: Any, state: str, code: str, sentence: str
) -> None:
    manager.on("POST /prune", outcome(kept=({**KEPT, "state": state, "reason": "because"},)))
    result = run("prune", "counter-1.0.0-3")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"error: {sentence}  [{code}]\n")
