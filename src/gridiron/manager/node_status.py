"""What a manager says of its node beside readiness: versions, ports, its disk, settings that wait."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from datetime import timedelta

import gridiron
from gridiron.egress import is_loopback
from gridiron.errors import SettingsInvalid
from gridiron.manager.api import Listener, NodeStatus, WrittenSettings
from gridiron.manager.context import Context
from gridiron.manager.own_thread import OwnThread
from gridiron.process.disk import Disk, fetch_disk
from gridiron.settings import Settings, find_changes
from gridiron.toolchain.programs import Toolchain, fetch_versions

DISK_LIMIT = timedelta(seconds=1)
"""How long the disk may take to say how full it is; it knows that by heart."""


class NodeReader:
    """Reads how the node of this manager is."""

    def __init__(self, context: Context, toolchain: Toolchain, load: Callable[[], Settings]) -> None:
        self._context = context
        self._toolchain = toolchain
        self._load = load
        self._started_at = context.now()
        self._read_disk = OwnThread(lambda: fetch_disk(context.settings.bundles_dir))

    async def fetch(self) -> NodeStatus:
        """Read it. What cannot be read is None."""
        settings = self._context.settings
        programs, written = await asyncio.gather(
            asyncio.to_thread(fetch_versions, self._toolchain),
            asyncio.to_thread(_compare_written, settings, self._load),
        )
        return NodeStatus(
            node=settings.node_name,
            version=gridiron.__version__,
            programs={"python": platform.python_version(), **programs},
            started_at=self._started_at,
            now=self._context.now(),
            listens=list_listeners(settings),
            urls={
                "manager": settings.manager_url,
                "ingress": settings.ingress_url,
                "restate admin": settings.restate_admin_url,
                "workers": settings.workers_url,
            },
            disk=await self._fetch_disk(),
            settings=written,
        )

    async def _fetch_disk(self) -> Disk | None:
        try:
            async with asyncio.timeout(DISK_LIMIT.total_seconds()):
                return await self._read_disk()
        except (TimeoutError, OSError):
            return None


def list_listeners(settings: Settings) -> tuple[Listener, ...]:
    """Say where a node listens."""
    listeners = tuple(
        Listener(
            purpose=purpose,
            host=(host := getattr(settings, f"{purpose}_host")),
            port=port,
            is_loopback=is_loopback(host),
            is_encrypted=purpose == "manager" and settings.tls_cert is not None,
        )
        for purpose, port in settings.ports._asdict().items()
    )
    if settings.cluster is None:
        return listeners
    host, port = str(settings.cluster.address), settings.used_peer_port
    peers = Listener(purpose="peers", host=host, port=port, is_loopback=False, is_encrypted=False)
    return (*listeners, peers)


def _compare_written(running: Settings, load: Callable[[], Settings]) -> WrittenSettings:
    try:
        changes = find_changes(running, load())
    except SettingsInvalid as error:
        return WrittenSettings(live=(), restart=(), problem=str(error))
    return WrittenSettings(live=changes.live, restart=changes.restart, problem=None)
