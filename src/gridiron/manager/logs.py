"""What builds print, for clients: on this node and, in a cluster, on all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from gridiron.errors import BuildNotFound, StorageFailed
from gridiron.lifecycle.plan import find_status
from gridiron.manager.api import LogEnd, LogList
from gridiron.manager.context import Context
from gridiron.manager.following import Following
from gridiron.manager.observe import Observer
from gridiron.manager.own_logs import OwnLogs
from gridiron.manager.peers.client import Newest, Peers, Unreached
from gridiron.model import State
from gridiron.workers.logs import LogEvent, Wanted, order_events


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing was printed for a while."""


News = tuple[LogEvent, ...] | Beat | LogEnd
"""What somebody who follows is told at once: to send each event by itself costs more than all else."""


class Logs:
    """Reads what builds print."""

    def __init__(self, context: Context, observer: Observer, peers: Peers | None = None) -> None:
        """`peers` are the other nodes of the cluster; None: the node is alone."""
        self._context = context
        self._observer = observer
        self._peers = peers
        self.own = OwnLogs(context)
        """What this node alone has."""

    async def fetch(self, build_id: str, wanted: Wanted, limit: int) -> LogList:
        """Give the newest events that are wanted. Raises BuildNotFound, StorageFailed."""
        path = await self._find_path(build_id)
        if self._peers is None:
            return await self.own.fetch(path, wanted, limit)
        own, others = await asyncio.gather(
            self.own.fetch(path, wanted, limit), self._peers.fetch_logs(path, Newest(wanted, limit))
        )
        here = self._context.settings.node_name
        return merge_logs({here: own} | {peer.node: answer for peer, answer in others.items()}, limit)

    async def follow(self, build_id: str, wanted: Wanted, limit: int) -> AsyncIterator[News]:
        """Follow a build: the newest events that are wanted, then what is printed, as soon as it is seen.

        It ends with a LogEnd, when the build is retired or gone, or when the manager stops. Raises
        BuildNotFound, StorageFailed, before anything is given.
        """
        path = await self._find_path(build_id)
        following = Following(self.own, self._peers, path, Newest(wanted, limit), self._context.now)
        return self._follow(build_id, following)

    def close(self) -> None:
        """End all that is followed. Safe to repeat."""
        self.own.close()

    async def _follow(self, build_id: str, following: Following) -> AsyncIterator[News]:
        try:
            async with aclosing(following.run()) as printed:
                async for events in printed:
                    if events:
                        yield events
                        continue
                    reason = await self._find_end(build_id)
                    if reason is not None:
                        yield LogEnd(build_id=build_id, reason=reason)
                        return
                    yield Beat()
        except StorageFailed as error:
            yield LogEnd(build_id=build_id, reason=str(error))
        else:
            yield LogEnd(build_id=build_id, reason="The manager is stopping.", again=True)

    async def _find_end(self, build_id: str) -> str | None:
        """Say why a build will print nothing more; None while it may, or where that is unknown."""
        try:
            status = find_status((await self._observer.look()).statuses, build_id)
        except BuildNotFound as error:
            return str(error)
        except StorageFailed:
            return None
        return f"{build_id} is retired." if status.state is State.RETIRED else None

    async def _find_path(self, build_id: str) -> str:
        path = find_status((await self._observer.look()).statuses, build_id).path
        if path is None:
            raise BuildNotFound(build_id)
        return path


def merge_logs(found: Mapping[str, LogList | Unreached], limit: int) -> LogList:
    """Put together what each node has of a build's log: its newest `limit` events, and who is silent."""
    lists = {node: each for node, each in found.items() if isinstance(each, LogList)}
    cells = [f"{cell} of {node}" for node, each in lists.items() for cell in each.silent]
    return LogList(
        events=order_events((event for each in lists.values() for event in each.events), limit),
        silent=(*cells, *(node for node in found if node not in lists)),
    )


def render_news(news: News) -> str:
    """Write news as HTML's server-sent events have it."""
    match news:
        case tuple():
            return "".join(f"data: {event.model_dump_json()}\n\n" for event in news)
        case Beat():
            return ":\n\n"
        case LogEnd():
            return f"event: end\ndata: {news.model_dump_json()}\n\n"
