"""What the processes of a node log, and that docs/logs.md knows it."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from gridiron.process.events import (
    FOREIGN,
    configure_logging,
    is_event,
    render_foreign,
    resolve_format,
)
from gridiron.settings import load_settings

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "exception"}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers.clear()


def configure(stream: io.StringIO, log_format: str = "json", **more: str) -> Any:
    configure_logging("manager", load_settings(log_format=log_format, **more), stream)
    return structlog.get_logger()


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read what was logged; each has a time, which is left out."""
    assert all(is_event(line) for line in stream.getvalue().splitlines())
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", event.pop("time")) for event in found)
    return found


def test_an_event_is_a_line_of_json_with_what_is_bound(stream: io.StringIO) -> None:
    log = configure(stream)
    with structlog.contextvars.bound_contextvars(request_id="r"):
        log.info("build.activated", build_id="b", path=Path("/x"))
    assert events(stream) == [
        {
            "role": "manager",
            "level": "info",
            "request_id": "r",
            "build_id": "b",
            "path": "/x",
            "event": "build.activated",
        }
    ]


def test_an_event_is_a_line_for_people(stream: io.StringIO) -> None:
    configure(stream, "text").warning("build.damaged", build_id="b")
    assert re.sub(r"^\S+ ", "", stream.getvalue()) == "[warning  ] build.damaged build_id=b\n"


def test_a_crash_shows_its_traceback_and_no_values(stream: io.StringIO) -> None:
    log = configure(stream)
    secret = "hunter2"  # noqa: S105 - it is to show nowhere
    try:
        int(f"{secret!r:.0}")
    except ValueError:
        log.exception("request.crashed")
    (event,) = events(stream)
    assert event["exception"].startswith("Traceback (most recent call last):")
    assert "hunter2" not in event["exception"].replace('secret = "hunter2"', "")


def test_only_what_is_grave_enough_is_logged(stream: io.StringIO) -> None:
    log = configure(stream, log_level="warning")
    log.info("build.activated")
    log.warning("build.damaged")
    assert [event["event"] for event in events(stream)] == ["build.damaged"]


def test_what_a_library_logs_is_an_event(stream: io.StringIO) -> None:
    configure(stream)
    logging.getLogger("uvicorn.error").warning("no %s", "luck")
    logging.getLogger("uvicorn.error").info("nobody needs that")
    assert events(stream) == [
        {
            "role": "manager",
            "level": "warning",
            "event": FOREIGN,
            "component": "uvicorn.error",
            "message": "no luck",
        }
    ]


@pytest.mark.parametrize(
    ("line", "component", "event"),
    [
        ("plain", None, {"event": FOREIGN, "level": "info", "message": "plain"}),
        ("{torn", None, {"event": FOREIGN, "level": "info", "message": "{torn"}),
        ('{"level": "WARN", "fields": {}}', None, {"level": "WARN", "fields": {}}),
        (
            '{"role": "manager"}',  # a bundle may print what it likes
            "cell-1",
            {"event": FOREIGN, "level": "info", "component": "cell-1", "message": '{"role": "manager"}'},
        ),
    ],
)
def test_a_line_of_another_program_is_an_event(
    line: str, component: str | None, event: dict[str, Any]
) -> None:
    rendered = json.loads(render_foreign("workers", line, component))
    rendered.pop("time", None)
    assert rendered == {"role": "workers", **event}


def test_the_format_is_for_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, settings = io.StringIO(), load_settings()
    assert resolve_format(settings, stream).log_format == "json"
    monkeypatch.setattr(stream, "isatty", lambda: True)
    assert resolve_format(settings, stream).log_format == "text"
    assert resolve_format(load_settings(log_format="json"), stream).log_format == "json"


def logged_in(tree: ast.AST) -> Iterator[str]:
    """The names of the events that a module logs: each stands there as text."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[ast.Constant(value=name), *_]
            ) if level in LEVELS:
                yield str(name)
            case ast.Call(func=ast.Name(id="tolerating" | "tell"), args=[ast.Constant(value=name), *_]):
                yield str(name)


def test_the_documentation_lists_every_event_and_no_other() -> None:
    modules = sorted((ROOT / "src" / "gridiron").rglob("*.py"))
    logged = {name for module in modules for name in logged_in(ast.parse(module.read_text()))} | {FOREIGN}
    documented = re.findall(
        r"^\| `([a-z.]+[a-z_.]*)` \|", (ROOT / "docs" / "logs.md").read_text(), re.MULTILINE
    )
    assert sorted(documented) == sorted(logged)
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", name) for name in logged)
