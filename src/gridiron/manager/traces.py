"""Traces of activations: what the manager needs of them, and the tracer of a node that exports none.

`gridiron.manager.otlp` has the other one, and is imported only where traces are exported: OpenTelemetry takes
memory and time to import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from fastapi import FastAPI


class Trace(Protocol):
    """The trace of one activation."""

    def step(self, name: str) -> AbstractContextManager[object]:
        """Trace what happens inside as a step."""

    def conclude(self, **known: str | None) -> None:
        """Say what it was about and what became of it; None stands for what is not known."""


class Tracer(Protocol):
    """Makes traces."""

    def activation(self, kind: str, name: str) -> AbstractContextManager[Trace]:
        """Trace what happens inside as the activation of a bundle of this name."""

    def connect(self, app: FastAPI) -> None:
        """Continue the traces of those who send requests to `app`."""

    def close(self) -> None:
        """Export what is left, without waiting long. Safe to repeat."""


class NoTrace:
    """A trace of nothing."""

    @contextmanager
    def step(self, _name: str) -> Iterator[None]:
        """Do nothing."""
        yield

    def conclude(self, **known: str | None) -> None:
        """Do nothing."""


class NoTracer:
    """Traces nothing."""

    @contextmanager
    def activation(self, _kind: str, _name: str) -> Iterator[Trace]:
        """Give a trace of nothing."""
        yield NoTrace()

    def connect(self, app: FastAPI) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
