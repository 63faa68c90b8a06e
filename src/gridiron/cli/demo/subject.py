"""The node that the demo tells its story about, and the command line as a user has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gridiron.errors import ComponentFailed, PortTaken
from gridiron.node import START_LIMIT, check_ports
from gridiron.settings import Settings, load_settings

READY = '"event": "node.ready"'
"""In the line that says so where a node logs in JSON."""

OFFSET_STEP, LAST_OFFSET = 100, 50_000
STOP_LIMIT_SECONDS = 15
COMMAND_LIMIT_SECONDS = 120


def choose_settings(data_dir: Path, first_offset: int = 0, **overrides: Any) -> Settings:  # noqa: ANN401 - fields
    """Give the settings of a node in `data_dir`, at the first offset from `first_offset` with all ports free.

    `overrides` are fields of Settings. Raises PortTaken when no offset is left.
    """
    offset = first_offset
    while True:
        settings = load_settings(data_dir=data_dir, port_offset=offset, **overrides)
        try:
            check_ports(settings)
        except PortTaken:
            if offset >= LAST_OFFSET:
                raise
            offset += OFFSET_STEP
        else:
            return settings


class Subject:
    """A node as `gridiron up` runs it, and the other verbs against it."""

    def __init__(self, settings: Settings, work: Path) -> None:
        self.settings = settings
        self._environment = {**os.environ, **settings.environment()}
        self._log = work / f"{settings.data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id of `gridiron up`; None while it does not run."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        """What the node has printed so far, over all its starts."""
        return self._log.read_text(errors="replace")

    def start(self) -> str:
        """Start the node and wait until it serves; give its `ready` line. Raises ComponentFailed."""
        with self._log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gridiron", "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_LIMIT.total_seconds()
        while time.monotonic() < deadline and self._process.poll() is None:
            said = self._log.read_bytes()[begin:].decode(errors="replace")
            ready = [line for line in said.splitlines() if line.startswith("ready ") or READY in line]
            if ready:
                return ready[0]
            time.sleep(0.05)
        raise ComponentFailed("gridiron up", f"not ready; its output is in {self._log}")

    def stop(self) -> None:
        """Stop the node, if it runs, as Ctrl-C does. Safe to repeat."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait(self) -> int:
        """Wait until the node has ended by itself; give its return code. Raises when it does not."""
        if self._process is None:
            raise ComponentFailed("gridiron up", "it was not started")
        returncode = self._process.wait(STOP_LIMIT_SECONDS)
        self._process = None
        return returncode

    def run(self, *arguments: str) -> Any:  # noqa: ANN401 - each verb has a shape of its own
        """Run a verb with `--json` and give what it printed. Raises ComponentFailed when it fails."""
        completed = subprocess.run(
            [sys.executable, "-P", "-m", "gridiron", *arguments, "--json"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        if completed.returncode != 0:
            raise ComponentFailed(f"gridiron {' '.join(arguments)}", completed.stderr or completed.stdout)
        return json.loads(completed.stdout)
