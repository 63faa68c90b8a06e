"""How much a source may take of a node, and the count of what it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from gridiron.errors import ManagerStopping, SourceHasTooManyFiles, SourceTooLarge, SourceTooSlow

Report = Callable[[int, int | None], None]
"""Is told the bytes that have come, and how many there will be, where known. Called by any thread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one source may take."""

    size: int  # bytes as they come, and once more as they are unpacked
    files: int  # entries of an archive, or objects of a directory
    time: timedelta  # for all of its transfer, attempts that failed included


def report_nothing(_done: int, _total: int | None) -> None:
    """Report to nobody."""


class Meter:
    """Counts what a source gives and raises where that is too much. For one activation and one thread."""

    def __init__(
        self,
        limits: Limits,
        report: Report = report_nothing,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._report = report
        self._stopping = stopping
        self._clock = clock
        self._ends_at = clock() + limits.time.total_seconds()
        self._size = 0
        self._files = 0
        self._total: int | None = None

    def begin(self, total: int | None = None) -> None:
        """Count from nothing: a transfer begins, or begins again. `total` in bytes, where it is known.

        Raises SourceTooLarge where that is announced to be too large.
        """
        self._size, self._files, self._total = 0, 0, total
        self._check_size(total or 0)
        self._report(0, total)

    def add(self, size: int) -> None:
        """Count bytes. Raises SourceTooLarge, and what `check_time` raises."""
        self._size += size
        self._check_size(self._size)
        self.check_time()
        self._report(self._size, self._total)

    def take_back(self, size: int) -> None:
        """Count bytes no longer: they belong to an attempt that failed."""
        self._size -= size
        self._report(self._size, self._total)

    def expect(self, size: int) -> None:
        """Raise SourceTooLarge where so many bytes more would be too many. `add` counts them as they come."""
        self._check_size(self._size + size)

    def add_file(self) -> None:
        """Count a file, directory or other entry. Raises SourceHasTooManyFiles, or as `check_time` does."""
        self._files += 1
        if self._files > self.limits.files:
            raise SourceHasTooManyFiles(self.limits.files)
        self.check_time()

    def check_time(self) -> None:
        """Raise SourceTooSlow where the time is over, ManagerStopping where the process is to end."""
        if self._stopping is not None and self._stopping.is_set():
            raise ManagerStopping
        if self.seconds_left <= 0:
            raise SourceTooSlow(round(self.limits.time.total_seconds()))

    @property
    def seconds_left(self) -> float:
        """How long the transfer may still take; not below 0."""
        return max(0.0, self._ends_at - self._clock())

    def _check_size(self, size: int) -> None:
        if size > self.limits.size:
            raise SourceTooLarge(self.limits.size)
