"""A cluster of Restate that lives in memory: which nodes it has, what they are, and who leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from gridiron.errors import ClusterRejected, RestateUnavailable
from gridiron.restate.port import WorkerState
from gridiron.restate.view import Member, Partition, View

PARTITIONS = 8
AWAY = "no majority"
REFUSAL = "Safety-check failed: Can no longer create new replica sets with worker-state changes."
"""As restatectl says it."""


class FakeCluster:
    """ClusterPort, of nodes that all see the same at once.

    Partitions are led by active nodes that are alive, in turn, and by nobody where there are none. As in the
    real one, as many nodes as the replication stay active, be they alive or not. `away`: no node answers.
    `changes` has all that were made.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Make a cluster of nodes, all alive and active; their ids are N1, N2, … in this order."""
        self._members = {name: make_member(number, name) for number, name in enumerate(names, 1)}
        self.away = False
        self.replication = 2
        self.changes: list[tuple[str, str]] = []

    async def fetch_view(self) -> View:
        """Give the nodes and the partitions."""
        await self._answer()
        return self.view

    async def set_worker_state(self, node_id: str, state: WorkerState) -> None:
        """Change what a node is."""
        await self._answer()
        name = next(name for name, member in self._members.items() if member.node_id == node_id)
        active = sum(each.worker_state == "active" for each in self._members.values() if each.name != name)
        if state == "draining" and active < self.replication:
            raise ClusterRejected(f"make node {node_id} {state}", REFUSAL)
        self.set(name, worker_state=state)
        self.changes.append((name, state))

    @property
    def view(self) -> View:
        """What there is."""
        leaders = [member for member in self._members.values() if member.may_lead]
        partitions = (
            make_partition(each, leaders[each % len(leaders)] if leaders else None)
            for each in range(PARTITIONS)
        )
        return View(tuple(self._members.values()), tuple(partitions))

    def states(self) -> list[str]:
        """What the workers of all nodes are, in their order."""
        return [member.worker_state for member in self._members.values()]

    def set(self, name: str, *, alive: bool = True, worker_state: str | None = None) -> None:
        """Let something befall a node, or somebody else change what its worker is."""
        member = self._members[name]
        state = member.worker_state if worker_state is None else worker_state
        self._members[name] = replace(member, alive=alive, worker_state=state)

    async def _answer(self) -> None:
        await asyncio.sleep(0)  # others come in between
        if self.away:
            raise RestateUnavailable("http://10.0.0.1:5122", AWAY)


def make_member(number: int, name: str) -> Member:
    """Make a node that is alive and active."""
    return Member(
        node_id=f"N{number}",
        generation=f"N{number}:1",
        name=name,
        address=f"http://10.0.0.{number}:5122",
        alive=True,
        worker_state="active",
        storage_state="read-write",
        keeps_metadata=True,
    )


def make_partition(number: int, leader: Member | None) -> Partition:
    """Make a partition that a node leads in full, or that nobody leads."""
    return Partition(
        partition_id=number,
        leader=None if leader is None else leader.generation,
        epoch=None if leader is None else "e1",
        active=leader is not None,
        replicas=() if leader is None else (leader.node_id,),
        applied_lsn=None,
        archived_lsn=None,
    )
