"""Takes every change of files below a directory as a step.

Python tells an audit hook of each change before it happens. Of these it does not tell: writing to a file that
is open, for which the moment right after the opening stands, with nothing written yet; syncing, which is
wrapped here; and where a relative path begins that `os.open` is given with a `dir_fd`. A file that never has
a name, such as that by which a disk is tried, outlives nobody: it is no step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from kill_points.switch import Switch

CHANGES: dict[str, tuple[str, tuple[tuple[int, int | None], ...]]] = {
    "os.chmod": ("chmod", ((0, 2),)),
    "os.chown": ("chown", ((0, 3),)),
    "os.link": ("link", ((0, 2), (1, 3))),
    "os.mkdir": ("mkdir", ((0, 2),)),
    "os.remove": ("remove", ((0, 1),)),
    "os.rename": ("rename", ((0, 2), (1, 3))),  # os.replace, too
    "os.rmdir": ("rmdir", ((0, 1),)),
    "os.symlink": ("symlink", ((1, 2),)),
    "os.truncate": ("truncate", ((0, None),)),
    "os.utime": ("utime", ((0, 3),)),
}
"""By audit event: what it is called, and where its paths stand, each with what it is relative to."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

MAKING, TAKING = {"os.mkdir", "os.symlink"}, {"os.remove", "os.rename", "os.rmdir"}
"""What fails, and so changes nothing, where there is something already; where there is nothing."""


def watch_disk(switch: Switch, root: str) -> None:
    """Tell the switch of every change below `root`, for as long as this process lives."""
    places = _Places(root)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES:
            verb, positions = CHANGES[event]
            paths = [places.find(arguments[at], arguments[of] if of else None) for at, of in positions]
            fails = event in MAKING | TAKING and os.path.lexists(paths[0]) is (event in MAKING)
            if any(places.has(path) for path in paths) and not fails:
                switch.step(f"{verb} {' -> '.join(places.name(path) for path in paths)}")
        elif event == "open" and not isinstance(arguments[0], int) and _writes(arguments[2]):
            path = places.find(arguments[0])
            if places.has(path):
                switch.step(f"write {places.name(path)}", partial(_leave_empty, path, arguments[2]))

    sys.addaudithook(hook)
    os.fsync = _synced(switch, places, os.fsync)  # type: ignore[assignment]
    os.fdatasync = _synced(switch, places, os.fdatasync)  # type: ignore[assignment]


class _Places:
    """Paths as audit events give them, and whether they are below one directory; as text, for speed."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/") + "/"

    def find(self, path: Any, directory: int | None = None) -> str:
        """Give the whole path of a file, of which there is a path or a descriptor."""
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115 - see the class
        start = os.getcwd() if directory in {None, -1} else os.readlink(f"/proc/self/fd/{directory}")  # noqa: PTH109, PTH115 - the same
        return os.path.join(start, os.fsdecode(path))  # noqa: PTH118 - the same

    def has(self, path: str) -> bool:
        """Tell whether a path is below the root."""
        return path.startswith(self._root)

    def name(self, path: str) -> str:
        """Give a path as it is in a label: relative to the root."""
        return path.removeprefix(self._root) if self.has(path) else "elsewhere"


def _synced(switch: Switch, places: _Places, sync: Callable[[Any], None]) -> Callable[[Any], None]:
    def tell_and_sync(file: Any) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        path = places.find(descriptor)
        if places.has(path) and os.fstat(descriptor).st_nlink:
            # files of one directory are synced in a row, and what is written outlives its process in any case
            directory = path if os.path.isdir(path) else os.path.dirname(path)  # noqa: PTH112, PTH120 - the same
            switch.step(f"sync {places.name(directory)}")
        sync(file)

    return tell_and_sync


def _writes(flags: int) -> bool:
    """Tell whether a file is opened that has a name, and to be written."""
    return bool(flags & WRITING) and flags & os.O_TMPFILE != os.O_TMPFILE


def _leave_empty(path: str, flags: int) -> None:
    """Leave what a process leaves that dies right after it has opened a file for writing."""
    with suppress(OSError):  # then it cannot be opened, and there is nothing to leave
        os.close(os.open(path, flags, 0o600))
