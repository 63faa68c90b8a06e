"""restatectl as a process: what it is asked, within which time, and what it says.

It ends well in some cases where it did nothing (`provision`), and where it found a part (`sql`): its output
tells.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from gridiron.errors import ClusterRejected, RestateUnavailable
from gridiron.restate.connection import cut

READ_LIMIT = timedelta(seconds=5)
"""How long a query may take. It takes 20 to 60 ms; a node that is cut off is waited for in vain."""

CHANGE_LIMIT = timedelta(seconds=30)
"""How long a change may take. Its own attempts end after 13 s each; it makes some."""

CONNECT_MILLISECONDS = 2000

ENVIRONMENT: Mapping[str, str] = {"NO_COLOR": "1"}
"""All of it: RESTATECTL_ADDRESS and RESTATECTL_TLS_… would have it ask others than we mean, and RUST_LOG
would have it print more. It needs no PATH and no HOME."""

PARTIAL = "(partial results)"
"""It says so of a query that some node did not answer."""

FAILED = "[ERR]"
"""It begins a line with this where it failed and ends well all the same."""

AWAY = (
    "unavailable",
    "transport error",
    "deadline",
    "timeout",
    "timed out",
    "unreachable",
    "connect error",
)
"""What it says of a cluster that did not answer, in lower case; anything else is a refusal."""

FRAME = " \t├└│─"
"""What it draws before a line of a reason."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    returncode: int
    output: bytes
    complaints: str


class Restatectl:
    """Runs restatectl against the node whose fabric is at `url`; `binary` is the program."""

    def __init__(self, url: str, binary: Path) -> None:
        self.url = url.rstrip("/")
        self._binary = binary

    async def query(self, sql: str) -> list[dict[str, Any]]:
        """Give the rows that this very node answers to a query; a column that is null is left out of its row.

        Raises RestateUnavailable: where there is no answer, and where it is one in part.
        """
        rows: list[dict[str, Any]] = await self._read("sql", "--json", "--", sql)
        return rows

    async def fetch_metadata(self, key: str) -> dict[str, Any]:
        """Give a value of the metadata, as the majority of its keepers has it. Raises RestateUnavailable."""
        value: dict[str, Any] = await self._read("metadata", "get", "--key", key)
        return value

    async def change(self, action: str, arguments: Sequence[str], limit: timedelta = CHANGE_LIMIT) -> None:
        """Change the cluster. `action` is what that is, for people: "drain node N2".

        Raises RestateUnavailable, after which it may have happened or not, and ClusterRejected.
        """
        ended = await self._run(("--yes", *arguments), limit)
        if ended.returncode or FAILED in ended.complaints or FAILED in ended.output.decode(errors="replace"):
            reason = parse_reason(ended)
            if is_away(ended):
                raise self.unavailable(reason)
            raise ClusterRejected(action, cut(reason))

    async def _read(self, *arguments: str) -> Any:  # noqa: ANN401 - of whatever form JSON has
        ended = await self._run(arguments, READ_LIMIT)
        if ended.returncode or PARTIAL in ended.complaints:
            raise self.unavailable(parse_reason(ended))
        try:
            return json.loads(ended.output)
        except ValueError as error:
            raise self.unavailable(f"restatectl's answer is not understood: {error}") from error

    def unavailable(self, reason: str) -> RestateUnavailable:
        """Make the error that says why nothing usable came from this node."""
        return RestateUnavailable(self.url, cut(reason))

    async def _run(self, arguments: Sequence[str], limit: timedelta) -> Ended:
        """Run it; it has ended when this returns or raises, however that happens."""
        own = (f"--address={self.url}", f"--connect-timeout={CONNECT_MILLISECONDS}")
        starting = asyncio.create_task(self._start((*own, *arguments)), name="start restatectl")
        try:
            async with asyncio.timeout(limit.total_seconds()):
                process = await asyncio.shield(starting)
                output, complaints = await process.communicate()
        except TimeoutError as error:
            raise self.unavailable(f"no answer to restatectl {arguments[0]} in time") from error
        except OSError as error:
            raise self.unavailable(f"restatectl cannot be started: {error}") from error
        finally:
            await _end(starting)
        return Ended(process.returncode or 0, output, complaints.decode(errors="replace"))

    async def _start(self, arguments: Sequence[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._binary,
            *arguments,
            env=ENVIRONMENT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )


async def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    """Kill a process that may still be starting, unless it has ended, and wait for that."""
    with suppress(OSError):  # it did not start, and who waited for it knows that
        process = await starting
        if process.returncode is None:
            process.kill()
            await process.communicate()


def parse_reason(ended: Ended) -> str:
    """Give the line in which it says why, without what it draws around it.

    That is the last one that says something; of an answer in part the one after the heading.
    """
    printed, complaints = _lines(ended.output.decode(errors="replace")), _lines(ended.complaints)
    headings = [index for index, line in enumerate(complaints[:-1]) if PARTIAL in line]
    if headings:
        return f"it answered in part: {complaints[headings[0] + 1]}"
    failed = [line for line in (*printed, *complaints) if line.startswith(FAILED)]
    said = failed or complaints or printed or [f"restatectl ended with {ended.returncode}"]
    return said[-1].removeprefix(FAILED).removeprefix(":").removeprefix("Error:").strip()


def _lines(text: str) -> list[str]:
    """Give the lines that say something."""
    return [line for each in text.splitlines() if (line := each.strip(FRAME))]


def is_away(ended: Ended) -> bool:
    """Tell whether it failed because the cluster did not answer, as far as it says."""
    said = (ended.complaints + ended.output.decode(errors="replace")).lower()
    return any(each in said for each in AWAY)
