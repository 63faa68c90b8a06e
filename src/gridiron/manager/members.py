"""The nodes of the cluster, as Restate has them: what was seen last."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from gridiron.errors import RestateUnavailable
from gridiron.restate.cluster import RestateCluster
from gridiron.restate.view import Member

log = structlog.get_logger()

LOOK_INTERVAL = timedelta(seconds=5)
"""Between two looks; each costs 20 to 60 ms of a process."""


class Members:
    """Knows the nodes that there are. Until the first look it knows of none, and takes none for gone."""

    def __init__(self, restate: RestateCluster) -> None:
        self._restate = restate
        self._seen: tuple[Member, ...] | None = None

    @property
    def seen(self) -> tuple[Member, ...]:
        """All nodes as they were seen last, those that are down too; empty before the first look."""
        return self._seen or ()

    def is_member(self, name: str) -> bool:
        """Tell whether a node is in the cluster, as far as it was ever seen; one that is down is."""
        return self._seen is None or name in {member.name for member in self._seen}

    async def look(self) -> tuple[Member, ...]:
        """Look now. Raises RestateUnavailable, and what was seen before stays."""
        self._seen = await self._restate.fetch_nodes()
        return self._seen

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
            await asyncio.sleep(LOOK_INTERVAL.total_seconds())


def host_of(member: Member) -> str:
    """Give the host at which a node is met, from the address of its fabric; one of IPv6 has its brackets."""
    netloc = urlsplit(member.address).netloc
    return netloc.rpartition(":")[0] or netloc


def find_others(members: Collection[Member], name: str) -> tuple[Member, ...]:
    """Give the members but the one of this name."""
    return tuple(member for member in members if member.name != name)
