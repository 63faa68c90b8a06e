"""The steps of an activation: each is timed and reported, and a failure says in which it happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gridiron.errors import ActivationFailed, GridironError
from gridiron.manager.api import Progress
from gridiron.manager.context import Context
from gridiron.manager.metrics.meters import Meters
from gridiron.manager.traces import Trace

Report = Callable[[Progress], None]
"""Is told how an activation goes on. May be called by any thread."""

REPORT_INTERVAL = 0.1
"""Seconds between two reports of how much has come."""


def report_nothing(_progress: Progress) -> None:
    """Report to nobody."""


class Steps:
    """A stopwatch with names, which says what it times."""

    def __init__(self, report: Report, meters: Meters, trace: Trace) -> None:
        self.build_id: str | None = None  # None: it has none yet
        self.outcome = "kept"  # of the activation: no build was to be made
        self.deployment_id: str | None = None  # None: it is not registered
        self._report = report
        self._meters = meters
        self._trace = trace
        self._reported_at = 0.0
        self._began = time.perf_counter()
        self._timings_ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside; raise ActivationFailed with the step's name for a failure in it."""
        began = time.perf_counter()
        self._report(Progress(build_id=self.build_id, step=name))
        try:
            with self._trace.step(name):
                yield
        except GridironError as cause:
            raise ActivationFailed(name, self.build_id, cause) from cause
        finally:
            self._timings_ms[name] = _milliseconds_since(began)
            self._meters.step_seconds[name].add(time.perf_counter() - began)

    def report_size(self, name: str, done: int, total: int | None) -> None:
        """Say how much of a step's bytes have come, but not too often. May be called by another thread."""
        now = time.monotonic()
        if now - self._reported_at >= REPORT_INTERVAL:
            self._reported_at = now
            self._report(Progress(build_id=self.build_id, step=name, done=done, total=total))

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of each step so far, in order, and of all since the beginning as `total`."""
        return {**self._timings_ms, "total": _milliseconds_since(self._began)}


@contextmanager
def accounting(kind: str, name: str, report: Report, context: Context) -> Iterator[Steps]:
    """Count, time and trace what happens inside as an activation of a kind for a name."""
    meters, began = context.meters, time.perf_counter()
    with context.tracer.activation(kind, name) as trace:
        steps = Steps(report, meters, trace)
        try:
            yield steps
        except BaseException:
            steps.outcome = "failed"
            raise
        finally:
            meters.activations[kind, steps.outcome] += 1
            if steps.outcome == "activated":
                meters.activation_seconds.add(time.perf_counter() - began)
            trace.conclude(build_id=steps.build_id, outcome=steps.outcome, deployment_id=steps.deployment_id)


def _milliseconds_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
