"""Calls at a constant rate, whatever became of those before: how long each took from when it was due.

Callers that wait for their answers would call less while nothing answers, and so would not see that. It runs
as a process of its own, so that what a measure does meanwhile does not delay it. Its input's end ends it, and
it prints what it saw.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.processes import errors_of, running
from bench.wrk import Calls, run_wrk

CALL_LIMIT_SECONDS = 60
SHARE, CALLERS = 0.4, 8


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    due: float  # of time.monotonic(), which all processes share
    seconds: float  # from then to its answer, or to its failure
    answer: str | None  # of the handler, a text
    error: str | None

    @property
    def answered(self) -> float:
        """When its answer came."""
        return self.due + self.seconds


@dataclass
class Load:
    """What is being called; `calls` is filled when the load has ended, in the order of their being due."""

    rate: float
    calls: list[Call] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[Call]:
        """Pick the calls that were due in a window."""
        return [call for call in self.calls if begin <= call.due < end]


def choose_rate(session: Session, calls: Calls) -> float:
    """Find what can be called without a queue: a share of the calls a second that some callers reach."""
    run_wrk(calls, CALLERS, seconds=1)
    return SHARE * run_wrk(calls, CALLERS, session.choose(full=5, quick=1)).rate


@contextmanager
def constant_load(session: Session, calls: Calls, rate: float) -> Iterator[Load]:
    """Call a handler through the ingress, so often a second, for as long as the context is open.

    What it answers is for the caller to check: see `failures_of`.
    """
    load = Load(rate)
    path = f"{calls.service}/{calls.handler}"
    arguments = (sys.executable, "-m", "bench.caller", str(calls.port), path, str(rate))
    output = session.work / "calls.json"
    output.unlink(missing_ok=True)
    with running(arguments, output, cwd=Path(__file__).parents[1]) as process:
        yield load
        try:
            process.communicate(timeout=CALL_LIMIT_SECONDS * 2)  # closes its input
        except subprocess.TimeoutExpired as error:
            raise BenchFailed("the caller did not end") from error
        if process.returncode != 0:
            raise BenchFailed(f"the caller failed: {errors_of(output).read_text()}")
        load.calls = [Call(**call) for call in json.loads(output.read_bytes())]


def failures_of(calls: Sequence[Call], expected: Collection[str]) -> list[str]:
    """Say of each call that failed, or was answered by a version that it could not be, what came."""
    return [
        call.error or f"answered {call.answer}"
        for call in calls
        if call.error is not None or call.answer not in expected
    ]


def longest_gap(calls: Sequence[Call], begin: float, end: float) -> float:
    """Give the longest time without an answer in a window, in seconds."""
    answered = sorted(call.answered for call in calls if begin <= call.answered <= end)
    times = [begin, *answered, end]
    return max(later - earlier for earlier, later in pairwise(times))


class Connection:
    """A connection that carries one call after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        self._reader = reader
        self._writer = writer
        self._request = (
            f"POST /{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            "content-length: 4\r\n\r\nnull"
        ).encode()

    async def call(self) -> tuple[int, bytes]:
        """Make one call; give the status and the body of its answer."""
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        status, _, fields = head.partition("\r\n")
        length = next(line for line in fields.splitlines() if line.startswith("content-length:"))
        return int(status.split()[1]), await self._reader.readexactly(int(length.partition(":")[2]))

    def close(self) -> None:
        """Close it."""
        self._writer.close()


class Caller:
    """Calls one handler. Connections are kept, and there are as many as calls under way."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path
        self._idle: list[Connection] = []
        self.calls: list[Call] = []

    async def call(self, due: float) -> None:
        """Make a call that was due at a time of the loop's clock, and note what came of it."""
        answer, error = None, None
        try:
            async with asyncio.timeout(CALL_LIMIT_SECONDS):
                status, body = await self._call()
            if status == 200:
                answer = json.loads(body)
            else:
                error = f"{status} {body.decode(errors='replace')}"
        except (OSError, EOFError, TimeoutError) as failure:
            error = repr(failure)
        self.calls.append(Call(due, time.monotonic() - due, answer, error))

    async def _call(self) -> tuple[int, bytes]:
        if self._idle:
            connection = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            connection = Connection(reader, writer, self._path)
        try:
            answer = await connection.call()
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer


async def call_at(rate: float, caller: Caller) -> None:
    """Call so often a second until the input ends, and wait for the last answers."""
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    begin = time.monotonic()
    number = 0
    async with asyncio.TaskGroup() as calls:
        while not ended.done():
            due = begin + number / rate
            await asyncio.sleep(due - time.monotonic())
            calls.create_task(caller.call(due))
            number += 1


def main() -> None:
    """Call until the input ends; print what came, one object for each call."""
    port, path, rate = sys.argv[1:]
    caller = Caller(int(port), path)
    asyncio.run(call_at(float(rate), caller))
    print(json.dumps([asdict(call) for call in sorted(caller.calls, key=lambda call: call.due)]))


if __name__ == "__main__":
    main()
