"""A server in a process that has signal handlers of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import uvicorn


class InnerServer(uvicorn.Server):
    """uvicorn without its own signal handlers, which would end the process by the signal and not in order."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield
