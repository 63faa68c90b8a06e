"""The nodes of the cluster, as Restate has them: what was seen last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import structlog

from gridiron.errors import RestateUnavailable
from gridiron.restate.port import ClusterPort
from gridiron.restate.view import Member, Partition, View

log = structlog.get_logger()

LOOK_INTERVAL = timedelta(seconds=5)
"""Between two looks; each costs 20 to 60 ms of a process."""

FIRST_INTERVAL = timedelta(seconds=1)
"""Between two until one has succeeded: readiness waits for that."""


class Members:
    """Knows the nodes that there are. Until the first look it knows of none, and takes none for gone."""

    def __init__(self, restate: ClusterPort, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._restate = restate
        self._now = now
        self.seen_at: datetime | None = None  # when the last look succeeded
        self._view: View | None = None

    @property
    def seen(self) -> tuple[Member, ...]:
        """All nodes as they were seen last, those that are down too; empty before the first look."""
        return () if self._view is None else self._view.members

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All partitions as they were seen last; empty before the first look."""
        return () if self._view is None else self._view.partitions

    def is_member(self, name: str) -> bool:
        """Tell whether a node is in the cluster, as far as it was ever seen; one that is down is."""
        return self._view is None or name in {member.name for member in self._view.members}

    async def look(self) -> tuple[Member, ...]:
        """Look now. Raises RestateUnavailable, and what was seen before stays."""
        self._view = await self._restate.fetch_view()
        self.seen_at = self._now()
        return self._view.members

    async def watch(self) -> None:
        """Look again and again."""
        away = False
        while True:
            try:
                await self.look()
                away = False
            except RestateUnavailable as error:
                if not away:
                    log.warning("members.unknown", reason=error.reason)
                away = True
            pause = FIRST_INTERVAL if self._view is None else LOOK_INTERVAL
            await asyncio.sleep(pause.total_seconds())


def host_of(member: Member) -> str:
    """Give the host at which a node is met, from the address of its fabric; one of IPv6 has its brackets."""
    netloc = urlsplit(member.address).netloc
    return netloc.rpartition(":")[0] or netloc


def find_others(members: Collection[Member], name: str) -> tuple[Member, ...]:
    """Give the members but the one of this name."""
    return tuple(member for member in members if member.name != name)
