"""`gridiron call`."""

from __future__ import annotations


def call() -> None:
    """X."""
