"""Following what a build prints, on all nodes at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime

from gridiron.manager import own_logs
from gridiron.manager.own_logs import AT_ONCE, POOL, OwnLogs, Printed
from gridiron.manager.peers.api import LogNews
from gridiron.manager.peers.client import Newest, Peers, Unreached
from gridiron.manager.streams import Streams
from gridiron.model import name_build
from gridiron.workers.logs import LogEvent, Source, make_gap, order_events

OWN = ""
"""The stream of this node: no node has that name."""

AGAIN_SECONDS = 2.0
"""Until a node that could not be followed is asked again."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a node prints does not come from now on, until it answers again."""

    events: tuple[LogEvent, ...]  # one, that says so


_Heard = Printed | Missing


class Following:
    """One build that somebody follows."""

    def __init__(
        self, own: OwnLogs, peers: Peers | None, path: str, newest: Newest, now: Callable[[], datetime]
    ) -> None:
        """Take the build's path and what is to come first; `peers` is None where the node is alone."""
        self._own = own
        self._peers = peers
        self._path = path
        self._newest = newest
        self._now = now

    async def run(self) -> AsyncGenerator[tuple[LogEvent, ...], None]:
        """Give the newest events of all nodes, by time; then what each prints, as soon as it is seen.

        No events are a sign of life: nothing was printed for a while. Where a node does not answer, an event
        says that, and once it answers again, what it has printed meanwhile comes. It ends when the manager
        stops. Raises StorageFailed.
        """
        newest, began_at = self._newest, self._now()
        since = max(began_at, newest.wanted.since or began_at)
        late = Newest(replace(newest.wanted, since=since), AT_ONCE)
        others_said = -math.inf
        async with Streams[_Heard]() as streams:
            streams.add(OWN, self._own.follow(self._path, newest.wanted, newest.limit))
            self._add_peers(streams, newest, late)
            if first := order_first((await streams.fetch_first()).values(), newest.limit):
                yield first
            while OWN in streams:
                self._add_peers(streams, late, late)  # those that have joined the cluster
                heard = await streams.fetch()
                own = heard.pop(OWN, None)
                others = [event for each in heard.values() if each for event in each.events]
                others_said = time.monotonic() if others else others_said
                events = (*(own.events if own else ()), *others)
                quiet = time.monotonic() - others_said > own_logs.BEAT_SECONDS
                if events or (own and quiet):
                    yield events

    def _add_peers(self, streams: Streams[_Heard], newest: Newest, late: Newest) -> None:
        if self._peers is not None:
            for peer in self._peers.members():
                if peer.node not in streams:
                    streams.add(peer.node, self._follow_peer(self._peers, peer.node, newest, late))

    async def _follow_peer(
        self, peers: Peers, node: str, newest: Newest, late: Newest
    ) -> AsyncGenerator[_Heard, None]:
        """Follow another node, and ask it again and again where it is away.

        `late` is to come first where it was away from the beginning: what was printed since then.
        """
        missing = False
        while True:
            for peer in (peer for peer in peers.members() if peer.node == node):
                async with aclosing(peers.follow(peer, self._path, newest)) as stream:
                    async for news in stream:
                        if isinstance(news, LogNews):
                            missing, newest = False, replace(newest, place=news.place)
                            yield Printed(news.events, news.place)
                        elif not missing:
                            missing = True
                            yield Missing((self._describe(news),))
            newest = late if newest.place is None else newest
            await asyncio.sleep(AGAIN_SECONDS)

    def _describe(self, unreached: Unreached) -> LogEvent:
        what = f"what {unreached.node} prints is missing from here on, until it answers: {unreached.reason}"
        gap = make_gap(Source(name_build(self._path), POOL), self._now(), what)
        return gap.model_copy(update={"node": unreached.node})


def order_first(heard: Iterable[_Heard | None], limit: int) -> tuple[LogEvent, ...]:
    """Put together what came first of each node: the newest `limit` events, then what is missing."""
    parts = [each for each in heard if each is not None]
    printed = (event for each in parts if isinstance(each, Printed) for event in each.events)
    missing = (event for each in parts if isinstance(each, Missing) for event in each.events)
    return (*order_events(printed, limit), *missing)
