from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import Result

from gridiron.cli import logs as verb
from gridiron.cli.log_lines import render_log_event
from gridiron.workers.logs import LogEvent

Run = Callable[..., Result]
Make = Callable[..., dict[str, Any]]

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
BUILD = "greeter-1.0.0-1"
LOG = f"GET /deployments/{BUILD}/logs"


def make_event(**overrides: Any) -> dict[str, Any]:
    return {
        "time": "2026-11-01T11:59:58.123000Z",
        "kind": "log",
        "level": "warn",
        "message": "careful",
        "build_id": BUILD,
        "cell": "cell-1",
        "handler": "greeter/greet",
        "invocation_id": "inv_1",
        "outcome": None,
        "duration_ms": None,
        **overrides,
    }


def outcome(name: str, message: str = "") -> dict[str, Any]:
    return make_event(kind="outcome", level="info", outcome=name, duration_ms=12.4, message=message)


def sent(*events: dict[str, Any], end: bool = True) -> str:
    """What the manager sends to one who follows."""
    lines = "".join(f":\n\ndata: {json.dumps(event)}\n\n" for event in events)
    over = json.dumps({"build_id": BUILD, "reason": f"{BUILD} is retired."})
    return f"{lines}event: end\ndata: {over}\n\n" if end else lines


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (make_event(), "11:59:58.123  warn       greeter/greet  careful"),
        (make_event(handler=None, message="a\nb"), "11:59:58.123  warn       a\n    b"),
        (
            make_event(message="[restate][2026-11-01T11:59:58Z][greeter/greet][inv_1] WARN: it failed"),
            "11:59:58.123  warn       greeter/greet  it failed",
        ),
        (
            make_event(time="2026-10-31T23:59:59Z"),
            "2026-10-31 23:59:59.000  warn       greeter/greet  careful",
        ),
        (outcome("ok"), "11:59:58.123  ok         greeter/greet  12 ms"),
        (outcome("failed", "no luck"), "11:59:58.123  failed     greeter/greet  12 ms: no luck  (inv_1)"),
        (
            make_event(kind="exception", level="error", message="Error: no"),
            "11:59:58.123  exception  greeter/greet  Error: no  (inv_1)",
        ),
        (make_event(node="n2"), "11:59:58.123  warn       n2  greeter/greet  careful"),
        (make_event(kind="gap", handler=None, message="left out"), "11:59:58.123  gap        left out"),
    ],
)
def test_events_are_lines(event: dict[str, Any], line: str) -> None:
    assert render_log_event(LogEvent.model_validate(event), NOW, coloured=False) == line


def test_a_line_of_several_builds_names_its_own_and_the_word_has_a_colour_on_a_terminal() -> None:
    event = LogEvent.model_validate(outcome("ok"))
    assert render_log_event(event, NOW, coloured=True, with_build=True) == (
        f"11:59:58.123  \x1b[32mok       \x1b[0m  {BUILD}  greeter/greet  12 ms"
    )


def test_a_build(run: Run, manager: Any, make_view: Make) -> None:
    manager.on(f"GET /deployments/{BUILD}", make_view())
    manager.on(LOG, {"events": [make_event(), outcome("ok")], "silent": ["cell-2"]})
    result = run("logs", BUILD)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["11:59:58.123  warn       greeter/greet  careful", "11:59:58.123  ok         greeter/greet  12 ms"],
    )
    assert result.stderr == "warning: cell-2 does not answer: what was printed there last may be missing.\n"


def test_a_name_stands_for_its_active_builds_in_the_order_of_their_times(
    run: Run, manager: Any, make_view: Make
) -> None:
    other = "greeter-1.1.0-2"
    views = [
        make_view(),
        make_view(build_id=other),
        make_view(build_id="greeter-0.9.0-0", state="draining"),
    ]
    manager.on("GET /deployments", {"deployments": views, "next": None})
    late, early = (
        make_event(message="late"),
        make_event(message="early", time="2026-11-01T11:00:00Z", build_id=other),
    )
    manager.on(LOG, {"events": [late], "silent": []})
    manager.on(f"GET /deployments/{other}/logs", {"events": [early], "silent": []})
    assert [line.split()[-1] for line in run("logs", "greeter").stdout.splitlines()] == ["early", "late"]
    printed = [json.loads(line) for line in run("logs", "greeter", "--json").stdout.splitlines()]
    assert [(each["build_id"], each["message"]) for each in printed] == [(other, "early"), (BUILD, "late")]


def test_what_is_shown_can_be_chosen(run: Run, manager: Any, make_view: Make) -> None:
    manager.on("GET /deployments", {"deployments": [make_view()], "next": None})
    manager.on(LOG, {"events": [make_event(message=str(n)) for n in range(3)], "silent": []})
    result = run("logs", "greeter", "--level", "warn", "--since", "2026-11-01T11:00", "-n", "2")
    assert [line.split()[-1] for line in result.stdout.splitlines()] == ["1", "2"]
    query = "level=warn&since=2026-11-01T11%3A00%3A00%2B00%3A00&limit=2"
    assert manager.asked[-1] == (f"{LOG}?{query}", None)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (None, None),
        ("90s", NOW - timedelta(seconds=90)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-10-31", datetime(2026, 10, 31, tzinfo=UTC)),
        ("2026-10-31T12:00:30+02:00", datetime(2026, 10, 31, 10, 0, 30, tzinfo=UTC)),
    ],
)
def test_since_when(text: str | None, time: datetime | None) -> None:
    assert verb.parse_since(text, NOW) == time


@pytest.mark.parametrize("text", ["", "yesterday", "10", "-1h", "2026-13-01"])
def test_what_is_no_time_is_refused(run: Run, text: str) -> None:
    result = run("logs", "greeter", f"--since={text}")
    assert (result.exit_code, "is no time" in result.stderr) == (2, True)


def test_what_looks_like_a_build_may_be_a_name(run: Run, manager: Any, make_view: Make) -> None:
    manager.refuse("GET /deployments/a-b-1", 404, "build_not_found", "none")
    manager.on("GET /deployments", {"deployments": [make_view()], "next": None})
    manager.on(LOG, {"events": [make_event()], "silent": []})
    assert run("logs", "a-b-1").exit_code == 0
    assert ("GET /deployments?name=a-b-1&limit=500", None) in manager.asked


def test_what_is_neither_build_nor_name(run: Run, manager: Any) -> None:
    manager.on("GET /deployments", {"deployments": [], "next": None})
    result = run("logs", "ghost")
    assert (result.exit_code, result.stdout, result.stderr.split()[-1]) == (1, "", "[build_not_found]")


def test_a_build_is_followed_to_its_end(run: Run, manager: Any, make_view: Make) -> None:
    manager.on(f"GET /deployments/{BUILD}", make_view())
    manager.on(LOG, sent(make_event(), outcome("ok")), media_type="text/event-stream")
    result = run("logs", BUILD, "-f")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert manager.asked[-1] == (f"GET /deployments/{BUILD}/logs?follow=true", None)


def test_a_stream_that_breaks_off_is_a_failure(run: Run, manager: Any, make_view: Make) -> None:
    manager.on(f"GET /deployments/{BUILD}", make_view())
    manager.on(LOG, sent(make_event(), end=False), media_type="text/event-stream")
    result = run("logs", BUILD, "-f")
    assert (result.exit_code, len(result.stdout.splitlines())) == (1, 1)
    assert result.stderr.split()[-1] == "[manager_unavailable]"


def test_who_follows_a_name_survives_the_end_of_its_builds(
    run: Run, manager: Any, make_view: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "LOOK_SECONDS", 0.01)
    other = "greeter-1.1.0-2"
    gone = make_view(build_id="greeter-0.9.0-0", state="draining")
    pages = [[make_view(), gone], [make_view(build_id=other)]]
    manager.on("GET /deployments", *({"deployments": page, "next": None} for page in pages))
    manager.on(LOG, sent(make_event(message="first")), media_type="text/event-stream")
    manager.refuse("GET /deployments/greeter-0.9.0-0/logs", 404, "build_not_found", "gone meanwhile")
    manager.on(f"GET /deployments/{other}/logs", sent(make_event(message="second"), end=False))
    result = run("logs", "greeter", "-f")
    printed = [line.split()[-1] for line in result.stdout.splitlines()]
    assert (result.exit_code, sorted(printed)) == (1, ["first", "second"])
    assert result.stderr.split()[-1] == "[manager_unavailable]"  # of the stream that broke off
