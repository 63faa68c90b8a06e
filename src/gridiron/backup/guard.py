"""A process that keeps another one stopped, for as long as its parent wants and never longer.

Run as `python guard.py PID PIDFD`, with nothing but the standard library. It stops the process, writes
`stopped` when each of its threads is, and lets it go on when its standard input ends: its parent has what it
wanted, or has died. Then it writes for how many seconds the process was stopped; nothing where it was not so
all the while. The signals that a terminal or a supervisor ends the parent with do not end it.
"""

from __future__ import annotations

import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

LIMIT_SECONDS = 10
"""How long the process stays stopped at the most, whatever the parent does: suspended in a shell, say."""

STOP_LIMIT_SECONDS = 5
"""How long a thread may take to stop: one that waits for the disk does so first."""

_LOOK_SECONDS = 0.0005
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


def guard(pid: int, pidfd: int) -> float | None:
    """Do what the module says; give the seconds, None where the process was not stopped all the while."""
    try:
        began = time.monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        while not is_stopped(pid):
            if time.monotonic() - began > STOP_LIMIT_SECONDS:
                return None
            time.sleep(_LOOK_SECONDS)
        _say("stopped")
        ended, _, _ = select.select([sys.stdin], [], [], LIMIT_SECONDS)
        return time.monotonic() - began if ended and is_stopped(pid) else None
    except OSError:  # the process or the parent has ended, or it is another user's
        return None
    finally:
        with suppress(OSError):  # the same
            signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Tell whether each thread of a process is stopped."""
    return all(_state_of(thread) == "T" for thread in Path(f"/proc/{pid}/task").iterdir())


def _state_of(thread: Path) -> str:
    try:
        return (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return "T"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Guard the process that the arguments name."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    seconds = guard(int(sys.argv[1]), int(sys.argv[2]))
    if seconds is not None:
        _say(str(seconds))


if __name__ == "__main__":
    main()
