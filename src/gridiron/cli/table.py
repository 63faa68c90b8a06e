"""Text in columns: a value that verbs make, and tests compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

import typer

GAP = "  "
"""Between two columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text. Each row has as many cells as the others; `header` may be empty."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()  # columns whose text stands at the right


def fields(*pairs: tuple[str, str]) -> Table:
    """Make a table of names and values, without those whose value is empty."""
    return Table(tuple((name, value) for name, value in pairs if value))


def render_lines(table: Table, colours: Mapping[str, str]) -> Iterator[str]:
    """Lay a table out: each column as wide as its widest line, a cell of several lines over as many.

    `colours` has the colour of cells that hold exactly a word. A line is never broken: whoever copies from it
    gets whole words. Widths count characters.
    """
    rows = [row for row in (table.header, *table.rows) if row]
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue=""):
            cells = (
                _pad(cell, widths[index], right=index in table.right, colour=colours.get(cell))
                for index, cell in enumerate(line)
            )
            yield GAP.join(cells).rstrip()


def _width(cell: str) -> int:
    return max(len(line) for line in cell.split("\n"))


def _pad(cell: str, width: int, *, right: bool, colour: str | None) -> str:
    space = " " * (width - len(cell))
    shown = typer.style(cell, fg=colour) if colour else cell
    return space + shown if right else shown + space
