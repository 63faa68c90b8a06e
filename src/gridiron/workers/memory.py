"""Memory: what a cell uses, and how much it may."""

from __future__ import annotations

import os
from pathlib import Path

MEBIBYTE = 1024 * 1024

LEAST_CEILING = 256 * MEBIBYTE
"""A cell starts at 60 MB and holds builds of 3.4 MB each: less than this would replace it again and again."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_EVENTS = Path("/proc/vmstat")


def fetch_memory(pid: int) -> int | None:
    """Give the bytes that a process has in memory (its resident set); None when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return None


def fetch_machine_memory() -> int:
    """Give the bytes that this machine has, or the container where that has fewer."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    try:
        return min(total, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return total


def plan_ceiling(machine: int, cells: int) -> int:
    """Say how many bytes each of so many cells may take: half of the machine for all of them together.

    The other half is Restate's, HAProxy's, the manager's and that of a cell that is being replaced.
    """
    return max(machine // 2 // cells, LEAST_CEILING)


def fetch_oom_kills() -> int | None:
    """Count the processes that the kernel has killed since it started because memory had run out.

    Those that died of their container's limit are among them. None where the kernel does not say.
    """
    try:
        return parse_oom_kills(_EVENTS.read_text())
    except OSError:
        return None


def parse_oom_kills(events: str) -> int | None:
    """Find the count in the text of /proc/vmstat; None where it is not."""
    return next((int(line.split()[1]) for line in events.splitlines() if line.startswith("oom_kill ")), None)
