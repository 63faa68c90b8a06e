"""What goes to standard output, and progress, which goes to standard error."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TextIO

import typer

from gridiron.cli.table import Table, render_lines

if TYPE_CHECKING:  # only a terminal needs it
    from rich.status import Status

STYLES = {
    "active": "green",
    "draining": "yellow",
    "drained": "cyan",
    "failed": "red",
    "unknown": "magenta",
    "ready": "green",
    "not ready": "red",
    "ok": "green",
    "warning": "yellow",
    "failure": "red",
    "serving": "green",
    "not serving": "yellow",
    "missing": "red",
    "down": "red",
}
"""Colours of the cells that hold exactly these words."""


def is_coloured(stream: TextIO) -> bool:
    """Tell whether what goes to a stream is coloured: on a terminal, and NO_COLOR is not set."""
    return stream.isatty() and "NO_COLOR" not in os.environ


def confirm_removal(question: str) -> None:
    """Ask on the terminal before something is removed. Exits 1 for a no, having said that nothing was."""
    if not typer.confirm(question, err=True):
        typer.echo("Nothing was removed.", err=True)
        raise typer.Exit(1)


def print_json(value: Any) -> None:  # noqa: ANN401 - JSON
    """Print one JSON value, for programs, indented for people."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Print lines that the verb was asked for."""
    typer.echo(text)


def print_table(table: Table) -> None:
    """Print a table, coloured on a terminal."""
    styles = STYLES if is_coloured(sys.stdout) else {}
    typer.echo("".join(f"{line}\n" for line in render_lines(table, styles)), nl=False)


def warn(sentence: str) -> None:
    """Print a warning to standard error."""
    word = typer.style("warning:", fg="yellow") if is_coloured(sys.stderr) else "warning:"
    typer.echo(f"{word} {sentence}", err=True)


class Progress:
    """Says what is being done: a spinner on a terminal, a line for each thing elsewhere. A context manager.

    `quiet` keeps the lines back, for a program that reads; a terminal shows its spinner all the same.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said = ""
        self._status: Status | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - see above

            self._status = self._stack.enter_context(Console(stderr=True).status(""))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        """Say what is done now; the same again says nothing new."""
        if text == self._said:
            return
        self._said = text
        if self._status is not None:
            self._status.update(text)
        elif not self._quiet:
            typer.echo(text, err=True)

    def say_often(self, text: str) -> None:
        """Say how far it has come, where that can be written over: on a terminal only."""
        if self._status is not None:
            self._status.update(text)
