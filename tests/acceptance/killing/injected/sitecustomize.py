"""Lets a test kill a node's manager at any durable step.

A test puts this directory on the PYTHONPATH of a node, so that Python imports this file at the start of each
of its processes. Nothing in the package knows of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONTROL = os.environ.get("KILL_POINTS_CONTROL")  # the file that `Trap` of tests/acceptance/killing writes

if CONTROL and sys.orig_argv[-1] == "manager":
    from kill_points.disk import watch_disk
    from kill_points.http import watch_http
    from kill_points.switch import Switch

    switch = Switch(Path(CONTROL))
    watch_disk(switch, os.environ["GRIDIRON_DATA_DIR"])
    watch_http(switch)

if CONTROL and sys.orig_argv[-1] == "up":
    from datetime import timedelta

    from gridiron.process.backoff import Backoff

    # who is killed a hundred times is started again at once each time; unit tests hold the delays
    Backoff.delay = lambda _self, _failures: timedelta(0)  # type: ignore[assignment, method-assign]
