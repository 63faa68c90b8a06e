from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gridiron.restate.nodelay import hurry
from tests.harness import free_port, wait_until

BECOMES = """
import os, sys
from datetime import timedelta
from gridiron.restate.nodelay import hurry
hurry({int(sys.argv[1])}, timedelta(seconds=float(sys.argv[2])))
os.execv(sys.executable, [sys.executable, "-c", sys.argv[3], sys.argv[1]])
"""

SERVES = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    accepted, _ = listener.accept()
    accepted.sendall(b"%d" % accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    accepted.close()
"""

DOES_NOTHING = "import time; time.sleep(60)"


@pytest.fixture
def port() -> int:
    return free_port()


@contextmanager
def running(program: str, port: int, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = (sys.executable, "-c", BECOMES, str(port), str(seconds), program)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(port: int) -> bytes | None:
    try:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            return connection.recv(8)
    except ConnectionRefusedError:
        return None


def test_what_it_becomes_sends_without_delay_and_has_no_child(port: int) -> None:
    with running(SERVES, port, 20) as process:
        wait_until(lambda: ask(port) == b"1", what="an accepted connection has the option")
        assert Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() == ""


def test_it_says_so_where_nobody_comes_to_listen(port: int) -> None:
    with running(DOES_NOTHING, port, 0.1) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
    assert "restate.answers_late" in line
    assert f"nobody listens at {port}" in line


def test_it_ends_with_the_process(port: int) -> None:
    with running("", port, 60) as process:
        assert process.communicate(timeout=20) == ("", None)  # which waits for the last who could write


def test_what_keeps_it_from_that_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fail)
    with capture_logs() as logs:
        hurry({8080})
    assert [(each["event"], each["reason"]) for each in logs] == [
        ("restate.answers_late", "Resource temporarily unavailable")
    ]
