"""Writes that may fail: what they say is in memory, or found out again by the next look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from gridiron.errors import GridironError, StorageFailed

log = structlog.get_logger()


@contextmanager
def tolerating(
    event: str, failure: type[GridironError] = StorageFailed, /, **fields: object
) -> Iterator[None]:
    """Log a failure of what happens inside as `event`, and go on.

    By default that is one of the disk. GridironError is for what counts however the write ends: in a cluster
    it is one to a bucket, which may be away, or another node may have come first.
    """
    try:
        yield
    except failure as error:
        log.warning(event, reason=str(error), **fields)
