"""Processes that yield the processors to others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def lower_priority(pid: int, niceness: int) -> None:
    """Make a process yield to others: a niceness of 10 gives it a ninth of what each of them gets.

    All of its threads, as Linux keeps a niceness for each (setpriority(2)); and its session, as Linux weighs
    sessions before processes where no control group does (sched(7), "The autogroup feature"). Safe to repeat.
    Nothing happens where the process has ended.
    """
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    with suppress(FileNotFoundError, ProcessLookupError):  # ended, or no Linux
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # that thread has ended
                os.setpriority(os.PRIO_PROCESS, int(thread.name), niceness)
    with suppress(OSError):  # such as EAGAIN: the kernel lets few such changes through unless it is root's
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))
