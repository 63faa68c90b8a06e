"""The steps of an activation: each is timed, and a failure says in which it happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from gridiron.errors import ActivationFailed, GridironError


class Steps:
    """A stopwatch with names."""

    def __init__(self, build_id: str) -> None:
        self._build_id = build_id
        self._began = time.perf_counter()
        self._timings_ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside; raise ActivationFailed with the step's name for a failure in it."""
        began = time.perf_counter()
        try:
            yield
        except GridironError as cause:
            raise ActivationFailed(name, self._build_id, cause) from cause
        finally:
            self._timings_ms[name] = _milliseconds_since(began)

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds of each step so far, in order, and of all since the beginning as `total`."""
        return {**self._timings_ms, "total": _milliseconds_since(self._began)}


def _milliseconds_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
