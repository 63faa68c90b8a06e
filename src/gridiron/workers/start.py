"""Starting a component of the data plane: not started until it serves."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from gridiron.errors import ComponentFailed
from gridiron.process.child import Child, Command, start_child

START_LIMIT = timedelta(seconds=15)
"""How long a component may take until it serves; 0.1 s is usual, so even a loaded machine keeps it."""

PROBE_INTERVAL = timedelta(milliseconds=20)
LAST_LINES = 20
"""Lines of its output that the error holds when it does not start."""


async def start_serving(
    command: Command, on_line: Callable[[str], None], serves: Callable[[], Awaitable[bool]]
) -> Child:
    """Start a process and wait until `serves` says yes; `on_line` gets each line of its output.

    Raises ComponentFailed, with the last lines, when it ends or the limit passes before that. Then, and when
    this is cancelled, nothing is left running.
    """
    lines: deque[str] = deque(maxlen=LAST_LINES)

    def note(line: str) -> None:
        lines.append(line)
        on_line(line)

    child = await start_child(command, note)
    started = False
    try:
        async with asyncio.timeout(START_LIMIT.total_seconds()):
            started = await _wait_until_serving(child, serves)
    except TimeoutError as error:
        reason = f"it does not serve after {START_LIMIT.total_seconds():.0f} s"
        raise ComponentFailed(command.name, reason + quote_lines(lines)) from error
    finally:
        if not started:
            await child.stop(timedelta(0))
    if not started:
        raise ComponentFailed(command.name, describe_end(await child.wait(), lines))
    return child


async def _wait_until_serving(child: Child, serves: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until a process serves; False when it ended before."""
    while child.returncode is None:
        if await serves():
            return True
        await asyncio.sleep(PROBE_INTERVAL.total_seconds())
    return False


def describe_end(returncode: int, lines: Sequence[str] = ()) -> str:
    """Say how a process ended, with its last lines where they are given."""
    how = signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
    return f"it ended ({how}){quote_lines(lines)}"


def quote_lines(lines: Sequence[str]) -> str:
    """Put lines of output behind a sentence."""
    return "".join(f"\n  {line}" for line in lines)
