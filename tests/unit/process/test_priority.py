from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridiron.process.priority import lower_priority


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as started:
        yield started
        started.kill()


def test_a_process_and_its_session_yield(process: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        lower_priority(process.pid, 10)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 10
    autogroup = Path(f"/proc/{process.pid}/autogroup")
    if autogroup.exists() and os.geteuid() == 0:  # others may be told to come back later
        assert autogroup.read_text().split()[-2:] == ["nice", "10"]


def test_every_thread_yields() -> None:
    code = (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(flush=True)\n"
        "time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        lower_priority(process.pid, 10)
        threads = [int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir()]
        priorities = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
        process.kill()
    assert priorities == [10, 10]


def test_a_process_that_has_ended_is_left_alone() -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    lower_priority(process.pid, 10)
