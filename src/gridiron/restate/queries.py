"""The SQL that Restate is asked; each file says at its top what it finds."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def load_query(name: str) -> str:
    """Give the text of `sql/{name}.sql`."""
    return files("gridiron.restate").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
