"""Notice what is saved in a project."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from watchfiles import DefaultFilter, awatch

STEP_MS = 2
"""How long nothing more may be written until what was written counts as saved: editors write in pieces."""

DEBOUNCE_MS = 100
"""How long a program may go on writing before what it wrote counts as saved all the same."""


@dataclass(frozen=True, slots=True)
class Save:
    """Files that were written, or removed, at once."""

    paths: tuple[str, ...]  # relative to the project, sorted; none at the start
    noticed: timedelta  # how long after the last of them was written this was known
    at: float  # when it was known, by `time.monotonic`

    def after(self, earlier: Save) -> Save:
        """Add what was saved before and has not been dealt with."""
        return Save(tuple(sorted({*earlier.paths, *self.paths})), self.noticed, self.at)


async def watch_saves(directory: Path, on_save: Callable[[Save], None]) -> None:
    """Watch a directory, given as an absolute path, until cancelled.

    Packages, repositories and hidden files of editors are passed over.
    """
    changes = awatch(directory, watch_filter=DefaultFilter(), debounce=DEBOUNCE_MS, step=STEP_MS)
    async for changed in changes:
        on_save(fetch_save(directory, [Path(path) for _, path in changed]))


def fetch_save(directory: Path, paths: Sequence[Path]) -> Save:
    """Say of files in a directory that were written just now how long ago that was."""
    now, at = time.time(), time.monotonic()
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:  # removed, or moved on by its editor
            continue
    noticed = timedelta(seconds=max(0.0, now - max(times, default=now)))
    return Save(tuple(sorted({str(path.relative_to(directory)) for path in paths})), noticed, at)
