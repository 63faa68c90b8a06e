"""What is made of the figures: medians and spreads, ratios, verdicts, the order of turns.

All of it is pure, but for `timed` and `take_turns`, which call what they are given.

A ratio is taken within each round, in which its two sides ran one after the other, so that noise which lasts
longer than a round falls on both. What is judged is the median of these ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Literal, TypeVar

from pydantic import Field

from gridiron.model import Value

T = TypeVar("T")

PLATEAU_WIDTH = 0.1
"""How far from the final level a point may be and count as on it."""


class BenchFailed(Exception):
    """A measure cannot go on: something answered what it must not, or did not answer."""


class Spread(Value):
    """The middle and the width of a series of figures."""

    median: float
    low: float = Field(description="First quartile; the least where there are fewer than four.")
    high: float = Field(description="Third quartile; the most where there are fewer than four.")
    count: int


class Target(Value):
    """What a figure has to be."""

    bound: Literal["at least", "at most"]
    value: float

    def holds(self, figure: float) -> bool:
        """Tell whether a figure is on the right side."""
        return figure >= self.value if self.bound == "at least" else figure <= self.value


class Row(Value):
    """One line of the report: a figure, what it has to be, and what it was compared with."""

    title: str
    figure: Spread
    unit: str = Field(description="`×` for a ratio.")
    target: Target | None = Field(description="None: it is only reported.")
    baseline: str = Field(description="What it was compared with, and what both sides were.")

    @property
    def holds(self) -> bool | None:
        """Whether the median meets the target; None without one."""
        return None if self.target is None else self.target.holds(self.figure.median)


class Bars(Value):
    """A plot of groups of bars, each with its spread."""

    kind: Literal["bars"] = "bars"
    name: str = Field(description="Of its file.")
    title: str
    y_title: str
    groups: tuple[str, ...]
    series: dict[str, tuple[Spread | None, ...]] = Field(description="By name: a bar in each group, or none.")


class Lines(Value):
    """A plot of points that lines join."""

    kind: Literal["lines"] = "lines"
    name: str = Field(description="Of its file.")
    title: str
    x_title: str
    y_title: str
    logarithmic: bool = False
    series: dict[str, tuple[tuple[float, float], ...]]


class Outcome(Value):
    """What a measure found."""

    rows: tuple[Row, ...]
    plots: tuple[Bars | Lines, ...] = ()
    notes: tuple[str, ...] = Field(default=(), description="Sentences that stand below the table.")
    series: dict[str, tuple[float, ...]] = Field(default_factory=dict, description="Every figure.")


class Plateau(Value):
    """How a curve ends."""

    level: float
    growth: float = Field(description="From the last quarter but one to the last: 1 is none.")
    reached_at: float


class Failure(Value):
    """Why a measure found nothing."""

    reason: str


def at_least(value: float) -> Target:
    """Demand this much or more."""
    return Target(bound="at least", value=value)


def at_most(value: float) -> Target:
    """Demand this much or less."""
    return Target(bound="at most", value=value)


def spread_of(figures: Sequence[float]) -> Spread:
    """Summarize figures; there has to be one at least."""
    if len(figures) < 4:
        low, high = min(figures), max(figures)
    else:
        low, _, high = statistics.quantiles(figures, n=4, method="inclusive")
    return Spread(median=statistics.median(figures), low=low, high=high, count=len(figures))


def single(figure: float) -> Spread:
    """Take a figure of which there is only one, such as a count."""
    return spread_of((figure,))


def ratios_of(subject: Sequence[float], baseline: Sequence[float]) -> tuple[float, ...]:
    """Divide round by round. Raises ValueError when one side has more rounds."""
    return tuple(ours / theirs for ours, theirs in zip(subject, baseline, strict=True))


def percentile(figures: Sequence[float], percent: float) -> float:
    """Give the least figure that so many percent of all do not exceed (nearest rank)."""
    ordered = sorted(figures)
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def find_plateau(samples: Sequence[tuple[float, float]]) -> Plateau:
    """Say whether a curve of points (x, y) ends level, and from where on.

    Its level is the median of the last quarter of the points, its growth that against the median of the
    quarter before, and it is reached at the first point within a tenth of it. It takes eight points at least.
    """
    quarter = len(samples) // 4
    level = statistics.median(y for _, y in samples[-quarter:])
    before = statistics.median(y for _, y in samples[-2 * quarter : -quarter])
    reached = next(x for x, y in samples if abs(y - level) <= level * PLATEAU_WIDTH)
    return Plateau(level=level, growth=level / before, reached_at=reached)


def timed(act: Callable[[], T]) -> tuple[T, float]:
    """Call, and give what was given with the milliseconds that it took."""
    began = time.perf_counter()
    given = act()
    return given, (time.perf_counter() - began) * 1000


def take_turns(
    subjects: Mapping[str, Callable[[], T]], rounds: int, warm_up: int = 1, seed: int = 0
) -> dict[str, tuple[T, ...]]:
    """Call each in turn, round after round; give what each gave, without the rounds of the warm-up.

    What one leaves behind (a disk that catches up, garbage) falls to the next. So each round has an order
    of its own, the same in each run with the same seed.
    """
    orders = Random(seed)  # noqa: S311 - nothing secret
    taken: dict[str, list[T]] = {name: [] for name in subjects}
    for number in range(-warm_up, rounds):
        for name in orders.sample(list(subjects), len(subjects)):
            figure = subjects[name]()
            if number >= 0:
                taken[name].append(figure)
    return {name: tuple(figures) for name, figures in taken.items()}


def is_successful(outcomes: Mapping[str, Outcome | Failure]) -> bool:
    """Tell whether every measure went through and met its targets."""
    return all(
        isinstance(outcome, Outcome) and all(row.holds is not False for row in outcome.rows)
        for outcome in outcomes.values()
    )
