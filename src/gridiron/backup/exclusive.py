"""One backup or restore of a node at a time: each would let go on what another one has stopped."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridiron.bundles.disk import storing
from gridiron.errors import BackupUnderWay


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Lock the directory itself, so that no file is left. Raises BackupUnderWay, StorageFailed."""
    with storing("Locking", data_dir):
        descriptor = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupUnderWay(str(data_dir)) from error
    finally:
        os.close(descriptor)
