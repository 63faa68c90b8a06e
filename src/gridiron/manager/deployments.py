"""The builds as a client sees them: statuses, registry and cells put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gridiron.errors import BuildNotFound, RestateRejected, RestateUnavailable
from gridiron.lifecycle.plan import find_status
from gridiron.lifecycle.states import IDLE, BuildStatus
from gridiron.manager.api import (
    CellView,
    DeploymentList,
    DeploymentView,
    HolderView,
    Invocations,
    NodeView,
    QuarantineView,
    Released,
    ServiceView,
)
from gridiron.manager.context import Context
from gridiron.manager.observe import Observer
from gridiron.manager.peers.api import NodeBuilds
from gridiron.manager.peers.builds import OwnBuilds
from gridiron.manager.peers.client import Peers, Unreached
from gridiron.manager.registry import Record
from gridiron.manager.shared import Shared
from gridiron.model import State
from gridiron.restate.port import Holding
from gridiron.workers.status import PoolQuarantined

MAX_HOLDERS = 20
"""Invocations that are told of one build: enough to see what they are."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the nodes have of all builds."""

    own: NodeBuilds
    others: tuple[NodeBuilds | Unreached, ...] | None  # None: the node is alone


class Deployments:
    """Reads builds for clients. Every answer is read afresh from Restate, the bundles and the cells.

    Those who ask at once share a reading: each costs some 20 ms of processor time, however few builds there
    are, and whoever asks whether the manager is ready would wait for all of them.
    """

    def __init__(self, context: Context, observer: Observer, peers: Peers | None = None) -> None:
        """`peers` are the other nodes of the cluster; None: the node is alone."""
        self._context = context
        self._observer = observer
        self._own = OwnBuilds(context)
        self._peers = peers
        self._look = Shared("look for clients", self._read)
        self._rendering = asyncio.Lock()  # pages are made one by one: dozens at once would hold up all else

    async def fetch(self, build_id: str) -> DeploymentView:
        """Read one build. Raises BuildNotFound."""
        statuses, nodes = await self._look()
        status = find_status(statuses, build_id)
        view = self._render(status, nodes)
        return view.model_copy(update={"held_by": await self._fetch_holders(status)})

    async def fetch_name(self, build_id: str) -> str | None:
        """Say whose a build is; None where its files do not say. Raises BuildNotFound."""
        return _name_of(find_status((await self._observer.look()).statuses, build_id))

    async def _fetch_holders(self, status: BuildStatus) -> tuple[HolderView, ...] | None:
        """Read what still needs a build; None where that is unknown."""
        if status.registration is None:
            return () if status.demand == IDLE else None
        try:
            holding = await self._context.restate.fetch_holding(
                status.registration.deployment_id, MAX_HOLDERS
            )
        except (RestateUnavailable, RestateRejected):
            return None
        url = self._context.settings.restate_admin_url
        return tuple(render_holder(each, url) for each in holding)

    async def release(self, build_id: str) -> Released:
        """Have a quarantined build served by the cells of all again. Safe to repeat.

        Raises BuildNotFound, WorkersUnavailable.
        """
        path = find_status((await self._observer.look()).statuses, build_id).path
        if path is None:
            raise BuildNotFound(build_id)
        return Released(build_id=build_id, released=await self._context.cells.release(path))

    async def fetch_page(
        self, name: str | None, state: State | None, cursor: str | None, limit: int
    ) -> DeploymentList:
        """Read up to `limit` builds that match, oldest first, beginning after the build `cursor`."""
        statuses, nodes = await self._look()
        matching = [
            status
            for status in statuses
            if name in {None, _name_of(status)} and state in {None, status.state}
        ]
        page, following = paginate(matching, cursor, limit)
        async with self._rendering:
            await asyncio.sleep(0)  # with the lock held, so that others have their turn before the next page
            views = tuple(self._render(status, nodes) for status in page)
        return DeploymentList(deployments=views, next=following)

    def _render(self, status: BuildStatus, nodes: Nodes) -> DeploymentView:
        record = self._context.registry.records.get(status.build_id)
        return render_deployment(status, record, nodes)

    async def _read(self) -> tuple[tuple[BuildStatus, ...], Nodes]:
        look = await self._observer.look()  # first: what is retired is loaded nowhere any more
        own, others = await asyncio.gather(self._own.fetch(), self._fetch_others())
        return look.statuses, Nodes(own, others)

    async def _fetch_others(self) -> tuple[NodeBuilds | Unreached, ...] | None:
        return None if self._peers is None else tuple((await self._peers.fetch_builds()).values())


def render_holder(holding: Holding, admin_url: str) -> HolderView:
    """Describe an invocation that still needs a build, with what leads out of that."""
    url = f"{admin_url.rstrip('/')}/invocations/{holding.invocation_id}"

    def command(action: str) -> str:
        return f"curl -fsS -X PATCH '{url}/{action}'"

    ways_out = {"cancel": command("cancel"), "kill": command("kill")}
    if holding.status == "backing-off":  # or it would hear of it when its delay is over
        ways_out["cancel"] += f" && {command('resume')}"
    if holding.pinned:  # what is not goes to the newest build by itself
        resume = command("resume?deployment=latest")
        waits = holding.status in {"paused", "suspended"}
        ways_out["resume"] = resume if waits else f"{command('pause')} && sleep 1 && {resume}"
    return HolderView(
        invocation_id=holding.invocation_id,
        target=holding.target,
        status=holding.status,
        pinned=holding.pinned,
        created_at=holding.created_at,
        attempts=holding.attempts,
        failure=holding.failure,
        ways_out=ways_out,
    )


def paginate(
    matching: list[BuildStatus], cursor: str | None, limit: int
) -> tuple[list[BuildStatus], str | None]:
    """Cut one page out of all matches; the second value is the cursor of the next one, if there is one.

    A cursor is the timestamp of the last build of a page: it stays good when builds come and go meanwhile.
    """
    after = int(cursor) if cursor else -1
    rest = sorted(
        (status for status in matching if status.timestamp > after),
        key=lambda status: status.timestamp,
    )
    size = min(limit, len(rest))
    while 0 < size < len(rest) and rest[size].timestamp == rest[size - 1].timestamp:
        size += 1  # what is damaged has no timestamp: all of it is on one page
    page = rest[:size]
    return page, str(page[-1].timestamp) if len(rest) > size else None


def render_nodes(status: BuildStatus, nodes: Nodes) -> tuple[NodeView, ...] | None:
    """Say of each node what it has of a build, by name; None where the only one cannot say it."""
    if nodes.others is None and nodes.own.loaded is None:
        return None
    views = (render_node(status, node) for node in (nodes.own, *(nodes.others or ())))
    return tuple(sorted(views, key=lambda view: view.node))


def render_node(status: BuildStatus, node: NodeBuilds | Unreached) -> NodeView:
    """Say what a node has of a build, and which of its cells have it loaded."""
    if isinstance(node, Unreached):
        return NodeView(node=node.node, loaded=None, cells=(), reason=node.reason)
    path = status.path or ""
    cells = tuple(
        CellView(cell=cell, loaded=path in in_flight, in_flight=in_flight.get(path, 0))
        for cell, in_flight in sorted((node.loaded or {}).items())
    )
    return NodeView(
        node=node.node,
        loaded=None if node.loaded is None else any(cell.loaded for cell in cells),
        cells=cells,
        present=None if node.copies is None else status.build_id in node.copies,
        quarantined=None if node.quarantined is None else _find_quarantined(node, path) is not None,
        reason="its cells do not answer" if node.loaded is None else None,
    )


def _find_quarantined(node: NodeBuilds, path: str) -> PoolQuarantined | None:
    return next((each for each in node.quarantined or () if each.path == path), None)


def render_deployment(status: BuildStatus, record: Record | None, nodes: Nodes) -> DeploymentView:
    """Put together what is known of one build."""
    build, registration = status.build, status.registration
    known = registration or record
    demand, quarantined = status.demand, _find_quarantined(nodes.own, status.path or "")
    return DeploymentView(
        build_id=status.build_id,
        name=_name_of(status),
        version=status.address.version if status.address else None,
        path=status.path,
        state=status.state,
        reason=status.reason,
        deployment_id=known.deployment_id if known else None,
        protocol=known.protocol if known else None,
        services=tuple(
            ServiceView(name=service, active=service in status.active_services)
            for service in (known.services if known else ())
        ),
        invocations=Invocations(pinned=demand.pinned, attempting=demand.attempting) if demand else None,
        archive_sha256=build.archive_sha256 if build else None,
        signed_by=build.signature.key_id if build and build.signature else None,
        sha256=build.sha256 if build else registration.metadata.get("sha256") if registration else None,
        size=build.size if build else None,
        source=build.source if build else None,
        git=build.git if build else None,
        secrets=build.secrets if build else (),
        created_at=build.created_at if build else registration.created_at if registration else None,
        activated_at=record.activated_at if record else None,
        draining_at=record.draining_at if record else None,
        drained_at=record.drained_at if record else None,
        timings_ms=record.timings_ms if record else {},
        nodes=render_nodes(status, nodes),
        quarantine=None
        if quarantined is None
        else QuarantineView(since=quarantined.since, reason=quarantined.reason, cell=quarantined.cell),
    )


def _name_of(status: BuildStatus) -> str | None:
    return status.address.name if status.address else None
