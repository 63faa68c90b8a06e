"""The builds as a client sees them: statuses, registry and cells put together."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from gridiron.errors import WorkersUnavailable
from gridiron.lifecycle.states import BuildStatus
from gridiron.manager.api import (
    CellView,
    DeploymentList,
    DeploymentView,
    Invocations,
    NodeView,
    QuarantineView,
    Released,
    ServiceView,
)
from gridiron.manager.context import Context
from gridiron.manager.prune import Pruner, find_status
from gridiron.manager.registry import Record
from gridiron.model import State
from gridiron.workers.cells import LoadedBuild
from gridiron.workers.status import PoolQuarantined

T = TypeVar("T")

Loaded = Mapping[str, tuple[LoadedBuild, ...]]
"""What each cell has loaded, by the cell's name."""


@dataclass(frozen=True, slots=True)
class Workers:
    """What the workers say of themselves."""

    loaded: Loaded | None  # None: a cell does not answer, which is not the same as nothing loaded
    quarantined: Mapping[str, PoolQuarantined]  # by path; nothing where it cannot be known


class Deployments:
    """Reads builds for clients. Every answer is read afresh from Restate, the bundles and the cells."""

    def __init__(self, context: Context, pruner: Pruner) -> None:
        self._context = context
        self._pruner = pruner

    async def fetch(self, build_id: str) -> DeploymentView:
        """Read one build. Raises BuildNotFound."""
        observation, statuses = await self._pruner.observe()
        self._context.registry.reconcile(observation)
        return self._render(find_status(statuses, build_id), await self._fetch_workers())

    async def release(self, build_id: str) -> Released:
        """Have a quarantined build served by the cells of all again. Safe to repeat.

        Raises BuildNotFound, WorkersUnavailable.
        """
        _, statuses = await self._pruner.observe()
        path = find_status(statuses, build_id).build.address.path
        return Released(build_id=build_id, released=await self._context.cells.release(path))

    async def fetch_page(
        self, name: str | None, state: State | None, cursor: str | None, limit: int
    ) -> DeploymentList:
        """Read up to `limit` builds that match, oldest first, beginning after the build `cursor`."""
        observation, statuses = await self._pruner.observe()
        self._context.registry.reconcile(observation)
        matching = [
            status
            for status in statuses
            if name in {None, status.build.name} and state in {None, status.state}
        ]
        page, following = paginate(matching, cursor, limit)
        workers = await self._fetch_workers()
        return DeploymentList(
            deployments=tuple(self._render(status, workers) for status in page), next=following
        )

    def _render(self, status: BuildStatus, workers: Workers) -> DeploymentView:
        record = self._context.registry.records.get(status.build.build_id)
        name = self._context.settings.node_name
        node = None if workers.loaded is None else render_node(name, status, workers.loaded)
        return render_deployment(status, record, node, workers.quarantined.get(status.build.address.path))

    async def _fetch_workers(self) -> Workers:
        cells = self._context.cells
        pool = await _or_none(cells.fetch_pool())
        quarantined = pool.quarantined if pool else ()
        return Workers(await _or_none(cells.fetch_loaded()), {each.path: each for each in quarantined})


async def _or_none(reading: Awaitable[T]) -> T | None:
    try:
        return await reading
    except WorkersUnavailable:
        return None


def paginate(
    matching: list[BuildStatus], cursor: str | None, limit: int
) -> tuple[list[BuildStatus], str | None]:
    """Cut one page out of all matches; the second value is the cursor of the next one, if there is one.

    A cursor is the timestamp of the last build of a page: it stays good when builds come and go meanwhile.
    """
    after = int(cursor) if cursor else -1
    rest = sorted(
        (status for status in matching if status.build.timestamp > after),
        key=lambda status: status.build.timestamp,
    )
    page = rest[:limit]
    return page, str(page[-1].build.timestamp) if len(rest) > limit else None


def render_node(node: str, status: BuildStatus, loaded: Loaded) -> NodeView:
    """Say which cells of a node have a build loaded."""
    path = status.build.address.path
    cells = tuple(
        CellView(
            cell=cell,
            loaded=any(build.path == path for build in builds),
            in_flight=sum(build.in_flight for build in builds if build.path == path),
        )
        for cell, builds in sorted(loaded.items())
    )
    return NodeView(node=node, loaded=any(cell.loaded for cell in cells), cells=cells)


def render_deployment(
    status: BuildStatus,
    record: Record | None,
    node: NodeView | None,
    quarantined: PoolQuarantined | None = None,
) -> DeploymentView:
    """Put together what is known of one build."""
    build, registration = status.build, status.registration
    services = registration.services if registration else record.services if record else ()
    demand = status.demand
    return DeploymentView(
        build_id=build.build_id,
        name=build.name,
        version=build.version,
        path=build.address.path,
        state=status.state,
        reason=status.reason,
        deployment_id=registration.deployment_id
        if registration
        else record.deployment_id
        if record
        else None,
        protocol=registration.protocol if registration else record.protocol if record else None,
        services=tuple(
            ServiceView(name=service, active=service in status.active_services) for service in services
        ),
        invocations=Invocations(pinned=demand.pinned, attempting=demand.attempting) if demand else None,
        sha256=build.sha256,
        size=build.size,
        source=build.source,
        created_at=build.created_at,
        activated_at=record.activated_at if record else None,
        drained_at=record.drained_at if record else None,
        timings_ms=record.timings_ms if record else {},
        nodes=None if node is None else (node,),
        quarantine=None
        if quarantined is None
        else QuarantineView(since=quarantined.since, reason=quarantined.reason, cell=quarantined.cell),
    )
