from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from gridiron.errors import ComponentFailed
from gridiron.process.child import Command, start_child
from gridiron.process.lines import LINE_LIMIT
from gridiron.testing.processes import descendants
from tests.harness import alive, wait_until

SLEEP = "import time; time.sleep(60)"


def python(code: str) -> Command:
    return Command("child", (sys.executable, "-c", code))


async def test_the_output_comes_line_by_line_and_the_end_with_its_code() -> None:
    lines: list[str] = []
    child = await start_child(
        python("import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"), lines.append
    )
    assert (await child.wait(), sorted(lines), child.returncode) == (3, ["a", "b"], 3)


async def test_a_line_without_an_end_arrives_in_pieces() -> None:
    pieces: list[str] = []
    child = await start_child(python(f"print('a' * {3 * LINE_LIMIT})"), pieces.append)
    await child.wait()
    assert "".join(pieces) == "a" * 3 * LINE_LIMIT


async def test_what_ignores_sigterm_is_killed_after_the_grace() -> None:
    code = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {SLEEP}"
    )
    ready = asyncio.Event()
    child = await start_child(python(code), lambda _: ready.set())
    await ready.wait()
    assert await child.stop(timedelta(milliseconds=100)) == -signal.SIGKILL
    assert await child.stop(timedelta(0)) == -signal.SIGKILL


async def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(ComponentFailed, match="child did not start"):
        await start_child(Command("child", ("/does/not/exist",)), print)


async def test_nothing_is_left_when_the_start_is_cancelled() -> None:
    before = set(descendants(os.getpid()))
    for turns in range(6):
        starting = asyncio.create_task(start_child(python(SLEEP), print))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert not alive(sorted(set(descendants(os.getpid())) - before))


def test_a_child_dies_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import asyncio, pathlib, sys, time\n"
        "from gridiron.process.child import Command, start_child\n"
        "async def main():\n"
        f"    child = await start_child(Command('c', (sys.executable, '-c', {SLEEP!r})), print)\n"
        f"    pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    child = int(wait_until(lambda: pid_file.exists() and pid_file.read_text()))
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    wait_until(lambda: not alive([child]), 5)


async def test_output_that_trickles_is_read_a_few_times_a_second() -> None:
    looks: list[float] = []
    code = "import time\nfor number in range(200):\n    print(number, flush=True)\n    time.sleep(0.005)"
    child = await start_child(python(code), lambda _: looks.append(asyncio.get_running_loop().time()))
    await child.wait()
    assert len(looks) == 200
    pauses = [later - earlier for earlier, later in pairwise(looks) if later - earlier > 0.02]
    assert len(pauses) <= (looks[-1] - looks[0]) / 0.05  # a look every 50 ms, not one for each line


async def test_a_flood_is_not_held_up() -> None:
    lines = 0

    def count(_: str) -> None:
        nonlocal lines
        lines += 1

    code = "import os\nfor _ in range(800):\n    os.write(1, b'x' * 262144)\n    os.write(1, b'\\n')"
    child = await start_child(python(code), count)
    async with asyncio.timeout(30):  # 200 MB; at one look every 50 ms it would take 160 s
        await child.wait()
    assert lines > 0
