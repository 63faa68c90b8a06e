from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from gridiron.cli.edge import failures_in
from gridiron.cli.main import MODULES
from gridiron.errors import BuildNotFound, PortTaken

Run = Callable[..., Result]


def shown(result: Result) -> tuple[int, str, str]:
    return result.exit_code, result.stdout, result.stderr


def test_a_problem_is_one_line_on_standard_error(run: Run, manager: Any) -> None:
    manager.refuse("GET /deployments/x", 404, "build_not_found", "There is no build x.")
    assert shown(run("show", "x")) == (1, "", "error: There is no build x.  [build_not_found]\n")


def test_with_json_the_problem_is_an_object_on_standard_output_too(run: Run, manager: Any) -> None:
    manager.refuse("GET /deployments/x", 404, "build_not_found", "There is no build x.", build_id="x")
    result = run("show", "x", "--json")
    assert (result.exit_code, result.stderr) == (1, "error: There is no build x.  [build_not_found]\n")
    assert json.loads(result.stdout) == {
        "type": "about:blank",
        "title": "build_not_found",
        "status": 404,
        "detail": "There is no build x.",
        "code": "build_not_found",
        "build_id": "x",
    }


def test_a_failure_of_this_process_has_no_http_status(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", "<html>", status=404, media_type="text/html")
    sentence = (
        "The manager does not answer at http://manager.test (HTTP 404 with no problem in it: another program "
        "may listen there). Start a node with `gridiron up`."
    )
    result = run("ls", "--json")
    assert (result.exit_code, result.stderr) == (1, f"error: {sentence}  [manager_unavailable]\n")
    assert json.loads(result.stdout) == {
        "title": "Manager unavailable",
        "detail": sentence,
        "code": "manager_unavailable",
    }


def test_further_lines_of_a_sentence_follow_its_code(run: Run, manager: Any) -> None:
    manager.refuse("GET /deployments", 422, "script_failed", "It does not load:\n  at index.js:1\n")
    assert shown(run("ls")) == (1, "", "error: It does not load:  [script_failed]\n  at index.js:1\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("lss",), "No such command 'lss'. Did you mean 'ls'? Try `gridiron --help`."),
        (("show",), "Missing argument 'BUILD_ID'. Try `gridiron show --help`."),
        (("ls", "--follow"), "No such option: --follow. Try `gridiron ls --help`."),
        (
            ("ls", "--state", "done"),
            (
                "Invalid value for --state: 'done' is none of staged, active, draining, drained, retired, "
                "failed, unknown. Try `gridiron ls --help`."
            ),
        ),
    ],
)
def test_a_wrong_call_is_told_with_where_to_look(run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    assert shown(run(*arguments)) == (2, "", f"error: {sentence}  [usage]\n")


def test_no_arguments_are_a_call_for_help(run: Run) -> None:
    assert shown(run()) == shown(run("--help"))
    assert run().stdout.strip().startswith("Usage: gridiron [OPTIONS] COMMAND [ARGS]...")


def test_a_wrong_call_with_json_is_an_object_too(run: Run) -> None:
    result = run("ls", "--follow", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (
        2,
        {
            "title": "Usage",
            "detail": "No such option: --follow. Try `gridiron ls --help`.",
            "code": "usage",
        },
    )


def test_ctrl_c_ends_quietly(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", KeyboardInterrupt())
    assert shown(run("ls")) == (130, "", "")


def test_a_reader_that_has_seen_enough_is_no_failure_to_tell(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", BrokenPipeError(32, "Broken pipe"))
    assert shown(run("ls")) == (1, "", "")


def test_a_fault_shows_its_traceback(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", ZeroDivisionError("a fault"))
    result = run("ls")
    assert (result.exit_code, result.stdout) == (70, "")
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert result.stderr.endswith("ZeroDivisionError: a fault\n")


def test_a_setting_that_cannot_be_used_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDIRON_CELLS", "many")
    result = run("ls")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: cells: ")
    assert result.stderr.endswith("  [settings_invalid]\n")


def test_a_group_of_failures_is_taken_apart() -> None:
    taken, missing = PortTaken(8081, "manager", "MANAGER_PORT"), BuildNotFound("x")
    group = ExceptionGroup("tasks", [taken, ExceptionGroup("inner", [missing])])
    assert list(failures_in(group)) == [taken, missing]


def test_a_group_with_a_fault_in_it_is_a_fault() -> None:
    assert not failures_in(ExceptionGroup("tasks", [BuildNotFound("x"), ValueError("a fault")]))


def test_each_verb_that_there_is_explains_itself(run: Run) -> None:
    helps = {verb: run(verb, "--help") for verb in MODULES}
    assert {verb: result.exit_code for verb, result in helps.items()} == dict.fromkeys(MODULES, 0)
    assert all(f"gridiron {verb}" in result.stdout for verb, result in helps.items())
