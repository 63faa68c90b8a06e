from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]
INVOCATION = {"x-restate-error-source": "invocation"}


@pytest.fixture(autouse=True)
def _ingress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDIRON_INGRESS_URL", "http://ingress.test")


def test_a_text_is_printed_as_it_is(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/greet", json.dumps("Hello, Ada"))
    result = run("call", "greeter", "greet", '"Ada"')
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hello, Ada\n", "")
    assert manager.asked == [("POST /greeter/greet", "Ada")]


def test_anything_else_is_printed_as_json(run: Run, manager: Any) -> None:
    manager.on("POST /counter/visits/add", {"count": 2})
    assert run("call", "counter/visits", "add", "2").stdout == '{\n  "count": 2\n}\n'
    assert manager.asked == [("POST /counter/visits/add", 2)]


def test_with_json_a_text_has_its_quotes(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/greet", json.dumps("Hello"))
    assert run("call", "greeter", "greet", "--json").stdout == '"Hello"\n'


def test_no_result_prints_nothing(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/reset", "")
    assert run("call", "greeter", "reset").stdout == ""
    assert run("call", "greeter", "reset", "--json").stdout == "null\n"


def test_a_key_may_hold_anything(run: Run, manager: Any) -> None:
    manager.on("POST /counter/a/b c/add", "1")
    assert run("call", "counter/a/b c", "add", "-2").stdout == "1\n"
    assert manager.asked == [("POST /counter/a%2Fb%20c/add", -2)]


def test_the_argument_may_come_from_standard_input(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/greet", "1")
    assert run("call", "greeter", "greet", "-", typed='{"name": "Ada"}\n').exit_code == 0
    assert manager.asked == [("POST /greeter/greet", {"name": "Ada"})]


def test_send_prints_the_invocation(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/greet/send", {"invocationId": "inv_1", "status": "Accepted"}, status=202)
    assert run("call", "greeter", "greet", "--send").stdout == "inv_1\n"
    assert json.loads(run("call", "greeter", "greet", "--send", "--json").stdout) == {
        "invocation_id": "inv_1"
    }


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("Ada", "Expecting value: line 1 column 1 (char 0)"),
        ('{"a": 1', "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        ("NaN", "NaN is no JSON number"),
    ],
)
def test_an_argument_that_is_no_json(run: Run, manager: Any, argument: str, why: str) -> None:
    result = run("call", "greeter", "greet", argument)
    assert (result.exit_code, result.stdout, result.stderr) == (
        2,
        "",
        (
            f"error: Invalid value for JSON: {argument!r} is not JSON ({why}). A text needs its quotes: "
            "'\"Ada\"'. Try `gridiron call --help`.  [usage]\n"
        ),
    )
    assert not manager.asked


@pytest.mark.parametrize("target", ["", "/key", "counter/"])
def test_a_target_that_is_none(run: Run, target: str) -> None:
    result = run("call", target, "add")
    assert (result.exit_code, result.stderr) == (
        2,
        (
            f"error: Invalid value for SERVICE[/KEY]: {target!r} is not SERVICE or SERVICE/KEY. "
            "Try `gridiron call --help`.  [usage]\n"
        ),
    )


def test_a_mistyped_option_is_not_an_argument(run: Run, manager: Any) -> None:
    assert run("call", "greeter", "greet", "1", "--sned").exit_code == 2
    assert run("call", "greeter", "greet", "--sned").exit_code == 2
    assert not manager.asked


def test_the_error_of_a_handler_is_told(run: Run, manager: Any) -> None:
    manager.on("POST /greeter/greet", {"message": "no such name"}, status=409, headers=INVOCATION)
    result = run("call", "greeter", "greet")
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "error: The invocation failed (call greeter/greet, HTTP 409): no such name  [invocation_failed]\n",
    )
