"""What `gridiron dev` tells: values, each as a line for people and as an object for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

import typer

from gridiron.bundles.incremental import Mistake
from gridiron.cli.log_lines import STYLES as LOG_STYLES
from gridiron.cli.log_lines import WIDTH, render_log_event
from gridiron.workers.logs import LogEvent

MAX_SHOWN = 3
"""Saved files that a line names."""

STYLES = {
    **LOG_STYLES,
    "live": "green",
    "unchanged": "bright_black",
    "build": "red",
    "refused": "red",
    "types": "yellow",
    "removed": "bright_black",
    "lost": "magenta",
}
"""Colours of the words that lines begin with."""


class Event(Protocol):
    """Something to tell."""

    def words(self) -> tuple[str, str]:
        """Give the word that the line begins with, and the rest."""

    def fields(self) -> dict[str, Any]:
        """Give the same for programs; `event` says what it is."""


@dataclass(frozen=True, slots=True)
class Watching:
    """It has begun."""

    directory: str
    manager_url: str

    def words(self) -> tuple[str, str]:
        """Say what is watched."""
        return "watching", f"{self.directory}, for the node at {self.manager_url}; Ctrl-C ends this"

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "watching", "directory": self.directory, "manager_url": self.manager_url}


@dataclass(frozen=True, slots=True)
class Spent:
    """How long a save took to be live, in three parts."""

    noticed: timedelta  # from the write of the file
    built: timedelta
    activated: timedelta  # until the manager's answer: Restate routes new invocations to it

    @property
    def total(self) -> timedelta:
        """From the write of the file on."""
        return self.noticed + self.built + self.activated

    def fields(self) -> dict[str, float]:
        """Give milliseconds."""
        parts = {
            "noticed": self.noticed,
            "built": self.built,
            "activated": self.activated,
            "total": self.total,
        }
        return {name: round(part / timedelta(milliseconds=1), 1) for name, part in parts.items()}


@dataclass(frozen=True, slots=True)
class Live:
    """What was saved takes new invocations, or did so already."""

    build_id: str
    saved: tuple[str, ...]  # none at the start
    spent: Spent
    changed: bool = True
    keeps: tuple[str, ...] = ()  # services that older builds go on serving
    steps_ms: dict[str, float] = field(default_factory=dict)  # of the activation, as the manager timed them

    def words(self) -> tuple[str, str]:
        """Say how long it took."""
        ms = {name: f"{value:.0f}" for name, value in self.spent.fields().items()}
        parts = f"noticed {ms['noticed']}, built {ms['built']}, activated {ms['activated']}"
        kept = f"; older builds go on serving {', '.join(self.keeps)}" if self.keeps else ""
        files = f"  {render_saved(self.saved)}" if self.saved else ""
        word = "live" if self.changed else "unchanged"
        return word, f"{self.build_id}  {ms['total']} ms: {parts}{files}{kept}"

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {
            "event": "live" if self.changed else "unchanged",
            "build_id": self.build_id,
            "saved": list(self.saved),
            "spent_ms": self.spent.fields(),
            "keeps": list(self.keeps),
            "steps_ms": self.steps_ms,
        }


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """What was saved does not build; what was live stays so."""

    errors: tuple[Mistake, ...]

    def words(self) -> tuple[str, str]:
        """Say what is wrong, with file and line."""
        return "build", render_mistakes(self.errors)

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "not_built", "errors": _fields_of(self.errors)}


@dataclass(frozen=True, slots=True)
class Warned:
    """What was saved builds, and esbuild finds it doubtful."""

    warnings: tuple[Mistake, ...]

    def words(self) -> tuple[str, str]:
        """Say what is doubtful, with file and line."""
        return "warn", render_mistakes(self.warnings)

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "warned", "warnings": _fields_of(self.warnings)}


@dataclass(frozen=True, slots=True)
class Refused:
    """What was saved builds, and is not live; what was live stays so."""

    code: str
    detail: str

    def words(self) -> tuple[str, str]:
        """Say why."""
        return "refused", f"{self.detail}  [{self.code}]"

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "refused", "code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Types:
    """What TypeScript finds wrong. It holds nothing up."""

    errors: tuple[Mistake, ...]

    def words(self) -> tuple[str, str]:
        """Say what is wrong, with file and line."""
        return "types", render_mistakes(self.errors) if self.errors else "no errors"

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "types", "errors": _fields_of(self.errors)}


@dataclass(frozen=True, slots=True)
class Removed:
    """A build of this loop that had drained is gone."""

    build_id: str

    def words(self) -> tuple[str, str]:
        """Say which."""
        return "removed", self.build_id

    def fields(self) -> dict[str, Any]:
        """Give it for programs."""
        return {"event": "removed", "build_id": self.build_id}


def render_event(event: Event | LogEvent, now: datetime, *, coloured: bool) -> str:
    """Write a line, or several: `12:00:00.123  live       greeter-dev-1  60 ms: …`, in UTC."""
    if isinstance(event, LogEvent):
        return render_log_event(event, now, coloured=coloured)
    word, rest = event.words()
    shown = word.ljust(WIDTH)
    if coloured and word in STYLES:
        shown = typer.style(shown, fg=STYLES[word])
    clock = f"{now:%H:%M:%S}.{now.microsecond // 1000:03}"
    return f"{clock}  {shown}  {rest}".rstrip().replace("\n", "\n    ")


def render_fields(event: Event | LogEvent, now: datetime) -> dict[str, Any]:
    """Give an object for programs: `event` says what it is, `time` when."""
    if isinstance(event, LogEvent):
        return {"event": "printed", **event.model_dump(mode="json")}
    fields = event.fields()
    return {"event": fields.pop("event"), "time": now.isoformat(), **fields}


def render_saved(paths: Sequence[str]) -> str:
    """Name saved files: the first few, and how many more there are."""
    more = len(paths) - MAX_SHOWN
    return ", ".join(paths[:MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def render_mistakes(mistakes: Sequence[Mistake]) -> str:
    """Write mistakes, each on a line: `src/index.ts:3:5  text`."""
    return "\n".join(_render_mistake(mistake) for mistake in mistakes)


def _render_mistake(mistake: Mistake) -> str:
    place = [str(part) for part in (mistake.file, mistake.line, mistake.column) if part is not None]
    return f"{':'.join(place)}  {mistake.text}" if place else mistake.text


def _fields_of(mistakes: Sequence[Mistake]) -> list[dict[str, Any]]:
    return [
        {"text": each.text, "file": each.file, "line": each.line, "column": each.column} for each in mistakes
    ]
