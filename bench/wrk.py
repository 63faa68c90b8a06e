"""wrk: callers that each call again when they have their answer. It costs little, and checks every answer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import BenchFailed

SCRIPT = Path(__file__).with_name("wrk.lua")
MEND = "wrk is missing, which makes the load: install Debian's package wrk (apt-get install wrk)."
SPARE_SECONDS = 60


@dataclass(frozen=True)
class Calls:
    """What to call, and what it must answer."""

    port: int  # of Restate's ingress, on loopback
    service: str
    handler: str
    answer: str  # of the handler, a text


@dataclass(frozen=True)
class Requests:
    """What to ask for, and what every answer must be."""

    url: str
    answer: str  # the body
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """What came of calling for a while."""

    calls: int
    seconds: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


def find_wrk() -> str:
    """Give the path of wrk. Raises BenchFailed, saying what to install."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchFailed(MEND)
    return wrk


def run_wrk(calls: Calls, callers: int, seconds: int) -> Window:
    """Call from so many callers for so many seconds. Raises BenchFailed for any wrong answer."""
    url = f"http://127.0.0.1:{calls.port}/{calls.service}/{calls.handler}"
    return run_requests(Requests(url, json.dumps(calls.answer)), callers, seconds)


def run_requests(requests: Requests, callers: int, seconds: int) -> Window:
    """Ask from so many callers for so many seconds. Raises BenchFailed for any wrong answer."""
    headers = [part for name, value in requests.headers.items() for part in ("-H", f"{name}: {value}")]
    arguments = (find_wrk(), "-t1", f"-c{callers}", f"-d{seconds}s", "--timeout", "30s", "-s", SCRIPT)
    environment = {
        **os.environ,
        "BODY": "null",
        "EXPECTED": requests.answer,
        "STATUS": str(requests.status),
    }
    done = subprocess.run(
        [*arguments, *headers, requests.url],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + SPARE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise BenchFailed(f"wrk failed: {done.stderr or done.stdout}")
    said = json.loads(done.stdout.splitlines()[-1])
    if said["failed"] or not said["calls"]:
        raise BenchFailed(f"{said['failed']} of {said['calls']} calls of {requests.url} failed")
    return Window(said["calls"], said["seconds"])
