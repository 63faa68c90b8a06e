"""One child process: started so that it cannot outlive this process, its output read line by line."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gridiron.errors import ComponentFailed
from gridiron.process.lines import LineSplitter
from gridiron.process.priority import lower_priority

PAUSE = timedelta(milliseconds=50)
"""How long output is left alone after a look at it: waking up for each line costs more than the line."""

MUCH = 32 * 1024
"""Bytes at one look, half of what a pipe holds: who writes so much must not be held up by a full pipe."""

FLOOD = timedelta(seconds=1)
"""How long there is no pause after so much."""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: data, so that it can be looked at before it is started."""

    name: str  # as people know it: "restate", "cell-3"
    arguments: tuple[str, ...]  # the program first
    cwd: Path | None = None  # None: this process's
    environment: Mapping[str, str] | None = None  # None: this process's
    niceness: int = 0  # see `lower_priority`


class Child:
    """A running process. `start_child` makes one."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, output: _Output) -> None:
        self.name = name
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end and for its last line of output; give its return code. Safe to repeat."""
        returncode = await self._process.wait()
        await self._output.ended.wait()
        return returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, grace: timedelta) -> int:
        """Ask it to end, kill it when it has not after `grace`; give its return code. Safe to repeat."""
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace.total_seconds()):
                return await self.wait()
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            return await self.wait()


async def start_child(command: Command, on_line: Callable[[str], None]) -> Child:
    """Start a process in a session of its own; `on_line` gets each line of its output, without its end.

    A flood of output is cut (`LineSplitter`).

    Having a session of its own, it does not get the terminal's Ctrl-C: whoever started it stops it in order.
    On Linux the kernel kills it when this process dies, however that happens. Nothing is left of it when this
    is cancelled. Raises ComponentFailed when it cannot be started.
    """
    output = _Output(LineSplitter(on_line))
    starting = asyncio.create_task(_spawn(command, output), name=f"start {command.name}")
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:  # it may be there already, and nobody else knows of it
        process = await starting
        process.kill()
        await process.wait()
        raise
    except OSError as error:
        raise ComponentFailed(command.name, str(error)) from error
    if command.niceness:
        lower_priority(process.pid, command.niceness)
    return Child(command.name, process, output)


class _Output(asyncio.Protocol):
    """The reading end of a child's output."""

    def __init__(self, splitter: LineSplitter) -> None:
        self.ended = asyncio.Event()
        self._splitter = splitter
        self._transport: asyncio.ReadTransport | None = None
        self._flooded_at = -FLOOD.total_seconds()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.ReadTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._splitter.feed(data)
        loop = asyncio.get_running_loop()
        if len(data) >= MUCH:
            self._flooded_at = loop.time()
        elif self._transport is not None and loop.time() - self._flooded_at > FLOOD.total_seconds():
            self._transport.pause_reading()
            loop.call_later(PAUSE.total_seconds(), self._transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio calls it so
        self._splitter.end()
        self.ended.set()


async def _spawn(command: Command, output: _Output) -> asyncio.subprocess.Process:
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            cwd=command.cwd,
            env=command.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()) if _libc else None,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)  # the child's is the last one: when that closes, the output has ended
    await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(reading, "rb", buffering=0))
    return process


def _die_with(parent: int) -> Callable[[], None]:
    """Make the function that runs in the child before the program: tie its life to that of `parent`.

    SIGHUP is ignored until the program asks for it: it would end one that is starting. Between fork and exec
    only async-signal-safe things may happen; sigaction, prctl, getppid and _exit are.
    """

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return tie
