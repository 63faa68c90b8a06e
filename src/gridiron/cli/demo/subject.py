"""The node that the demo tells its story about, and the command line as a user has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridiron.errors import ComponentFailed, PortTaken
from gridiron.node import START_LIMIT, check_ports
from gridiron.settings import Settings, load_settings

OFFSET_STEP = 100
STOP_LIMIT_SECONDS = 15
COMMAND_LIMIT_SECONDS = 120
LOG = "node.log"

HASTE: Mapping[str, float] = {"sweep_seconds": 1.0, "drain_grace_seconds": 1.0}
"""Settings of the demo's node: it removes a drained version after a second instead of a minute."""


def choose_settings(data_dir: Path, port_offset: int | None) -> Settings:
    """Give the settings of a node in `data_dir`, on its usual ports or, where one is taken, on higher ones.

    Raises PortTaken when `port_offset` is given and a port is taken there.
    """
    offset = port_offset or 0
    while True:
        settings = load_settings(data_dir=data_dir, port_offset=offset, **HASTE)
        try:
            check_ports(settings)
        except PortTaken:
            if port_offset is not None or offset > 40_000:
                raise
            offset += OFFSET_STEP
        else:
            return settings


class Subject:
    """A node as `gridiron up` runs it, and the other verbs against it."""

    def __init__(self, settings: Settings, work: Path) -> None:
        self.settings = settings
        self._environment = {**os.environ, **settings.environment()}
        self._log = work / LOG
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the node and wait until it serves; give its `ready` line. Raises ComponentFailed."""
        with self._log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gridiron", "up"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_LIMIT.total_seconds()
        while time.monotonic() < deadline and self._process.poll() is None:
            said = self._log.read_bytes()[begin:].decode(errors="replace")
            ready = [line for line in said.splitlines() if line.startswith("ready ")]
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

    def run(self, *arguments: str) -> Any:  # noqa: ANN401 - each verb has a shape of its own
        """Run a verb with `--json` and give what it printed. Raises ComponentFailed when it fails."""
        completed = subprocess.run(
            [sys.executable, "-m", "gridiron", *arguments, "--json"],
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
