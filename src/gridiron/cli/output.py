"""What goes to standard output, and progress, which goes to standard error."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import typer

from gridiron.cli.table import Table

if TYPE_CHECKING:  # rich is slow to start, and not every verb needs it
    from rich.status import Status

STYLES = {
    "active": "green",
    "draining": "yellow",
    "drained": "cyan",
    "retired": "dim",
    "failed": "red",
    "unknown": "magenta",
    "ready": "green",
    "not ready": "red",
    "missing": "red",
}
"""Colours of the cells that hold exactly these words."""

WIDE = 10_000
"""Columns where there is no terminal: whoever reads must get whole words."""


def print_json(value: Any) -> None:  # noqa: ANN401 - JSON
    """Print one JSON value, for programs, indented for people."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Print lines that the verb was asked for."""
    typer.echo(text)


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal and coloured there, whole and plain elsewhere."""
    if not sys.stdout.isatty():
        typer.echo(render_table(table, WIDE), nl=False)
        return
    width = os.get_terminal_size(sys.stdout.fileno()).columns
    typer.echo(render_table(table, width or WIDE, coloured="NO_COLOR" not in os.environ), nl=False)


def warn(sentence: str) -> None:
    """Print a warning to standard error."""
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    word = typer.style("warning:", fg="yellow") if coloured else "warning:"
    typer.echo(f"{word} {sentence}", err=True)


def render_table(table: Table, width: int, *, coloured: bool = False) -> str:
    """Lay a table out in `width` columns, each line with its end; the first column is never broken."""
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.table import Table as RichTable  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    laid_out = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(table.header))
    for index in range(len(table.header or next(iter(table.rows), ()))):
        laid_out.add_column(
            Text(table.header[index]) if table.header else None,
            justify="right" if index in table.right else "left",
            no_wrap=index == 0,
            overflow="fold",
        )
    for row in table.rows:
        laid_out.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    file = io.StringIO()
    colours = "standard" if coloured else None
    Console(file=file, width=width, color_system=colours, force_terminal=coloured).print(laid_out)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


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
