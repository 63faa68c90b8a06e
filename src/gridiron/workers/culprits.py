"""Which build brings cells down: a pure judgement of what was in flight when they hung or died."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta

DEATHS = 3
"""Deaths at which a build must have been in flight to be taken for their cause: once is bad luck, as all its
neighbours were there too."""

WINDOW = timedelta(minutes=10)
"""How long a death counts. Restate's pauses between attempts grow to a minute, so that three fit in."""

PROVEN = 10
"""Invocations that a build has answered when it is not the first to be suspected any more."""

MOST_UNPROVEN = 4
"""Builds that are suspected at once: more of them than this, and their cells would cost too much."""

_ENDED = re.compile(r"ended (?P<cell>cell-[0-9]+) S[HD] (?P<key>[^ /]+/[^ /]+)")


@dataclass(frozen=True, slots=True)
class Cut:
    """A stream that its cell did not bring to an end."""

    cell: str
    key: str  # of the build: "name/version-timestamp"


@dataclass(frozen=True, slots=True)
class Death:
    """The end of a cell, and what it was answering."""

    at: float  # seconds of a monotonic clock
    suspects: frozenset[str]  # keys of builds


def parse_cut(line: str) -> Cut | None:
    """Read a line of HAProxy's log: a stream that the server's side broke off, in its head (SH) or data (SD).

    A stream that was not sent yet (SC) says nothing against its build.
    """
    match = _ENDED.fullmatch(line)
    return None if match is None else Cut(match["cell"], match["key"])


def is_about_stream(line: str) -> bool:
    """Tell whether a line of HAProxy's is of the log that Gridiron has it write."""
    return line.startswith("ended ")


def forget_old(deaths: tuple[Death, ...], now: float) -> tuple[Death, ...]:
    """Leave out the deaths that do not count any more."""
    return tuple(death for death in deaths if now - death.at <= WINDOW.total_seconds())


def find_culprit(deaths: tuple[Death, ...]) -> str | None:
    """Choose the build that must have brought the last cell down; None while it can be bad luck.

    Of several that were always there, it is the one that was there with the fewest others, then the newest.
    """
    if not deaths:
        return None
    presence = {key: [death for death in deaths if key in death.suspects] for key in deaths[-1].suspects}
    candidates = [key for key, present in presence.items() if len(present) >= DEATHS]
    return max(candidates, key=lambda key: _weigh(key, presence[key]), default=None)


def choose_unproven(suspects: frozenset[str], proven: AbstractSet[str]) -> frozenset[str]:
    """Choose the builds that are to show by themselves, after a first death, whether it was their doing.

    None of them has answered much yet. A build that has is left where it is: it may be busy, and is likely to
    be its neighbour's victim.
    """
    unproven = suspects - proven
    return unproven if len(unproven) <= MOST_UNPROVEN else frozenset()


def without_culprit(deaths: tuple[Death, ...], culprit: str) -> tuple[Death, ...]:
    """Leave out the deaths that a culprit explains: they say nothing about its neighbours."""
    return tuple(death for death in deaths if culprit not in death.suspects)


def _weigh(key: str, present: list[Death]) -> tuple[int, float, int]:
    alone = sum(1 / len(death.suspects) for death in present)
    timestamp = key.rpartition("-")[2]
    return len(present), alone, int(timestamp) if timestamp.isdecimal() else 0
