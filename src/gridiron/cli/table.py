"""Text in columns: a value that verbs make, and tests compare."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text. Each row has as many cells as the others; `header` may be empty."""

    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    right: frozenset[int] = frozenset()  # columns whose text stands at the right


def fields(*pairs: tuple[str, str]) -> Table:
    """Make a table of names and values, without those whose value is empty."""
    return Table(tuple((name, value) for name, value in pairs if value))
