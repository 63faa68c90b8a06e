"""How each component of a node is looked at, and what is told of one that is not as it should be.

Readiness is open to everybody: a reason says what is wrong, and has no path, no URL and no build's name.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx2

from gridiron.access.tls import plan_trust
from gridiron.bundles.store import BundleStore
from gridiron.errors import (
    BundlesElsewhere,
    RestateRejected,
    RestateUnavailable,
    StorageFailed,
    WorkersUnavailable,
)
from gridiron.manager.context import Context
from gridiron.manager.health import Seen, Watched
from gridiron.manager.loop import Loop
from gridiron.manager.own_thread import OwnThread
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.incarnation import NodePort
from gridiron.restate.port import RestatePort
from gridiron.workers.cells import CellsPort
from gridiron.workers.status import PoolStatus

if TYPE_CHECKING:  # a node that is alone has no use for them
    from gridiron.manager.members import Members
    from gridiron.restate.view import Member

ROUND_LIMIT = timedelta(minutes=2)
"""How long a round of the loop may take beside its pause. Each of its questions has a limit of its own; only
a disk that hangs, or dozens of removals that a slow Restate holds up, take longer."""

MAX_REASON = 160
"""Characters of what Restate says of itself."""

PROXY_PATH = "/-/proxy"
"""Of the workers' port: HAProxy's own answer, which no cell has to do with (see the template)."""

PEER_LIMIT = timedelta(seconds=2)
"""How long another node may take to answer; it takes a millisecond."""

PROXY, CELLS = "haproxy", "cells"
"""Components that are the workers of a node."""

FINE = Seen(ready=True)
OK, NO_FAULT = frozenset({200}), frozenset({*range(500), 501})
"""HTTP statuses."""


@asynccontextmanager
async def looking(context: Context, loop: Loop) -> AsyncIterator[tuple[Watched, ...]]:
    """Say how the components of a node are looked at, in the order in which a reader wants them.

    The looks have connections of their own: among those of requests that wait, they would wait, too.
    """
    settings = context.settings
    urls = settings.restate_admin_url, settings.ingress_url, settings.fabric_url, settings.workers_url
    verify = plan_trust(*urls, *filter(None, [settings.s3_endpoint]))
    async with (
        httpx2.AsyncClient(trust_env=False, verify=verify) as client,
        RestateAdmin(settings.restate_admin_url, client) as restate,
    ):
        node = NodePort(settings.fabric_url, client)
        mesh = context.mesh
        check = partial(_check_alone, restate, node) if mesh is None else InCluster(restate, node).check
        looks = [
            Watched("restate admin", partial(_look_at_restate, check)),
            Watched("restate ingress", partial(_ask, client, f"{settings.ingress_url}/restate/health", OK)),
            # a template without this path leads to a cell, whose answer tells the same of HAProxy
            Watched(PROXY, partial(_ask, client, settings.workers_url + PROXY_PATH, NO_FAULT)),
            Watched(CELLS, partial(_look_at_cells, context.cells)),
            Watched("bundle directory", OwnThread(partial(look_at_bundles, context.store))),
            Watched("manager loop", partial(_look_at_loop, context, loop), required=False),
        ]
        if mesh is not None:
            reach = partial(_look_at_cluster, mesh.members, settings.node_name, client)
            whole = partial(_look_at_restate, restate.check)
            looks.append(Watched("cluster", reach))
            looks.append(Watched("partitions", whole, required=False))
        if settings.s3_endpoint is not None:
            look = partial(_look_at_store, client, settings.s3_endpoint)
            looks.append(Watched("object store", look, required=False))
        yield tuple(looks)


async def _check_alone(restate: RestateAdmin, node: NodePort) -> None:
    await restate.check()
    await node.fetch_incarnation()  # one that is starting says less than it knows


class InCluster:
    """Checks Restate of a node in a cluster: over all partitions once after each of its starts.

    Later on a partition without a leader says nothing of this node: all others miss it as well.
    """

    def __init__(self, restate: RestatePort, node: NodePort) -> None:
        self._restate = restate
        self._node = node
        self._whole = ""  # the start that was seen to be so

    async def check(self) -> None:
        """Raise RestateUnavailable or RestateRejected where the node cannot be used."""
        start = (await self._node.look_at_start()).name
        if start == self._whole:
            await self._restate.fetch_version()
        else:
            await self._restate.check()
            self._whole = start


async def _look_at_restate(check: Callable[[], Awaitable[object]]) -> Seen:
    try:
        await check()
    except RestateUnavailable as error:
        return Seen(False, error.reason[:MAX_REASON])
    except RestateRejected as error:
        return Seen(False, f"HTTP {error.status}")
    return FINE


async def _look_at_cluster(members: Members, own: str, client: httpx2.AsyncClient) -> Seen:
    """See whether this node reaches those that decide what is so in the cluster."""
    keepers = [member for member in members.seen if member.keeps_metadata]
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_reach(each, client)) for each in keepers if each.name != own]
    reached = sum(task.result() for task in asked) + (len(keepers) - len(asked))
    return judge_reach(len(keepers), reached, is_member=own in {member.name for member in members.seen})


async def _reach(member: Member, client: httpx2.AsyncClient) -> bool:
    try:
        async with asyncio.timeout(PEER_LIMIT.total_seconds()):
            await NodePort(member.address, client).fetch_health()
    except (RestateUnavailable, TimeoutError):
        return False
    return True


async def _look_at_cells(cells: CellsPort) -> Seen:
    try:
        return judge_pool(await cells.fetch_pool())
    except WorkersUnavailable:
        return Seen(False, "who watches them does not answer", certain=False)


async def _look_at_loop(context: Context, loop: Loop) -> Seen:
    return judge_loop(time.monotonic() - loop.swept_at, context.settings.sweep_seconds)


async def _look_at_store(client: httpx2.AsyncClient, url: str) -> Seen:
    """See whether an object store answers, whatever it says to somebody without credentials."""
    try:
        status = (await client.head(url)).status_code
    except httpx2.InvalidURL:
        return Seen(False, "GRIDIRON_S3_ENDPOINT is no URL")
    except httpx2.TransportError as error:
        return FINE if _is_about_certificate(error) else Seen(False, _describe(error))
    return _judge_status(status, NO_FAULT)


def _is_about_certificate(error: BaseException | None) -> bool:
    """Tell whether a server was there, with a certificate that only the settings of a transfer may know."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


async def _ask(client: httpx2.AsyncClient, url: str, fine: Container[int]) -> Seen:
    try:
        return _judge_status((await client.get(url)).status_code, fine)
    except httpx2.TransportError as error:
        return Seen(False, _describe(error))


def _judge_status(status: int, fine: Container[int]) -> Seen:
    return FINE if status in fine else Seen(False, f"HTTP {status}")


def _describe(error: httpx2.TransportError) -> str:
    return "nobody listens" if isinstance(error, httpx2.ConnectError) else "it gives no answer"


def judge_reach(keepers: int, reached: int, *, is_member: bool) -> Seen:
    """Tell whether a node is with most of those that keep the cluster's metadata, by how many it reaches.

    One that is not goes on believing what it knew, takes calls and answers none of them.
    """
    if not is_member:
        return Seen(False, "this node is in no cluster yet")
    if 2 * reached > keepers:
        return FINE
    return Seen(
        False, f"{reached} of {keepers} nodes that decide are reached: it is cut off, or they are down"
    )


def judge_pool(pool: PoolStatus) -> Seen:
    """Tell whether there is a cell for builds that are not in quarantine; one is enough."""
    if not pool.size:
        return Seen(False, "the workers do not run")
    serving = sum(1 for cell in pool.cells if cell.serving and cell.own is None)
    if serving >= pool.size:
        return FINE
    return Seen(bool(serving), f"{serving} of {pool.size} serve")


def judge_workers(proxy: Seen | None, cells: Seen | None) -> bool | None:
    """Tell whether builds can be called: HAProxy answers, and a cell serves. None where that is not known."""
    looks = (proxy, cells)
    if any(seen is not None and not seen.ready and seen.certain for seen in looks):
        return False
    return True if all(seen is not None and seen.ready for seen in looks) else None


def judge_loop(seconds: float, pause: float) -> Seen:
    """Tell whether the loop goes on, by how long ago a round went through and the pause between two."""
    if seconds <= pause + ROUND_LIMIT.total_seconds():
        return FINE
    return Seen(False, f"no round has gone through for {seconds:.0f} s")


def look_at_bundles(store: BundleStore) -> Seen:
    """See whether a bundle directory is the right one and can be written to; what is written has no name."""
    try:
        store.fetch_identity()  # it is the bundle directory, and not where it would be mounted
        with tempfile.TemporaryFile(dir=store.directory, buffering=0) as probe:
            probe.write(b"x")
            os.fsync(probe.fileno())
    except BundlesElsewhere:
        return Seen(False, "it is another directory than before")
    except StorageFailed as error:
        return Seen(False, error.reason)
    except OSError as error:
        return Seen(False, error.strerror or type(error).__name__)
    return FINE
