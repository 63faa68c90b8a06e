"""Processes that the benches start, and what Linux says of those that they measure."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_SECONDS = 15
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    arguments: Sequence[str | Path],
    output: Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program whose input stays open; its output goes into one file, its errors into one beside that.

    It is ended on the way out, whatever happened.
    """
    with output.open("a") as out, errors_of(output).open("a") as errors:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=errors,
            text=True,
            cwd=cwd,
            env=environment,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    try:
        yield process
    finally:
        end(process)


def errors_of(output: Path) -> Path:
    """Say where the errors of a program go whose output goes into a file."""
    return output.with_suffix(".errors")


def end(process: subprocess.Popen[str]) -> None:
    """End a process, by force where it takes too long. Safe to repeat."""
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def fetch_cpu_seconds(pids: Iterable[int]) -> float:
    """Add up the processor time that processes have used, in user and kernel mode."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS_PER_SECOND


def fetch_ended_cpu_seconds(pids: Iterable[int]) -> float:
    """Add up the processor time that the children of processes have used which have ended by now."""
    return sum(sum(_stat_fields(pid)[13:15]) for pid in pids) / _TICKS_PER_SECOND


def fetch_memory(pids: Iterable[int]) -> int:
    """Add up the bytes that processes have in memory, each shared page by its share (PSS)."""
    return sum(_proportional_set_size(pid) for pid in pids)


class PeakMemory:
    """The most that a process has had in memory since this was made (RSS, in bytes)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # Linux: the peak begins anew
        self.begin = self.fetch_peak()  # what it is now

    def fetch_peak(self) -> int:
        """Say how much that is."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise ValueError(f"/proc/{self._pid}/status says no VmHWM")


def _cpu_ticks(pid: int) -> int:
    return sum(_stat_fields(pid)[11:13])


def _stat_fields(pid: int) -> list[int]:
    """Give the numbers of a process's `stat` behind its state, which is 0 here.

    User time is the 14th field of all, kernel time the 15th; the two behind them are of ended children.
    """
    # the name in parentheses may hold anything
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return [0, *map(int, fields[1:])]


def _proportional_set_size(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup says no PSS")
