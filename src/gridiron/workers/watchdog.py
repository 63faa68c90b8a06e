"""The watchdog's judgement of a cell: pure functions of what was read and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

HARD_FACTOR = 1.5
"""A cell this many times above its ceiling is not waited for: it grows faster than it can be replaced."""

GROWN = 2
"""A cell without builds this many times above its first memory is replaced: half of it or more comes back.

Each build that is unloaded leaves about 1 MB behind, in pools of V8 and of the allocator."""

LEAST_UPTIME = timedelta(seconds=30)
"""A cell that has just started is not replaced for what a new one would do as well: that would not end."""


class Reason(StrEnum):
    """Why a cell was replaced."""

    DIED = "died"  # it ended by itself, or the machine was out of memory
    KILLED = "killed"  # somebody else killed it: nothing that it was answering is to blame
    HUNG = "hung"  # it did not answer on its control socket
    MEMORY_EXHAUSTED = "memory_exhausted"  # far above its ceiling
    MEMORY = "memory"  # above its ceiling
    EVICTIONS = "evictions"  # it has unloaded so many builds
    EMPTY = "empty"  # it has unloaded all that it had, and keeps much of their memory
    CONFIG = "config"  # another configuration, or another workerd, is on disk
    ORDER = "order"  # somebody asked for it


KILLS = frozenset({Reason.HUNG, Reason.MEMORY_EXHAUSTED})
"""The judgements after which a cell is ended at once; after the others, a new one serves first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cell may do."""

    hang: timedelta  # without an answer on its control socket
    memory: int  # bytes
    evictions: int  # builds that it unloads, ever


@dataclass(frozen=True, slots=True)
class Reading:
    """What was seen of a cell."""

    silence: timedelta  # at most so long; zero when it has answered what it was asked
    uptime: timedelta
    memory: int  # bytes
    first_memory: int  # bytes, when it began to serve
    evictions: int  # as it said last
    loaded: int  # builds, as it said last


def judge(reading: Reading, limits: Limits) -> Reason | None:
    """Say why a cell has to go; None when it may stay."""
    if reading.silence >= limits.hang:
        return Reason.HUNG
    if reading.memory > limits.memory * HARD_FACTOR:
        return Reason.MEMORY_EXHAUSTED
    return None if reading.uptime < LEAST_UPTIME else _judge_age(reading, limits)


def _judge_age(reading: Reading, limits: Limits) -> Reason | None:
    """Say why a new cell would be better than this one, which does no harm."""
    if reading.memory > limits.memory:
        return Reason.MEMORY
    if reading.evictions >= limits.evictions:
        return Reason.EVICTIONS
    if reading.evictions and not reading.loaded and reading.memory >= reading.first_memory * GROWN:
        return Reason.EMPTY
    return None
