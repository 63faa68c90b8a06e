"""HAProxy's admin socket: one command a connection, its answer parsed by pure functions."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gridiron.errors import ProxyRefused, WorkersUnavailable
from gridiron.workers.sockets import QUARANTINE_MAP, data_socket
from gridiron.workers.status import BackendCounts, ProxyCounts

PLACEHOLDER = "nobody"
"""A server of the template that is no cell: what waits for one is sent to it, again and again."""

ANSWER_LIMIT = timedelta(seconds=5)
"""How long HAProxy may take to answer a command; it answers within a millisecond."""

POLL_INTERVAL = timedelta(milliseconds=50)

DELETE_LIMIT = timedelta(seconds=15)
"""How long deleting a server may take: it must have no connection, and idle ones are kept for 5 to 10 s."""

RESPONSES = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
"""What HAProxy counts answers by."""

ADDED = "New server registered."
DELETED = "Server deleted."
NO_SUCH_SERVER = "No such server."
NO_SUCH_ENTRY = "entry not found."
NO_SUCH_KEY = "Key not found."
STILL_CONNECTED = "Server still has connections attached to it, cannot remove it."


@dataclass(frozen=True, slots=True)
class CellStatus:
    """A cell as HAProxy sees it."""

    name: str
    status: str  # "UP", "DOWN", "DRAIN" or "MAINT"
    sessions: int  # requests that it is answering, or that wait for it


@dataclass(frozen=True, slots=True)
class Server:
    """A cell as a server of HAProxy."""

    cell: str
    own: bool = False  # serves one build that is routed to it, and no other

    def __str__(self) -> str:
        return f"{'quarantined' if self.own else 'cells'}/{self.cell}"


class HaproxyAdmin:
    """Adds, drains and deletes servers of the backends `cells` and `quarantined`, and routes builds to these.

    Every method raises WorkersUnavailable when HAProxy does not answer, ProxyRefused when it says no.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def add(self, server: Server) -> None:
        """Send requests to a cell from now on. Safe to repeat."""
        if server.cell not in {known.name for known in await self.fetch_cells()}:
            options = "check inter 500 fall 2 rise 1" + (" weight 0" if server.own else "")
            await self._do(f"add server {server} unix@{data_socket(server.cell)} {options}", ADDED)
        await self._do(f"set server {server} state ready")
        await self._do(f"enable health {server}")

    async def route(self, key: str, cell: str) -> None:
        """Send the requests of a build to a cell of its own from now on. Safe to repeat."""
        command = f"map {QUARANTINE_MAP} {key} {cell}"
        if (await self._ask(f"set {command}")).strip() == NO_SUCH_ENTRY:
            await self._do(f"add {command}")

    async def unroute(self, key: str) -> None:
        """Send the requests of a build to the shared cells again. Safe to repeat."""
        command = f"del map {QUARANTINE_MAP} {key}"
        answer = await self._ask(command)
        if answer.strip() != NO_SUCH_KEY:
            parse_done(command, answer)

    async def drain(self, server: Server, limit: timedelta) -> bool:
        """Send a cell nothing new and wait until it has answered the rest; False when that lasts too long.

        A cell that HAProxy does not know has nothing left to answer. Safe to repeat.
        """
        deadline = time.monotonic() + limit.total_seconds()
        if not await self._exists(f"set server {server} state drain"):
            return True
        while any(known.sessions for known in await self.fetch_cells() if known.name == server.cell):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_INTERVAL.total_seconds())
        return True

    async def delete(self, server: Server) -> None:
        """Forget a cell, and cut what it is still answering. Safe to repeat."""
        deadline = time.monotonic() + DELETE_LIMIT.total_seconds()
        if not await self._exists(f"set server {server} state maint"):
            return
        await self._exists(f"shutdown sessions server {server}")
        while not parse_deleted(command := f"del server {server}", answer := await self._ask(command)):
            if time.monotonic() > deadline:
                raise ProxyRefused(command, answer)
            await asyncio.sleep(POLL_INTERVAL.total_seconds())

    async def fetch_cells(self) -> tuple[CellStatus, ...]:
        """Give the cells that HAProxy knows, in the order in which they were added."""
        return parse_cells(await self._ask("show stat -1 4 -1"))  # all backends; 4: servers; all of them

    async def fetch_counts(self) -> ProxyCounts:
        """Give what HAProxy has counted since its start."""
        return parse_counts(await self._ask("show stat -1 3 -1"))  # all; 1: frontends, and 2: backends

    async def _do(self, command: str, expected: str = "") -> None:
        parse_done(command, await self._ask(command), expected)

    async def _exists(self, command: str) -> bool:
        """Carry out a command on a server; False when there is no such server."""
        answer = await self._ask(command)
        if answer.strip() == NO_SUCH_SERVER:
            return False
        parse_done(command, answer)
        return True

    async def _ask(self, command: str) -> str:
        try:
            async with asyncio.timeout(ANSWER_LIMIT.total_seconds()):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(f"{command}\n".encode())
                    return (await reader.read()).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise WorkersUnavailable(f"unix:{self._socket}", str(error) or "no answer in time") from error


def parse_done(command: str, answer: str, expected: str = "") -> None:
    """Check the answer to a command; most are silent when they succeed. Raises ProxyRefused."""
    if answer.strip() != expected:
        raise ProxyRefused(command, answer.strip())


def parse_deleted(command: str, answer: str) -> bool:
    """Read the answer to `del server`: False when it has to be asked again. Raises ProxyRefused."""
    if answer.strip() == STILL_CONNECTED:
        return False
    if answer.strip() not in {DELETED, NO_SUCH_SERVER}:
        raise ProxyRefused(command, answer.strip())
    return True


def parse_cells(answer: str) -> tuple[CellStatus, ...]:
    """Read the answer to `show stat` of servers. Raises ProxyRefused when it is none."""
    return tuple(
        # the status may have progress behind it: "UP 1/2" misses one more check to be DOWN
        CellStatus(row["svname"], row["status"].partition(" ")[0], int(row["scur"]) + int(row["qcur"]))
        for row in _parse_statistics(answer)
        if row["svname"] not in {"", PLACEHOLDER}
    )


def parse_counts(answer: str) -> ProxyCounts:
    """Read the answer to `show stat` of frontends and backends. Raises ProxyRefused when it is none.

    HAProxy's management guide, section 9.1, says what each column is.
    """
    rows = tuple(_parse_statistics(answer))
    front = [row for row in rows if row["svname"] == "FRONTEND"]  # a template of somebody's own may have two

    def total(column: str) -> int:
        return sum(int(row[column]) for row in front)

    return ProxyCounts(
        connections=total("scur"),
        connections_limit=total("slim"),
        requests=total("req_tot"),
        invalid=total("ereq"),
        denied=total("dreq"),
        responses={kind: total(f"hrsp_{kind}") for kind in RESPONSES},
        backends={
            row["pxname"]: BackendCounts(
                queued=int(row["qcur"]),
                retries=int(row["wretr"]),
                redispatches=int(row["wredis"]),
                connect_errors=int(row["econ"]),
                response_errors=int(row["eresp"]),
            )
            for row in rows
            if row["svname"] == "BACKEND"
        },
    )


def _parse_statistics(answer: str) -> Iterator[dict[str, str]]:
    """Read CSV behind a `#`. Raises ProxyRefused when it is not."""
    if not answer.startswith("# pxname,"):
        raise ProxyRefused("show stat", answer.strip())
    return csv.DictReader(answer.removeprefix("# ").splitlines())
