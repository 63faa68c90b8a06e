"""A process that is stopped for a moment goes on, whatever happens to the one that stopped it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridiron.backup.pause import paused
from gridiron.errors import BackupFailed
from tests.harness import wait_until

PAUSING = """
import os, sys
from gridiron.backup.pause import paused
with paused(int(sys.argv[1])):
    print("paused", flush=True)
    sys.stdin.read()
"""


def state_of(pid: int) -> str:
    """As Linux has it: S sleeps, T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        wait_until(lambda: state_of(process.pid) == "S")
        yield process.pid
        process.kill()


@pytest.fixture
def pauser(sleeper: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-P", "-c", PAUSING, str(sleeper)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"paused\n"
        assert state_of(sleeper) == "T"
        yield process


def guards_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_process_is_stopped_for_the_time_of_the_block(sleeper: int) -> None:
    with paused(sleeper) as pause:
        assert state_of(sleeper) == "T"
        assert pause.lasted is None
    assert state_of(sleeper) == "S"
    assert pause.lasted is not None


def test_nothing_is_stopped_where_there_is_nobody() -> None:
    with paused(None) as pause:
        pass
    assert pause.lasted is not None


def test_a_process_that_went_on_meanwhile_is_told(sleeper: int) -> None:
    with paused(sleeper) as pause:
        os.kill(sleeper, signal.SIGCONT)
        wait_until(lambda: state_of(sleeper) == "S")
    assert pause.lasted is None


def test_a_process_that_is_gone_cannot_be_stopped() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        with pytest.raises(BackupFailed), paused(process.pid):
            pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_goes_on_when_whoever_stopped_it_is_ended_with_its_group(
    number: signal.Signals, sleeper: int, pauser: subprocess.Popen[bytes]
) -> None:
    os.killpg(pauser.pid, number)
    for guard in guards_of(pauser.pid) if number is not signal.SIGKILL else ():
        os.kill(guard, number)  # as a supervisor does, which ends all of a control group
    pauser.wait()
    wait_until(lambda: state_of(sleeper) == "S", 5)


def test_it_goes_on_when_its_guard_is_killed(sleeper: int, pauser: subprocess.Popen[bytes]) -> None:
    (guard,) = guards_of(pauser.pid)
    os.kill(guard, signal.SIGKILL)
    assert pauser.stdin is not None
    pauser.stdin.close()
    pauser.wait()
    assert state_of(sleeper) == "S"
