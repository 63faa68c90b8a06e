"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How grave it is."""

    OK = "ok"
    WARNING = "warning"  # it works, and may not for long
    FAILURE = "failure"  # a node does not work like that


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    state: State
    meaning: str
    mend: str = ""  # what to do about it; empty where it is in order


def fine(check: str, meaning: str) -> Finding:
    """Say that something is in order."""
    return Finding(check, State.OK, meaning)


def warning(check: str, meaning: str, mend: str) -> Finding:
    """Say that something may not work for long."""
    return Finding(check, State.WARNING, meaning, mend)


def failure(check: str, meaning: str, mend: str) -> Finding:
    """Say that a node does not work like that."""
    return Finding(check, State.FAILURE, meaning, mend)
