"""A cluster of Restate of several nodes, as one of them sees and changes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import ValidationError

from gridiron.errors import ClusterRejected, RestateUnavailable
from gridiron.model import describe_validation
from gridiron.restate.connection import MAX_PROBLEMS
from gridiron.restate.incarnation import NodePort, Start, start_of
from gridiron.restate.port import WorkerState
from gridiron.restate.provisioning import Stage, Step, plan_provision, stage_of
from gridiron.restate.queries import load_query
from gridiron.restate.restatectl import Restatectl
from gridiron.restate.segments import Segment, find_written, parse_replication, parse_segments
from gridiron.restate.view import Member, Partition, View, find_doubt, name_incarnation, node_of, parse_view

SNAPSHOT_LIMIT = timedelta(minutes=5)
"""How long snapshots of all partitions may take to be stored."""

LOOK_PAUSE = timedelta(milliseconds=200)
"""How long the nodes are left alone between two looks at whether they can be provisioned."""

SCHEMA_LIMIT, SCHEMA_PAUSE = timedelta(seconds=2), timedelta(milliseconds=50)
"""How long, and how often, a node is asked whether it knows what another has registered; 0.02 to 0.12 s
were seen on an idle machine."""

TRIMS = 2
"""How often logs are shortened to get them off a node: a snapshot ends one record before the last one."""

T = TypeVar("T")


class RestateCluster:
    """The cluster of the node whose fabric is at `fabric_url`; `binary` is restatectl.

    `client` is used as it is and left open; without one, a client is made, and `aclose` closes it. Every
    method raises RestateUnavailable where the cluster does not answer, or not in a way that is understood;
    those that change something raise ClusterRejected where it refuses, and are safe to repeat.
    """

    def __init__(self, fabric_url: str, binary: Path, client: httpx2.AsyncClient | None = None) -> None:
        self._owned = client is None
        self._http = client if client is not None else httpx2.AsyncClient(trust_env=False)
        self._binary = binary
        self._ctl = Restatectl(fabric_url, binary)
        self._node = NodePort(fabric_url, self._http)
        self._view = View((), ())  # that this node had last
        self._start = Start("", "", 0)  # of this node that was seen last
        self._whole = ""  # the name of the one that was seen to know of all registrations

    async def aclose(self) -> None:
        """Close the client where it was made here."""
        if self._owned:
            await self._http.aclose()

    # -- what it is ----------------------------------------------------------------------------------------

    async def fetch_view(self) -> View:
        """Give the nodes and the partitions as this node sees them, for the price of either."""
        self._view = await self._fetch_view(self._ctl)
        return self._view

    async def fetch_nodes(self) -> tuple[Member, ...]:
        """List the nodes of the cluster by their ids, as this one sees them."""
        return (await self.fetch_view()).members

    async def fetch_partitions(self) -> tuple[Partition, ...]:
        """List the partitions by their ids, as this node sees them."""
        return (await self.fetch_view()).partitions

    async def check(self) -> None:
        """See whether this node sees most of the others, and a leader of each partition at work.

        Costs a third of `fetch_incarnation` on three nodes, and proves nothing: what it sees is seconds old.
        """
        view = await self.fetch_view()
        if (doubt := find_doubt({each.node_id: view for each in view.members if each.alive})) is not None:
            raise self._ctl.unavailable(doubt)

    async def fetch_segments(self) -> tuple[Segment, ...]:
        """List the parts of all logs, and on which nodes they are, as this node knows it."""
        return await self._fetch(self._ctl, "segments", parse_segments)

    async def fetch_fingerprint(self) -> str:
        """Give what tells this cluster from any other, one of the same name and nodes among them."""
        metadata = await self._ctl.fetch_metadata("nodes_config")
        fingerprint = metadata.get("cluster_fingerprint")
        if not fingerprint:  # Restate older than 1.5 gave none
            raise self._ctl.unavailable("its nodes' configuration has no cluster_fingerprint")
        return str(fingerprint)

    async def fetch_replication(self) -> int:
        """Say on how many nodes everything is kept, as the majority of the keepers of metadata has it."""
        try:
            return parse_replication(await self._ctl.fetch_metadata("bifrost_config"))
        except ValidationError as error:
            raise self._ctl.unavailable(f"what it says of its logs is not understood: {error}") from error

    async def fetch_start(self) -> str:
        """Name this start of this node, once all that is registered was known to it: see RestatePort.

        Who leads does not matter for that. All nodes are asked once in each start.
        """
        self._start = await self._node.look_at_start()
        if self._start.name != self._whole:
            return start_of(await self.fetch_incarnation())
        return self._start.name

    async def catch_up(self) -> None:
        """Wait until this node knows what others have registered: see RestatePort.

        It costs a request to each node, and `fetch_incarnation` where one that was alive does not answer, or
        where those who were are too few to decide what is so.
        """
        self._start = await self._node.look_at_start()
        peers = self._peers_of(self._start)
        asked = {node_of(self._start.node_id)} | {peer.node_id for peer in peers}
        answers = await asyncio.gather(*(self._fetch_schema_version(peer) for peer in peers))
        if None in answers or not self._view.is_decided_by(asked):
            await self.fetch_incarnation()
            return
        for peer, version in zip(peers, answers, strict=True):
            if version is not None and version > self._start.schema_version:
                await self._await_schema(version, peer)

    async def _fetch_schema_version(self, peer: Member) -> int | None:
        try:
            return (await NodePort(peer.address, self._http).fetch_health()).schema_version
        except RestateUnavailable:
            return None

    def _peers_of(self, start: Start) -> list[Member]:
        """The other nodes that are alive, as this one saw them last."""
        own_id = node_of(start.node_id)
        return [member for member in self._view.members if member.alive and member.node_id != own_id]

    async def fetch_incarnation(self) -> str:
        """Name this state of the cluster, once all of it answers in full: see RestatePort.

        Two calls that give the same have neither a restart of this node nor a change of a leader between
        them. Asks each node that is alive, at once; a node that is cut off from most of them gives no name.
        """
        start = await self._node.look_at_start()
        own = await self.fetch_view()
        peers = self._peers_of(start)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask_peer(peer), name=f"ask {peer.name}") for peer in peers]
        views = {node_of(start.node_id): own}
        for peer, answer in zip(peers, (task.result() for task in tasks), strict=True):
            if isinstance(answer, RestateUnavailable):
                raise self._ctl.unavailable(
                    f"{peer.name} is not known to be down and does not answer"
                ) from answer
            views[peer.node_id], schema_version = answer
            if schema_version > start.schema_version:
                await self._await_schema(schema_version, peer)
        if (doubt := find_doubt(views)) is not None:
            raise self._ctl.unavailable(doubt)
        self._whole = start.name
        return name_incarnation(start.name, own)

    async def _await_schema(self, version: int, peer: Member) -> None:
        """Wait until this node knows what another has registered, which takes a tenth of a second."""
        deadline = time.monotonic() + SCHEMA_LIMIT.total_seconds()
        while (await self._node.fetch_health()).schema_version < version:
            if time.monotonic() > deadline:
                raise self._ctl.unavailable(f"this node does not know yet what {peer.name} has registered")
            await asyncio.sleep(SCHEMA_PAUSE.total_seconds())

    async def _ask_peer(self, peer: Member) -> tuple[View, int] | RestateUnavailable:
        """Give another node's view, and the version of the registrations that it knows."""
        try:
            health = await NodePort(peer.address, self._http).fetch_health()
            return await self._fetch_view(Restatectl(peer.address, self._binary)), health.schema_version
        except RestateUnavailable as error:
            return error

    async def _fetch_view(self, ctl: Restatectl) -> View:
        return await self._fetch(ctl, "cluster", parse_view)

    async def _fetch(
        self, ctl: Restatectl, query: str, parse: Callable[[Sequence[Mapping[str, Any]]], T]
    ) -> T:
        rows = await ctl.query(load_query(query))
        try:
            return parse(rows)
        except ValidationError as error:
            problems = describe_validation(list(error.errors(include_url=False))[:MAX_PROBLEMS])
            raise ctl.unavailable(f"restatectl's answer is not understood: {problems}") from error

    # -- its beginning -------------------------------------------------------------------------------------

    async def fetch_stage(self) -> Stage:
        """Say where this node is; `UNKNOWN` where it does not answer."""
        return await _fetch_stage(self._node)

    async def ensure_provisioned(
        self, peers: Collection[str], claim: Callable[[], Awaitable[bool]], partitions: int, replication: int
    ) -> bool:
        """Wait until this node is in a cluster; make that if it is this node's part, and say whether it was.

        `peers` are the fabrics of all other nodes. `claim` tells whether this node alone may provision, for
        good: it must not tell so of a node that has lost its disk since. It is called only while all nodes
        wait to be provisioned. Waits without a limit: for nodes that are not started yet, and for the one
        that has the claim. Safe to repeat and to cancel. Raises ClusterRejected.
        """
        others = [NodePort(url, self._http) for url in peers]
        made = False
        while (step := await self._look(others)) is not Step.DONE:
            if step is Step.PROVISION and await claim() and await self._look(others) is Step.PROVISION:
                await self.provision(partitions, replication)
                made = True
            await asyncio.sleep(LOOK_PAUSE.total_seconds())
        return made

    async def provision(self, partitions: int, replication: int) -> None:
        """Make this node the first of a new cluster. Only `ensure_provisioned` knows when that is right.

        The number of partitions is for good. Where this node is in a cluster already, nothing happens.
        """
        arguments = ("provision", f"--num-partitions={partitions}", f"--replication={replication}")
        await self._ctl.change("provision the cluster", arguments)

    async def _look(self, others: Collection[NodePort]) -> Step:
        own, *peers = await asyncio.gather(*(_fetch_stage(port) for port in (self._node, *others)))
        return plan_provision(own, peers)

    # -- changes of it -------------------------------------------------------------------------------------

    async def set_worker_state(self, node_id: str, state: WorkerState) -> None:
        """Let a node run partitions (`active`), or move all of them away from it (`draining`).

        Leaders leave a draining node within some seconds after this has returned.
        """
        arguments = ("nodes", "set-worker-state", f"--nodes={node_id}", f"--worker-state={state}")
        await self._ctl.change(f"make node {node_id} {state}", arguments)

    async def set_replication(self, replication: int) -> None:
        """Keep everything on so many nodes from now on; raises ClusterRejected where there are not so many.

        Restate itself takes any number, and could write nothing anymore.
        """
        usable = sum(member.may_lead for member in await self.fetch_nodes())
        action = f"keep everything on {replication} nodes"
        if not 1 <= replication <= usable:
            raise ClusterRejected(action, f"{usable} nodes are alive and active")
        await self._ctl.change(action, ("config", "set", f"--replication={replication}"))

    async def create_snapshots(self) -> None:
        """Store a snapshot of each partition now, as a node that joins needs; returns when that is done."""
        await self._ctl.change("create snapshots", ("snapshots", "create-snapshot"), SNAPSHOT_LIMIT)

    async def remove_node(self, node_id: str) -> None:
        """Take a node that is down for good out of the cluster; nothing happens where it is in none.

        What it kept is on others by then. Raises ClusterRejected while it runs, where the others are too few
        for the replication, and as long as something is kept on it: then the same call later goes on. The end
        of a log stays where it is until something more is written to it: an invocation, say.
        """
        view = await self.fetch_view()
        member = next((each for each in view.members if each.node_id == node_id), None)
        if member is None:
            return
        action = f"remove node {node_id}"
        if member.alive:
            raise ClusterRejected(action, "it is running, so stop it first")
        if member.worker_state == "active":
            await self.set_worker_state(node_id, "draining")
        if member.storage_state == "read-write":
            storage = ("nodes", "set-storage-state", f"--nodes={node_id}", "--storage-state=read-only")
            await self._ctl.change(action, storage)
        if member.keeps_metadata:
            await self._ctl.change(action, ("metadata-server", "remove-node", node_id))
        await self._empty_logs(node_id, action)
        for partition in await self.fetch_partitions():
            if node_id in partition.replicas:
                raise ClusterRejected(action, f"partition {partition.partition_id} is not kept elsewhere yet")
        await self._ctl.change(action, ("nodes", "remove", f"--nodes={node_id}"))

    async def restore_node(self, node_id: str) -> None:
        """Undo what `remove_node` began with a node that is back: it keeps metadata and logs again.

        Whether it leads is left as it is. Storage comes last, so that a node whose storage is `read-only` is
        one that is not restored yet. Nothing happens where the node is down, in no cluster, or whole.
        """
        member = next((each for each in await self.fetch_nodes() if each.node_id == node_id), None)
        if member is None or not member.alive:
            return
        action = f"restore node {node_id}"
        if not member.keeps_metadata:
            await self._ctl.change(action, ("metadata-server", "add-node", node_id))
        if member.storage_state == "read-only":
            storage = ("nodes", "set-storage-state", f"--nodes={node_id}", "--storage-state=read-write")
            await self._ctl.change(action, storage)

    async def _empty_logs(self, node_id: str, action: str) -> None:
        """Write logs elsewhere, and shorten them until nothing of them is on a node, if that can be done."""
        for _ in range(TRIMS):
            segments = await self.fetch_segments()
            if not any(node_id in segment.nodes for segment in segments):
                return
            for log_id in find_written(segments, node_id):
                await self._ctl.change(action, ("logs", "reconfigure", f"--log-id={log_id}"))
            await self._ctl.change(action, ("snapshots", "create-snapshot", "--trim-log"), SNAPSHOT_LIMIT)


async def _fetch_stage(port: NodePort) -> Stage:
    try:
        return stage_of(await port.fetch_health())
    except RestateUnavailable:
        return Stage.UNKNOWN
