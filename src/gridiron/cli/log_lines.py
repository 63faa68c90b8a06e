"""What a build printed, as lines for people."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.workers.logs import LogEvent

WIDTH = 9
"""Of the word that says what a line is: `exception`, `suspended` and `cancelled` are the longest."""

STYLES = {
    "debug": "bright_black",
    "warn": "yellow",
    "error": "red",
    "exception": "red",
    "gap": "magenta",
    "ok": "green",
    "failed": "red",
    "retrying": "yellow",
    "cancelled": "yellow",
    "suspended": "cyan",
}
"""Colours of the words."""


def render_log_event(event: LogEvent, now: datetime, *, coloured: bool, with_build: bool = False) -> str:
    """Write an event: `12:00:00.123  warn       Greeter/greet  message`; further lines are set in.

    The time is UTC, with the day unless that is today. In a cluster the node comes before the handler; so
    does, by `with_build`, the build. An outcome that is not
    good, and an exception, name their invocation.
    """
    word = event.outcome or (event.level if event.kind == "log" else event.kind)
    shown = word.ljust(WIDTH)
    if coloured and word in STYLES:
        shown = typer.style(shown, fg=STYLES[word])
    parts = (
        _render_time(event.time, now),
        shown,
        event.node or "",
        event.build_id if with_build else "",
        event.handler or "",
        _render_message(event),
    )
    return "  ".join(part for part in parts if part).rstrip().replace("\n", "\n    ")


SDK_PREFIX = re.compile(r"\[restate\](\[[^\]]*\])+ [A-Z]+: ")
"""What Restate's SDK puts before its own lines and those of `ctx.console`: our lines say that already."""


def _render_time(time: datetime, now: datetime) -> str:
    clock = f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"
    return clock if time.date() == now.date() else f"{time:%Y-%m-%d} {clock}"


def _render_message(event: LogEvent) -> str:
    if event.kind == "outcome":
        spent = "" if event.duration_ms is None else f"{event.duration_ms:.0f} ms"
        message = ": ".join(part for part in (spent, event.message) if part)
    else:
        message = SDK_PREFIX.sub("", event.message, count=1)
    tells = event.kind == "exception" or event.outcome not in {None, "ok"}
    return f"{message}  ({event.invocation_id})" if tells and event.invocation_id else message
