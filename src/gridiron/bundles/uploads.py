"""Archives that clients sent, kept for a while so that they can be activated."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from gridiron.bundles.disk import make_directory, storing
from gridiron.bundles.limits import Limits, Meter
from gridiron.errors import DigestMismatch, UploadNotFound

UPLOADS = ".uploads"
"""In the bundle directory, where it is no build."""

KEPT = timedelta(hours=1)
"""How long an archive is kept after it was sent last: long enough to try an activation again."""

MAX_KEPT_SIZE = 1024 * 1024 * 1024
"""Bytes of all archives that are kept; the oldest go first."""


class Uploads:
    """The archives that were sent, each a file named by its sha256. Its methods block.

    Every method raises StorageFailed where the disk is full, read-only or not ours.
    """

    def __init__(
        self,
        directory: Path,
        staging: Path,
        limits: Limits,
        clock: Callable[[], float] = time.time,
        max_kept_size: int = MAX_KEPT_SIZE,
    ) -> None:
        self._directory = directory
        self._staging = staging
        self.limits = limits
        """Of one archive."""
        self._clock = clock
        self._max_kept_size = max_kept_size

    def find(self, sha256: str) -> Path:
        """Give the archive with this digest. Raises UploadNotFound."""
        path = self._directory / sha256
        if not path.is_file():
            raise UploadNotFound(sha256)
        return path

    def receive(self, sha256: str, announced: int | None = None) -> Receiving:
        """Begin to take an archive in; see `Receiving`. `announced` in bytes, where the client says it.

        Raises SourceTooLarge where that is announced to be too large.
        """
        meter = Meter(self.limits)
        meter.begin(announced)
        with storing("Writing", self._directory):
            make_directory(self._directory)
            make_directory(self._staging)
        return Receiving(self, sha256, self._staging / f"up-{secrets.token_hex(8)}", meter)

    def keep(self, sha256: str, path: Path) -> bool:
        """Keep the archive at `path` under its digest; tell whether it was not there yet."""
        target = self._directory / sha256
        with storing("Writing", target):
            self.remove_old(path.stat().st_size)
            is_new = not target.is_file()
            path.replace(target)
        return is_new

    def remove_old(self, coming: int = 0) -> None:
        """Remove what was sent too long ago, and the oldest of what is too much. Safe to repeat.

        `coming` are the bytes of an archive that is about to be kept, and is the newest then. The newest is
        never too much.
        """
        size = coming
        for path, status in self._newest_first():
            is_newest = not size
            size += status.st_size
            is_old = self._clock() - status.st_mtime > KEPT.total_seconds()
            if is_old or (size > self._max_kept_size and not is_newest):
                with storing("Removing", path):
                    path.unlink(missing_ok=True)

    def _newest_first(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        with storing("Removing", self._directory):
            for path in self._directory.glob("*"):
                with contextlib.suppress(FileNotFoundError):  # another thread was first
                    found.append((path, path.stat()))
        return sorted(found, key=lambda each: each[1].st_mtime, reverse=True)


class Receiving:
    """An archive that is coming in; a context manager, which leaves nothing behind unless it was kept."""

    def __init__(self, uploads: Uploads, sha256: str, path: Path, meter: Meter) -> None:
        self._uploads = uploads
        self._sha256 = sha256
        self._path = path
        self._meter = meter
        self._hash = hashlib.sha256()
        with storing("Writing", path):
            self._file = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk, which `keep` has told
            self._file.close()
        with contextlib.suppress(OSError):  # staging is emptied at the next start
            self._path.unlink(missing_ok=True)

    def write(self, content: bytes) -> None:
        """Take the next bytes. Raises SourceTooLarge, SourceTooSlow."""
        self._meter.add(len(content))
        self._hash.update(content)
        with storing("Writing", self._path):
            self._file.write(content)

    def keep(self) -> bool:
        """Keep what came, if it is what it was to be; tell whether it was not there yet.

        Raises DigestMismatch.
        """
        actual = self._hash.hexdigest()
        if actual != self._sha256:
            raise DigestMismatch(self._sha256, actual)
        with storing("Writing", self._path):
            self._file.close()  # and so flush
        return self._uploads.keep(self._sha256, self._path)
