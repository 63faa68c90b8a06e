"""Stop a process for a moment, so that what it writes stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from gridiron.backup import guard as guard_program
from gridiron.errors import BackupFailed


@dataclass(slots=True)
class Pause:
    """A pause. When it is over, it says how long it was; None where the process went on meanwhile."""

    lasted: timedelta | None = None


@contextmanager
def paused(pid: int | None) -> Iterator[Pause]:
    """Stop a process for the time of the block; None stops nothing.

    It goes on when the block ends, when this process ends however that happens, or after ten seconds: another
    process sees to it (`gridiron.backup.guard`). Only where both are killed at once does it stay stopped,
    until somebody sends it SIGCONT. Raises BackupFailed where it may not be stopped, or is gone.
    """
    if pid is None:
        yield Pause(timedelta(0))
        return
    try:
        pidfd = os.pidfd_open(pid)  # names this very process, also when its number is given to another
    except OSError as error:
        raise BackupFailed(f"process {pid} cannot be stopped for a moment ({error.strerror})") from error
    try:
        with _guard(pid, pidfd) as pause:
            yield pause
    finally:
        with suppress(OSError):  # should the guard have been killed
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)
        os.close(pidfd)


@contextmanager
def _guard(pid: int, pidfd: int) -> Iterator[Pause]:
    # without site-packages, as the other may stand still while it starts
    command = [sys.executable, "-I", "-S", guard_program.__file__, str(pid), str(pidfd)]
    # in a session of its own, so that what ends this one's process group does not end it
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[pidfd],
        start_new_session=True,
        text=True,
    ) as guard:
        pause = Pause()
        if guard.stdout is None or guard.stdin is None:
            raise RuntimeError("the guard has no pipes")
        if guard.stdout.readline() != "stopped\n":
            raise BackupFailed(f"process {pid} cannot be stopped for a moment: it is another user's, or gone")
        try:
            yield pause
        finally:
            guard.stdin.close()
            seconds = guard.stdout.read()
            pause.lasted = timedelta(seconds=float(seconds)) if seconds else None
