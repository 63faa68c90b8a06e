"""Who may be backed up or restored: a node alone, by one at a time.

Each of two would let go on what the other has stopped.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gridiron.bundles.disk import storing
from gridiron.errors import BackupOfCluster, BackupUnderWay
from gridiron.membership import check_membership, marked_directories
from gridiron.settings import Settings


def check_alone(settings: Settings) -> None:
    """Raise BackupOfCluster for a node of a cluster, whose data are no whole without the others'.

    Raises ClusterTableMissing where the settings do not say that it is one, and the disk does.
    """
    if settings.cluster is not None:
        raise BackupOfCluster(settings.node_name, settings.cluster.name)
    check_membership(settings, *marked_directories(settings))


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
