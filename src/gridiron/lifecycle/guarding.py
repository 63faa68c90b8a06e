"""Whether a node is to lead partitions of its cluster, by how its workers were seen: pure decisions.

Restate leaves a partition where it is while its node lives, though no worker of that node answers. So a node
whose workers stay down is drained: its partitions are led by others. It is taken back once its workers serve
again. Each node decides for itself, and only ever about itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

DRAIN_AFTER = timedelta(seconds=5)
"""How long no cell may have served before the node is drained. Cells that die are back in 1 to 3 s, and
moving partitions stalls their invocations for some 2 s: less would move them for what mends itself."""

BACK_OFF = timedelta(seconds=5)
"""How long cells must have served without a break after the first drain within a WINDOW, before the node is
taken back; and how long after that drain began the next may. After each further drain both take twice as
long."""

BACK_OFF_LIMIT = timedelta(minutes=10)
"""It is never longer than this. So a node is drained at most 12 times an hour, whether its workers come and
go or the other nodes do."""

WINDOW = timedelta(hours=1)
"""How long a drain counts."""

ACTIVE: Final = "active"
DRAINING: Final = "draining"
"""What a node's worker is in Restate."""


@dataclass(frozen=True, slots=True)
class Course:
    """How the workers of a node have been until now; times are in seconds of a monotonic clock."""

    serving: bool | None = None  # as of the last look; None: it could not be known
    down_since: float | None = None  # None: when last known they served, or they never were known
    serving_since: float | None = None  # without a break; None: they do not, as far as is known


def follow(course: Course, serving: bool | None, at: float) -> Course:  # noqa: FBT001 - it has three values
    """Go on with a look. One that shows nothing breaks what served, and ends no time of being down."""
    match serving:
        case True:
            since = course.serving_since
            return Course(True, None, at if since is None else since)
        case False:
            return Course(False, at if course.down_since is None else course.down_since, None)
        case None:
            return Course(None, course.down_since, None)


@dataclass(frozen=True, slots=True)
class Place:
    """What a node sees of its own place in the cluster."""

    worker_state: str | None  # Restate's word; None: not known, or the node is in no cluster yet
    others: int = 0  # nodes beside it that can lead: alive, and active


@dataclass(frozen=True, slots=True)
class Past:
    """What a node's guardian has done before."""

    drained: bool = False  # whether it has drained the node, or was about to, and has not taken it back
    drains: int = 0  # within a WINDOW
    drained_ago: float | None = None  # seconds since the last of them began; None: none since the start


class Step(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"
    DRAIN = "drain"
    TAKE_BACK = "take_back"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done, and why. Where nothing is, the reason says what is amiss, or is empty."""

    step: Step
    reason: str = ""


def plan_guard(course: Course, place: Place, past: Past, at: float) -> Decision:
    """Decide whether a node is to be drained or taken back; `at` is the time, as in the course.

    Only what the guardian itself has drained is ever taken back: somebody else has a reason that it cannot
    know. Where no other node can lead, this one is to: Restate then waits for its workers, and finds them.
    """
    if place.worker_state not in {ACTIVE, DRAINING}:
        return Decision(Step.NOTHING, f"what its worker is: {place.worker_state or 'not known'}")
    if past.drained and not place.others:
        return Decision(Step.TAKE_BACK, "no other node can lead")
    if course.serving and course.serving_since is not None:
        return _plan_serving(at - course.serving_since, past)
    if course.serving is None or course.down_since is None:
        return Decision(Step.NOTHING, "whether cells serve is not known")
    return _plan_down(at - course.down_since, place, past)


def _plan_serving(seconds: float, past: Past) -> Decision:
    """Decide for a node whose cells have served for so long."""
    if not past.drained:
        return Decision(Step.NOTHING)
    left = back_off(past.drains).total_seconds() - seconds
    if left > 0:
        return Decision(Step.NOTHING, f"cells serve; it is taken back in {left:.0f} s")
    return Decision(Step.TAKE_BACK, f"cells have served for {seconds:.0f} s")


def _plan_down(seconds: float, place: Place, past: Past) -> Decision:
    """Decide for a node that no cell has served on for so long.

    It may have been taken back though its cells were down, as no other could lead: where the others come and
    go, it does not follow each of them.
    """
    reason = f"no cell has served for {seconds:.0f} s"
    if place.worker_state == DRAINING or seconds < DRAIN_AFTER.total_seconds():
        return Decision(Step.NOTHING, reason)
    if not place.others:
        return Decision(Step.NOTHING, f"{reason}, and no other node can lead")
    if not past.drained and past.drained_ago is not None and past.drains:
        left = back_off(past.drains).total_seconds() - past.drained_ago
        if left > 0:
            return Decision(Step.NOTHING, f"{reason}; it may be drained again in {left:.0f} s")
    return Decision(Step.DRAIN, reason)


def back_off(drains: int) -> timedelta:
    """Give how long the next change waits; `drains` are those within a WINDOW, the last one included."""
    doublings = min(max(drains - 1, 0), 16)  # more would overflow a timedelta
    return min(BACK_OFF * float(2**doublings), BACK_OFF_LIMIT)


def find_recent(begun_at: Collection[datetime], now: datetime) -> tuple[datetime, ...]:
    """Give those drains that count still; one from the future counts from now on: the clock was set back."""
    return tuple(min(each, now) for each in begun_at if now - each < WINDOW)
