"""Writes that may fail: what they say is in memory, or found out again by the next look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gridiron.errors import StorageFailed

log = structlog.get_logger()


@contextmanager
def tolerating(event: str, **fields: object) -> Iterator[None]:
    """Log StorageFailed of what happens inside as `event`, and go on."""
    try:
        yield
    except StorageFailed as error:
        log.warning(event, reason=str(error), **fields)
