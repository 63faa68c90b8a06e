"""Which start of Restate it is that answers, and whether that one answers in full yet.

After a start, and most of all after a crash, Restate's admin API answers before it has read all of its own
data: seen with 1.7.12 are a list of deployments that is empty for up to 0.24 s, and queries that find too
few invocations for up to 1.5 s (a partition replays its log), each with status 200. Nothing on the admin port
tells such an answer from a whole one. The node's own port does: `/health` has the age of the process, which
tells when it was started, and `/metrics` has how many partitions there are and how many have a leader here;
it has the second only when they have replayed, and then some tenths of a second later.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import timedelta

import httpx2
from pydantic import BaseModel, ConfigDict

from gridiron.restate.connection import Connection

READ_LIMIT = timedelta(seconds=5)

_PARTITIONS = re.compile(rb"^restate_num_partitions(?:\{[^}]*\})? (\d+)", re.MULTILINE)
_LEADERS = re.compile(rb"^restate_num_active_partition_leaders(?:\{[^}]*\})? (\d+)", re.MULTILINE)


class Health(BaseModel):
    """What a node says of itself."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    node_id: str | None  # "N1:4": the fourth start of node 1, with these data; None before it has joined
    age: str  # of the process: "3s 54ms 489µs 697ns"
    metadata_server_status: str = ""  # "AwaitingProvisioning" where it has never been in a cluster
    schema_version: int = 0  # of the registrations that it knows; it grows with each change of them


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a node, as it was seen now."""

    name: str  # another one for each start
    node_id: str  # as in Health
    schema_version: int  # as in Health


_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
_PARTS = re.compile(r"(\d+)\s*(ms|µs|ns|d|h|m|s)")


def parse_age(text: str) -> float:
    """Read a duration as Restate writes it (`1h 3s 54ms`), in seconds."""
    return sum(float(amount) * _UNITS[unit] for amount, unit in _PARTS.findall(text))


def start_of(incarnation: str) -> str:
    """Give the start of a node that an incarnation is of; on several nodes there are leaders behind it."""
    return incarnation.partition(" ")[0]


class NodePort:
    """Restate's own port (5122, its "fabric"). `client` is used as it is and left open."""

    def __init__(self, url: str, client: httpx2.AsyncClient | None = None) -> None:
        self._connection = Connection(url, client)
        self._last = ("", 0.0)  # the id of the node that started last, and when at the latest (monotonic)
        self._starts = 0  # that were seen
        self._whole = ""  # the name of the one that was found to answer in full

    async def fetch_incarnation(self) -> str:
        """Give the name of this start of Restate, once it answers in full.

        Two calls that give the same have no restart between them. Raises RestateUnavailable.
        """
        start = await self.look_at_start()
        if start.name != self._whole:
            metrics = (await self._get("/metrics")).content
            partitions, leaders = _PARTITIONS.search(metrics), _LEADERS.search(metrics)
            if partitions is None or leaders is None or int(leaders[1]) < int(partitions[1]):
                raise self._connection.unavailable("it is starting: not all of its partitions have a leader")
            self._whole = start.name
        return start.name

    async def fetch_start(self) -> str:
        """Give the same: what a node alone says of its registrations is whole when all of it is."""
        return await self.fetch_incarnation()

    async def catch_up(self) -> None:
        """Do nothing: a node alone makes all registrations itself."""

    async def look_at_start(self) -> Start:
        """Give the start that answers, whether or not it does so in full. Raises RestateUnavailable."""
        asked = time.monotonic()
        health = await self.fetch_health()
        answered = time.monotonic()
        if health.node_id is None:
            raise self._connection.unavailable("it is starting")
        node_id, age = health.node_id, parse_age(health.age)
        earliest, latest = asked - age, answered - age  # when it was started
        if node_id != self._last[0] or earliest > self._last[1]:
            self._starts += 1
            self._last = (node_id, latest)
        return Start(f"{node_id}#{self._starts}", node_id, health.schema_version)

    async def fetch_health(self) -> Health:
        """Give what the node says of itself, which it does before it has joined as well.

        Raises RestateUnavailable.
        """
        response = await self._get("/health")
        return self._connection.understand(response, Health.model_validate_json)

    async def aclose(self) -> None:
        """Close the client where it was made here."""
        await self._connection.__aexit__()

    async def _get(self, path: str) -> httpx2.Response:
        response = await self._connection.send("GET", path, READ_LIMIT)
        if not response.is_success:
            raise self._connection.unavailable(f"HTTP {response.status_code} to {path}")
        return response
