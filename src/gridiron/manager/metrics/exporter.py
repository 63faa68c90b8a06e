"""The answer to `GET /metrics`: what was seen last, and what can be read at once, as text."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from gridiron.errors import WorkersUnavailable
from gridiron.lifecycle.draining import track_draining
from gridiron.lifecycle.observation import Unknown
from gridiron.manager.context import Context
from gridiron.manager.health import HealthChecker
from gridiron.manager.metrics.families import collect
from gridiron.manager.metrics.recent import Recent
from gridiron.manager.metrics.seen import ClusterSeen, Seen
from gridiron.manager.observe import Look, Observer
from gridiron.manager.own_thread import OwnThread
from gridiron.process.disk import Disk, fetch_disk
from gridiron.workers.status import PoolStatus, PoolTraffic

if TYPE_CHECKING:
    from gridiron.manager.mesh import Mesh


class Exporter:
    """Puts together what there is. No component that is away makes it fail or wait: its part is left out."""

    def __init__(
        self,
        context: Context,
        observer: Observer,
        health: HealthChecker,
        versions: Mapping[str, str],
    ) -> None:
        self._context = context
        self._observer = observer
        self._versions = versions
        self._pool = Recent(self._read_pool, context.now)
        self._health = health
        self._disks = Recent(OwnThread(self._read_disks), context.now)

    async def look(self) -> None:
        """Look at the components once."""
        await asyncio.gather(self._pool.renew(), self._disks.renew())

    def keep_looking(self, tasks: asyncio.TaskGroup) -> None:
        """Look at the components again and again, each as one of `tasks`."""
        for what, recent in (("pool", self._pool), ("disks", self._disks)):
            tasks.create_task(recent.keep(), name=f"look at the {what}")

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the metrics and their media type, OpenMetrics where `accept` asks for it. Never raises."""
        registry = CollectorRegistry()
        registry.register(_Collector(self._see()))
        ProcessCollector(registry=registry)
        encode, media_type = choose_encoder(accept)
        return encode(registry), media_type

    def _see(self) -> Seen:
        context, look = self._context, self._observer.last
        pool, health, disks = self._pool.last, self._health.read(), self._disks.last
        readings = {"pool": pool, "disks": disks}
        at = {part: reading.at for part, reading in readings.items() if reading is not None}
        ages = [each.age_seconds for each in health.components if each.age_seconds is not None]
        if context.mesh is not None and context.mesh.members.seen_at is not None:
            at["cluster"] = context.mesh.members.seen_at
        if ages:
            at["components"] = context.now() - timedelta(seconds=max(ages))
        return Seen(
            now=context.now(),
            meters=context.meters,
            sweep_seconds=context.settings.sweep_seconds,
            versions=self._versions,
            statuses=None if look is None else look.statuses,
            draining_at={} if look is None else self._find_drains(look),
            pool=None if pool is None else pool.value[0],
            traffic=None if pool is None else pool.value[1],
            health=health if ages else None,
            cluster=None if context.mesh is None else self._see_cluster(context.mesh),
            disks={} if disks is None else disks.value,
            seen_at={**self._observer.seen_at, **at},
        )

    def _see_cluster(self, mesh: Mesh) -> ClusterSeen:
        members, guardian = mesh.members, mesh.guardian
        own = {
            member.generation for member in members.seen if member.name == self._context.settings.node_name
        }
        alive = Counter("alive" if member.alive else "down" for member in members.seen)
        return ClusterSeen(
            state=guardian.state.state,
            changes={"drain": guardian.drained, "take_back": guardian.taken_back},
            drain_seconds=guardian.drain_seconds,
            members={state: alive[state] for state in ("alive", "down")} if members.seen else {},
            partitions_led=sum(each.leader in own for each in members.partitions) if own else None,
        )

    def _find_drains(self, look: Look) -> Mapping[str, datetime]:
        registrations, registry = look.observation.registrations, self._context.registry
        known = () if isinstance(registrations, Unknown) else registrations
        return track_draining(look.statuses, known, registry.draining_at, self._context.now())

    async def _read_pool(self) -> tuple[PoolStatus, PoolTraffic]:
        cells = self._context.cells
        pool = await cells.fetch_pool()
        if not pool.size:  # nobody listens there
            raise WorkersUnavailable("workers", "they do not run")
        return pool, await cells.fetch_traffic()

    def _read_disks(self) -> Mapping[str, Disk]:
        settings = self._context.settings
        directories = {
            "bundles": settings.bundles_dir,
            "manager": settings.manager_state_dir,
            "restate": settings.restate_dir,
        }
        found = {}
        for purpose, directory in directories.items():
            with suppress(OSError):  # this user cannot reach it
                found[purpose] = fetch_disk(directory)
        return found


class _Collector(Collector):
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        return collect(self._seen)
