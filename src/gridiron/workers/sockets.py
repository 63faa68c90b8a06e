"""The sockets of the data plane: their names, which there are, and the directory that they lie in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gridiron.errors import SettingsInvalid, StorageFailed
from gridiron.process.files import is_shared
from gridiron.settings import MAX_SOCKET_DIRECTORY

HAPROXY_SOCKET = "haproxy.sock"
POOL_SOCKET = "pool.sock"
QUARANTINE_MAP = "quarantine.map"
"""Beside the sockets: HAProxy reads it when it starts."""
FETCH_SOCKET = "manager/fetch.sock"
"""The manager's, in a directory of its own: the other is the workers', who may be another user."""

_CONTROL_SOCKET = re.compile(r"(?P<cell>cell-[0-9]+)\.control\.sock")


def data_socket(cell: str) -> str:
    """Name the socket that a cell answers callers on."""
    return f"{cell}.sock"


def control_socket(cell: str) -> str:
    """Name the socket that a cell takes orders on."""
    return f"{cell}.control.sock"


def fetch_socket(run_dir: Path) -> Path:
    """Say where the cells of a cluster's node ask the manager for a build that the disk lacks."""
    return run_dir / FETCH_SOCKET


def list_cells(run_dir: Path) -> list[str]:
    """Name the cells whose control sockets are there, whether or not they live, oldest first.

    None are where the directory is not. Raises StorageFailed when it cannot be read.
    """
    try:
        names = [entry.name for entry in run_dir.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageFailed("Reading", str(run_dir), error.strerror or str(error)) from error
    cells = [match["cell"] for name in names if (match := _CONTROL_SOCKET.fullmatch(name))]
    return sorted(cells, key=lambda cell: (len(cell), cell))


def ensure_run_dir(run_dir: Path) -> None:
    """Make the directory, for this user only: whoever reaches the sockets commands the data plane.

    See `ensure_own_dir`. Raises SettingsInvalid when the paths of sockets in it would be too long.
    """
    if len(os.fsencode(run_dir)) > MAX_SOCKET_DIRECTORY:
        problem = f"{run_dir} is longer than {MAX_SOCKET_DIRECTORY} bytes, too long for sockets in it"
        raise SettingsInvalid("run_dir", problem)
    ensure_own_dir(run_dir)


def ensure_own_dir(directory: Path) -> None:
    """Make a directory for this user only; one that is shared with a group (`is_shared`) stays so.

    Safe to repeat. Raises StorageFailed when it is another user's or cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.getuid():
            raise StorageFailed("Using", str(directory), "it belongs to another user")
        if not is_shared(directory):
            directory.chmod(0o700)
    except OSError as error:
        raise StorageFailed("Making", str(directory), error.strerror or str(error)) from error


def remove_sockets(run_dir: Path) -> None:
    """Remove the sockets that an earlier run left. Only the holder of the directory's lock may do that."""
    sockets = (*run_dir.glob("cell-*.sock"), *run_dir.glob(f"{HAPROXY_SOCKET}*"), run_dir / POOL_SOCKET)
    for socket in sockets:
        socket.unlink(missing_ok=True)
