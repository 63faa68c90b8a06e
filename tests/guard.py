"""Ends what tests have started as soon as their process has ended, however that came about.

Fixtures end what they started. Who interrupts the tests side by side has their processes killed after some
seconds, in the middle of that; then this program, which they have started, does what is left to do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = "STARTED_BY_TESTS"
"""A variable that every process inherits from the tests. It is no setting: another prefix."""

ROUNDS, PAUSE_SECONDS = 100, 0.1
"""Who is killed may just have started somebody, or be started again by somebody: so look again."""


@contextmanager
def guarded() -> Iterator[None]:
    """Mark what is started from here on, and have it ended when this block or this process ends."""
    mark = uuid.uuid4().hex
    guard = subprocess.Popen(
        [sys.executable, __file__, mark],
        stdin=subprocess.PIPE,  # at its end this process has ended
        start_new_session=True,  # Ctrl-C is not for it
    )
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        guard.communicate()


def end_marked(mark: str) -> None:
    """Kill all processes with this mark until there are none."""
    for _ in range(ROUNDS):
        marked = find_marked(mark)
        if not marked:
            return
        for pid in marked:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(PAUSE_SECONDS)


def find_marked(mark: str) -> list[int]:
    """Find the processes that were started with this mark, or by one that was."""
    wanted = f"{MARK}={mark}".encode()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if wanted in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended, or another user's
        return []


if __name__ == "__main__":
    sys.stdin.read()
    end_marked(sys.argv[1])
