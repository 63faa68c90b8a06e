"""What the manager counts and times of its own work since it started."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

QUICK = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Bounds, in seconds, of what should take milliseconds."""

LASTING = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Bounds, in seconds, of what waits for Restate, for the cells or for a source."""


class Durations:
    """A histogram of durations."""

    def __init__(self, bounds: tuple[float, ...] = LASTING) -> None:
        self.bounds = bounds  # seconds
        self.counts = [0] * (len(bounds) + 1)  # of those up to each bound, and beyond the last
        self.seconds = 0.0  # that all took together

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


@dataclass(frozen=True, slots=True)
class Meters:
    """All of it, in plain numbers: whoever does something counts it here."""

    activations: Counter[tuple[str, str]] = field(default_factory=Counter)  # by kind and outcome
    activation_seconds: Durations = field(default_factory=Durations)  # of those that made a build active
    step_seconds: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)  # of the loop, by kind and outcome
    errors: Counter[str] = field(default_factory=Counter)  # by code
    rounds: Counter[tuple[str, str]] = field(default_factory=Counter)  # of the sweep, by part and outcome
    round_seconds: defaultdict[str, Durations] = field(default_factory=lambda: defaultdict(Durations))
    succeeded_at: dict[str, datetime] = field(default_factory=dict)  # the last round of each part that did
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # by method, route, status
    request_seconds: defaultdict[str, Durations] = field(  # by route
        default_factory=lambda: defaultdict(lambda: Durations(QUICK))
    )
    lag: Durations = field(default_factory=lambda: Durations(QUICK))  # of the event loop
