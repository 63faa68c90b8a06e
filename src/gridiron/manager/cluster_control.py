"""What an operator does with the nodes of a cluster: drain one, take it back, remove it for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from gridiron.errors import NodeAlone, NodeNeeded, NodeNotFound, NodeRunning
from gridiron.manager.api import Health
from gridiron.manager.cluster_api import ClusterStatus, Grown, NodeChanged, NodeRemoved
from gridiron.manager.cluster_status import ClusterReading, Own, StatusReader
from gridiron.manager.cluster_warnings import is_half_removed
from gridiron.manager.context import Context
from gridiron.manager.members import Members
from gridiron.manager.peers.builds import CELLS_LIMIT, OwnBuilds
from gridiron.manager.peers.client import Peers

if TYPE_CHECKING:  # a node that is alone has no use for them
    from gridiron.restate.port import WorkerState
    from gridiron.restate.view import Member, View

log = structlog.get_logger()

ACTIVE: WorkerState = "active"
DRAINING: WorkerState = "draining"


class ClusterChanging(ClusterReading, Protocol):
    """What is changed of Restate's cluster: a RestateCluster, which says what each method raises."""

    async def set_worker_state(self, node_id: str, state: WorkerState) -> None:
        """Let a node run partitions, or move all of them away from it."""
        ...

    async def set_replication(self, replication: int) -> None:
        """Keep everything on so many nodes from now on."""
        ...

    async def create_snapshots(self) -> None:
        """Store a snapshot of each partition now."""
        ...

    async def remove_node(self, node_id: str) -> None:
        """Take a node that is down for good out of the cluster."""
        ...

    async def restore_node(self, node_id: str) -> None:
        """Undo what a removal began with a node that is back; whether it leads is left as it is."""
        ...


class ClusterControl:
    """The cluster of a node, for its operator.

    All methods raise NodeAlone where the node is in none, and RestateUnavailable. Those that change something
    raise ClusterRejected where Restate refuses it, and are safe to repeat.
    """

    def __init__(
        self, context: Context, restate: ClusterChanging, members: Members, status: StatusReader
    ) -> None:
        self._context = context
        self._restate = restate
        self._members = members
        self._status = status
        self._own = OwnBuilds(context)

    async def fetch_status(self, health: Health) -> ClusterStatus:
        """Read how the cluster is; `health` is this node's own."""
        builds = await self._own.fetch(CELLS_LIMIT)
        node = self._context.settings.node_name
        guarding = self._context.mesh.guardian.state if self._context.mesh else None
        return await self._status.fetch(Own(node, self._context.now(), health, builds, guarding))

    async def drain(self, name: str) -> NodeChanged:
        """Have a node lead nothing. Raises NodeNotFound, and NodeNeeded where no other node could lead."""
        before = find_drained(await self._restate.fetch_view(), name)
        if before.worker_state == DRAINING:
            return NodeChanged(node=name, worker_state=DRAINING, changed=False)
        await self._restate.set_worker_state(before.node_id, DRAINING)
        view = await self._restate.fetch_view()
        if not find_leading(view):  # two drained two at the same time
            await self._restate.set_worker_state(before.node_id, ACTIVE)
            raise _nobody_left(name)
        log.info("node.drained", node=name)
        return NodeChanged(node=name, worker_state=DRAINING, changed=True)

    async def activate(self, name: str) -> NodeChanged:
        """Let a node lead again, and undo its removal where that had begun. Raises NodeNotFound."""
        member = find_member(await self._restate.fetch_view(), name)
        halved = is_half_removed(alive=member.alive, storage_state=member.storage_state)
        if member.worker_state == ACTIVE and not halved:
            return NodeChanged(node=name, worker_state=ACTIVE, changed=False)
        if halved:
            await self._restate.restore_node(member.node_id)
        await self._restate.set_worker_state(member.node_id, ACTIVE)
        log.info("node.activated", node=name)
        return NodeChanged(node=name, worker_state=ACTIVE, changed=True)

    async def remove(self, name: str) -> NodeRemoved:
        """Take a node that is down out of the cluster, for good; it needs a new name to come back.

        Where something is kept on it alone yet, ClusterRejected says so, and the same call later goes on.
        Raises NodeNotFound, NodeRunning, and NodeNeeded where too few would be left.
        """
        view = await self._restate.fetch_view()
        member = find_removed(view, name, await self._restate.fetch_replication())
        await self._restate.remove_node(member.node_id)
        await self._members.look()
        log.info("node.removed", node=name, node_id=member.node_id)
        return NodeRemoved(node=name, node_id=member.node_id)

    async def grow(self) -> Grown:
        """Keep everything on as many nodes as the settings say, once there are so many. Nothing lowers that.

        Snapshots are stored first: a node that joins begins with them.
        """
        settings = self._context.settings
        if settings.cluster is None:
            raise NodeAlone
        wanted = settings.cluster.replication
        now = await self._restate.fetch_replication()
        usable = len(find_leading(await self._restate.fetch_view()))
        missing = max(wanted - usable, 0)
        if now >= wanted:
            return Grown(replication=now, wanted_replication=wanted, changed=False, missing=0)
        await self._restate.create_snapshots()
        if missing:
            return Grown(replication=now, wanted_replication=wanted, changed=False, missing=missing)
        await self._restate.set_replication(wanted)
        log.info("cluster.replicated", replication=wanted)
        return Grown(replication=wanted, wanted_replication=wanted, changed=True, missing=0)


def make_cluster_control(context: Context, peers: Peers | None) -> ClusterControl | None:
    """Make it of what a manager works with; None where the node is alone."""
    mesh, cluster = context.mesh, context.settings.cluster
    if mesh is None or cluster is None or peers is None:
        return None
    status = StatusReader(cluster, mesh.restate, peers, mesh.objects)
    return ClusterControl(context, mesh.restate, mesh.members, status)


def find_member(view: View, name: str) -> Member:
    """Give the node of a name. Raises NodeNotFound."""
    for member in view.members:
        if member.name == name:
            return member
    raise NodeNotFound(name)


def find_leading(view: View) -> tuple[Member, ...]:
    """Give the nodes that may lead partitions."""
    return tuple(member for member in view.members if member.may_lead)


def find_drained(view: View, name: str) -> Member:
    """Give the node that is to lead nothing. Raises NodeNotFound, NodeNeeded; not of one that is drained."""
    member = find_member(view, name)
    if member.worker_state != DRAINING and not any(each.name != name for each in find_leading(view)):
        raise _nobody_left(name)
    return member


def find_removed(view: View, name: str, replication: int) -> Member:
    """Give the node that is to be removed. Raises NodeNotFound, NodeRunning, NodeNeeded."""
    member = find_member(view, name)
    if member.alive:
        raise NodeRunning(name)
    left = len(find_leading(view))
    if left < replication:
        reason = f"{left} other nodes are alive and active, and everything is kept on {replication}"
        raise NodeNeeded(name, "removed", reason, "Start another node first; it joins by itself.")
    return member


def _nobody_left(name: str) -> NodeNeeded:
    mend = "Start another node first, or let one lead again: `gridiron cluster activate NODE`."
    return NodeNeeded(name, "drained", "no other node is alive and active, so that nothing would run", mend)
