"""Tests leave no process behind, even when they are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.guard import MARK, find_marked
from tests.harness import wait_until

TESTS = """
import os, subprocess, sys, time
from tests.guard import MARK, guarded

with guarded():
    subprocess.Popen([sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '1000'])"])
    print(os.environ[MARK], flush=True)
    time.sleep(1000)
"""


def test_what_tests_have_started_ends_when_they_are_killed() -> None:
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    with subprocess.Popen(
        [sys.executable, "-c", TESTS],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        mark = tests.stdout.readline().strip()
        wait_until(lambda: len(find_marked(mark)) == 2, what="both have started")
        tests.kill()
    wait_until(lambda: not find_marked(mark), what="both have ended")
