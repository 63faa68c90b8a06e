"""Nodes that tests start, and that leave nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.testing.processes import descendants
from tests.harness import alive

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of the processes this is that run tests side by side."""

OFFSETS = iter(range(11_000 + 3 * WORKER, 40_000, 100))
"""Of the ports of nodes. Up to three such processes never meet at one: the last digits of 5122, 8080, 8081,
9070 and 9080 differ by other numbers than 3 and 6."""


class Nodes:
    """Starts nodes; stops them and looks for what they left behind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._subjects: list[Subject] = []

    def make(self, **overrides: Any) -> Subject:
        fast = {"sweep_seconds": 0.5, "drain_grace_seconds": 0.5, "cells": 2}
        directory = self._directory / f"node{len(self._subjects)}"
        settings = choose_settings(directory, next(OFFSETS), **{**fast, **overrides})
        subject = Subject(settings, self._directory)
        self._subjects.append(subject)
        subject.start()
        return subject

    def restart(self, subject: Subject, **changes: Any) -> Subject:
        """Stop a node, and start one with some other settings on what it left."""
        subject.stop()
        again = Subject(subject.settings.model_copy(update=changes), self._directory)
        self._subjects.append(again)
        again.start()
        return again

    def stop(self) -> None:
        left = []
        for subject in self._subjects:
            processes = descendants(subject.pid) if subject.pid else []
            subject.stop()
            left += alive(processes)
        for process in left:
            os.kill(int(process.split()[0]), signal.SIGKILL)
        assert not left
