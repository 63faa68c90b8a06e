"""Counts the durable steps of this process while a test asks for it, and kills a process at one of them."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

VARYING = (
    (re.compile(r"\bprobe-k\d+"), "probe"),  # each attempt has a name of its own
    (re.compile(r"\bdp_\w+"), "dp_*"),
    (re.compile(r"[0-9a-f]{16,}"), "*"),
    (re.compile(r"-\d{10,}"), "-*"),
    (re.compile(r"(?<=-)[a-z0-9_]{8}(?=$|\s)"), "*"),  # of tempfile
)
"""What is another one in each run, and what stands for it in a label."""


def plan_label(text: str) -> str:
    """Take out of a step's description what differs from run to run."""
    for pattern, stand_in in VARYING:
        text = pattern.sub(stand_in, text)
    return text


class Switch:
    """What the control file says, while there is one: every step of every thread asks here first.

    The file holds `run` (another one each time), and either `record`, the file that takes the points as
    lines, or `kill_at`, a point, and `pid`, the process to kill there. A point is the label of a step, with
    its number behind where the label comes more than once in a run; several in a row are one point.
    """

    def __init__(self, control: Path) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._run = ""
        self._seen: Counter[str] = Counter()
        self._last = ""

    def step(self, description: str, at_last: Callable[[], None] = lambda: None) -> None:
        """Say what is about to happen; where a kill is asked for there, do `at_last`, and kill."""
        orders = self._read()
        if orders is None:
            return
        with self._lock:
            point = self._count(orders["run"], plan_label(description))
            if point is not None and "record" in orders:
                with Path(orders["record"]).open("a") as recorded:
                    recorded.write(f"{point}\n")
            if point is not None and point == orders.get("kill_at"):
                # first: neither what is done at last nor the next manager must come here again
                self._control.rename(self._control.with_suffix(".sprung"))
                at_last()
                kill(orders["pid"])

    def _read(self) -> dict[str, Any] | None:
        try:
            orders: dict[str, Any] = json.loads(self._control.read_bytes())
        except FileNotFoundError:
            return None
        return orders

    def _count(self, run: str, label: str) -> str | None:
        if run != self._run:
            self._run, self._seen, self._last = run, Counter(), ""
        if label == self._last:
            return None
        self._last = label
        self._seen[label] += 1
        number = self._seen[label]
        return label if number == 1 else f"{label} #{number}"


def kill(pid: int) -> None:
    """Kill a process, and wait until it has ended where it is another one than this."""
    os.kill(pid, signal.SIGKILL)
    while is_running(pid):
        time.sleep(0.001)


def is_running(pid: int) -> bool:
    """Tell whether a process has not ended yet; one that nobody waited for so far has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
