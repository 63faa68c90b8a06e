"""A manager that is told to end does so, whatever holds one of its threads."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import threading
from datetime import timedelta
from gridiron.manager import stopping

stopping.END_LIMIT = timedelta(seconds=0.1)
stopping.end_in_time()
threading.Thread(target=threading.Event().wait).start()  # as in a resolver that does not answer
"""


def test_a_thread_that_nothing_can_end_does_not_keep_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "manager.cut_off" in ended.stdout
