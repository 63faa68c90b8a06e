"""What a manager has running for the other nodes of its cluster, beside its own server."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI

from gridiron.errors import PortTaken, SettingsInvalid
from gridiron.manager.context import Context
from gridiron.manager.http.serving import Server, make_config
from gridiron.manager.peers.client import Peers, open_peers
from gridiron.manager.peers.guard import PeerGuard
from gridiron.manager.peers.members import list_peers
from gridiron.manager.peers.server import OwnNode, make_peer_app
from gridiron.manager.peers.signing import Signature, derive_key
from gridiron.secrets.key import fetch_key
from gridiron.settings import variable_name

log = structlog.get_logger()

BACKLOG = 128
"""Connections that wait to be taken: there are sixteen nodes at the most."""


@asynccontextmanager
async def opened_peers(context: Context) -> AsyncIterator[Peers | None]:
    """Make what asks the other nodes, for as long as the block lasts; None where the node is alone.

    Raises SecretKeyInvalid, StorageFailed.
    """
    settings = context.settings
    if settings.cluster is None:
        yield None
        return
    key = await asyncio.to_thread(fetch_key, settings.secrets_dir)
    async with open_peers(
        lambda: list_peers(context), Signature(key, settings.node_name, context.now)
    ) as peers:
        yield peers


@asynccontextmanager
async def serving_peers(context: Context, own: OwnNode) -> AsyncIterator[Callable[[], None]]:
    """Answer the other nodes for as long as the block lasts, as `listening` does; nothing in a node alone.

    Raises as that does, and SecretKeyInvalid, StorageFailed.
    """
    settings = context.settings
    if settings.cluster is None:
        yield lambda: None
        return
    key = await asyncio.to_thread(fetch_key, settings.secrets_dir)
    app = make_peer_app(own, PeerGuard(derive_key(key), context.now), context.meters.errors)
    async with listening(app, str(settings.cluster.address), settings.used_peer_port) as stop:
        yield stop


@asynccontextmanager
async def listening(app: FastAPI, host: str, port: int) -> AsyncIterator[Callable[[], None]]:
    """Serve an application for as long as the block lasts; give what stops it before that, in order.

    Whoever asks is answered from the beginning of the block. Raises PortTaken, and SettingsInvalid where this
    machine does not have the address.
    """
    started = asyncio.Event()
    server = Server(make_config(app, host, port), started.set)
    with _bind(host, port) as bound:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve([bound]), name="serve peers")
            try:
                await started.wait()
                log.info("peers.listening", host=host, port=port)
                yield server.stop
            finally:
                server.stop()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port, "peers", variable_name("peer_port")) from error
        problem = f"the manager cannot listen at {host}: {error.strerror or error}"
        raise SettingsInvalid("cluster.address", problem) from error
