"""Receive what a server sends, and try again where it is away for a moment or breaks off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import stamina

from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.errors import ManifestInvalid, SourceRefused, SourceUnreachable

ATTEMPTS = 5
"""With pauses of up to 0.2, 0.4, 0.8 and 1.6 s between them, each with up to half a second more."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
"""Without a byte. All of a transfer is bounded by its meter besides."""

TRANSIENT = frozenset({408, 425, 429})
"""Statuses below 500 that say to come again (RFC 9110, 8470, 6585)."""

T = TypeVar("T")


class Interrupted(Exception):
    """An attempt failed in a way that another one may not. Its text says how, and holds no secret."""


def transfer(source: str, meter: Meter, attempt: Callable[[], T]) -> T:
    """Give what `attempt` gives. After an Interrupted it is called again, and has to begin from nothing.

    `source` is what an error shows. Raises SourceUnreachable where each attempt failed, SourceTooSlow where
    the time is over, and whatever else an attempt raises.
    """
    meter.check_time()
    try:
        for each in stamina.retry_context(
            on=Interrupted,
            attempts=ATTEMPTS,
            timeout=max(meter.seconds_left, 0.001),
            wait_initial=0.2,
            wait_jitter=0.5,
        ):
            with each:
                meter.check_time()
                return attempt()
    except Interrupted as error:
        meter.check_time()
        raise SourceUnreachable(source, str(error)) from error
    raise AssertionError(source)  # an attempt returns or raises


def check_status(status: int, shown: str) -> None:
    """Raise where a status says no: Interrupted where it may be later, or SourceRefused."""
    if status in TRANSIENT or status >= 500:
        raise Interrupted(f"its server answers with status {status}")
    if status != 200:
        raise SourceRefused(shown, f"its server answers with status {status}")


@dataclass(frozen=True, slots=True)
class Saved:
    """What was written to a file."""

    size: int  # bytes
    sha256: str


def save(chunks: Iterable[bytes], target: Path, meter: Meter, limit: int | None = None) -> Saved:
    """Write what comes to a file, from its beginning; `limit` in bytes.

    Where it fails, the file stays, and nothing of it is counted. Raises ManifestInvalid over the limit (only
    manifest files have one of their own), StorageFailed, and what the meter and `chunks` raise.
    """
    size, digest = 0, hashlib.sha256()
    try:
        with storing("Writing", target), target.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                meter.add(len(chunk))
                _check_limit(target.name, size, limit)
                digest.update(chunk)
                file.write(chunk)
    except BaseException:
        meter.take_back(size)
        raise
    return Saved(size, digest.hexdigest())


def _check_limit(file: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise ManifestInvalid(file, f"it has more than {limit} bytes")
