"""How each component of a node is looked at, and what is told of one that is not as it should be.

Readiness is open to everybody: a reason says what is wrong, and has no path, no URL and no build's name.
"""

from __future__ import annotations

import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import httpx2

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
from gridiron.workers.cells import CellsPort
from gridiron.workers.status import PoolStatus

ROUND_LIMIT = timedelta(minutes=2)
"""How long a round of the loop may take beside its pause. Each of its questions has a limit of its own; only
a disk that hangs, or dozens of removals that a slow Restate holds up, take longer."""

MAX_REASON = 160
"""Characters of what Restate says of itself."""

PROXY_PATH = "/-/proxy"
"""Of the workers' port: HAProxy's own answer, which no cell has to do with (see the template)."""

FINE = Seen(ready=True)
OK, NO_FAULT = frozenset({200}), frozenset({*range(500), 501})
"""HTTP statuses."""


@asynccontextmanager
async def looking(context: Context, loop: Loop) -> AsyncIterator[tuple[Watched, ...]]:
    """Say how the components of a node are looked at, in the order in which a reader wants them.

    The looks have connections of their own: among those of requests that wait, they would wait, too.
    """
    settings = context.settings
    async with (
        httpx2.AsyncClient(trust_env=False) as client,
        RestateAdmin(settings.restate_admin_url, client) as restate,
    ):
        node = NodePort(settings.fabric_url, client)
        # of a cluster, the port of a node does not know all leaders, and what does costs much for each second
        look_at_start = node.fetch_incarnation if settings.cluster is None else node.fetch_start
        looks = [
            Watched("restate admin", partial(_look_at_restate, restate, look_at_start)),
            Watched("restate ingress", partial(_ask, client, f"{settings.ingress_url}/restate/health", OK)),
            # a template without this path leads to a cell, whose answer tells the same of HAProxy
            Watched("haproxy", partial(_ask, client, settings.workers_url + PROXY_PATH, NO_FAULT)),
            Watched("cells", partial(_look_at_cells, context.cells)),
            Watched("bundle directory", OwnThread(partial(look_at_bundles, context.store))),
            Watched("manager loop", partial(_look_at_loop, context, loop), required=False),
        ]
        if settings.s3_endpoint is not None:
            look = partial(_look_at_store, client, settings.s3_endpoint)
            looks.append(Watched("object store", look, required=False))
        yield tuple(looks)


async def _look_at_restate(restate: RestateAdmin, look_at_start: Callable[[], Awaitable[object]]) -> Seen:
    try:
        await restate.check()
        await look_at_start()  # one that is starting says less than it knows
    except RestateUnavailable as error:
        return Seen(False, error.reason[:MAX_REASON])
    except RestateRejected as error:
        return Seen(False, f"HTTP {error.status}")
    return FINE


async def _look_at_cells(cells: CellsPort) -> Seen:
    try:
        return judge_pool(await cells.fetch_pool())
    except WorkersUnavailable:
        return Seen(False, "who watches them does not answer")


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


def judge_pool(pool: PoolStatus) -> Seen:
    """Tell whether there is a cell for builds that are not in quarantine; one is enough."""
    if not pool.size:
        return Seen(False, "the workers do not run")
    serving = sum(1 for cell in pool.cells if cell.serving and cell.own is None)
    if serving >= pool.size:
        return FINE
    return Seen(bool(serving), f"{serving} of {pool.size} serve")


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
