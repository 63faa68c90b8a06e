"""What the nodes of a cluster say of it, and whether that is whole: values and decisions, no I/O.

Each node of a cluster of Restate has a view of its own, and goes on having it when it is cut off. A partition
has a leader, which its invocations run at, in an epoch of its own: a number that grows with each change of
leader. Who asks a node for invocations is told what the leaders have that this node believes in.

So a view alone proves nothing. It is believed where nodes enough to be right have been asked at once, and
agree.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

ALIVE = "alive"
MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster, as another one or itself sees it."""

    node_id: str  # "N2"; for good
    generation: str  # "N2:4": its fourth start
    name: str
    address: str  # of its fabric, as its peers reach it: "http://10.0.0.2:5122"
    alive: bool  # as far as the node that was asked knows; 1 to 3 s late
    worker_state: str  # active, draining, disabled or provisioning
    storage_state: str  # read-write, read-only, …
    keeps_metadata: bool  # whether it is one of those whose majority decides

    @property
    def may_lead(self) -> bool:
        """Whether it may lead partitions, as far as the node that was asked knows."""
        return self.alive and self.worker_state == "active"


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition, as a node sees it."""

    partition_id: int
    leader: str | None  # a generation: "N2:4"; None while there is none
    epoch: str | None  # of that leader: "e7"
    active: bool  # whether that leader was seen to have all that came before it; up to 1.5 s late
    replicas: tuple[str, ...]  # ids of nodes
    applied_lsn: int | None  # how far the leader has come in the log; None where that is not known
    archived_lsn: int | None  # up to where snapshots are stored; None where no living replica stored any

    @property
    def led_by(self) -> str | None:
        """The id of the node that leads: "N2"; None while there is none."""
        return None if self.leader is None else node_of(self.leader)


@dataclass(frozen=True, slots=True)
class View:
    """What one node knows of its cluster."""

    members: tuple[Member, ...]  # by id
    partitions: tuple[Partition, ...]  # by id

    @property
    def leaders(self) -> tuple[tuple[int, str | None, str | None], ...]:
        """Who leads which partition in which epoch."""
        return tuple((each.partition_id, each.leader, each.epoch) for each in self.partitions)

    def is_decided_by(self, node_ids: Collection[str]) -> bool:
        """Whether these nodes are a majority of those that keep the metadata."""
        keepers = {member.node_id for member in self.members if member.keeps_metadata}
        return 2 * len(keepers.intersection(node_ids)) > len(keepers)

    @property
    def generations(self) -> frozenset[str]:
        """Which starts of which nodes there are."""
        return frozenset(member.generation for member in self.members)


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["node"]
    id: str
    generation: str
    name: str
    address: str
    state: str
    worker_state: str
    storage_state: str
    metadata_server_state: str = ""


class _Partition(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["partition"]
    id: int
    generation: str | None = None
    epoch: str | None = None
    mode: str | None = None
    replay: str | None = None
    replicas: str = ""
    applied_lsn: int | None = None
    archived_lsn: int | None = None


_ROWS = TypeAdapter(tuple[Annotated[_Node | _Partition, Field(discriminator="kind")], ...])


def parse_view(rows: Sequence[Mapping[str, Any]]) -> View:
    """Read the rows of cluster.sql. Raises pydantic's ValidationError when they have another form."""
    read = _ROWS.validate_python(rows)
    members = (_member(row) for row in read if isinstance(row, _Node))
    partitions = (_partition(row) for row in read if isinstance(row, _Partition))
    return View(
        tuple(sorted(members, key=lambda member: _number(member.node_id))),
        tuple(sorted(partitions, key=lambda partition: partition.partition_id)),
    )


def _member(row: _Node) -> Member:
    return Member(
        node_id=row.id,
        generation=row.generation,
        name=row.name,
        address=row.address.rstrip("/"),
        alive=row.state == ALIVE,
        worker_state=row.worker_state,
        storage_state=row.storage_state,
        keeps_metadata=row.metadata_server_state == MEMBER,
    )


def _partition(row: _Partition) -> Partition:
    return Partition(
        partition_id=row.id,
        leader=row.generation,
        epoch=row.epoch,
        active=row.mode == "Leader" and row.replay == "active",
        replicas=tuple(row.replicas.split(",")) if row.replicas else (),
        applied_lsn=row.applied_lsn,
        archived_lsn=row.archived_lsn,
    )


def node_of(generation: str) -> str:
    """Give the node of one of its starts: `N2` of `N2:4`."""
    return generation.partition(":")[0]


def _number(node_id: str) -> int:
    return int(node_id.removeprefix("N"))


def find_doubt(views: Mapping[str, View]) -> str | None:
    """Say why views cannot be believed, each by the id of the node that it is from; None where they can.

    They can where those who were asked are a majority of the nodes that keep the metadata, see the same
    starts of nodes, see no other node alive, agree on who leads, and all who lead were asked and are whole. A
    leader that nobody of them knew of would have to be a node that all of them lost sight of, and without the
    majority.
    """
    first, *others = views.values()
    for view in others:
        if view.generations != first.generations:
            return "its nodes see different starts of one another"
        if view.leaders != first.leaders:
            return "its nodes see different leaders: they are changing"
    if not first.is_decided_by(views.keys()):
        return "this node is cut off from the others, or most of them are down"
    unasked = {m.name for view in views.values() for m in view.members if m.alive and m.node_id not in views}
    if unasked:
        return f"its nodes do not agree whether {', '.join(sorted(unasked))} is alive"
    return _find_inactive(first, views)


def _find_inactive(first: View, views: Mapping[str, View]) -> str | None:
    asked = {member.generation for member in first.members if member.node_id in views}
    if not first.partitions:
        return "it has no partitions yet"
    for index, partition in enumerate(first.partitions):
        if partition.leader not in asked:
            return f"partition {partition.partition_id} has no leader"
        if not any(view.partitions[index].active for view in views.values()):
            return f"the leader of partition {partition.partition_id} is starting"
    return None


def name_incarnation(start: str, view: View) -> str:
    """Name a state of the cluster as one start of a node sees it: another for each change of a leader."""
    leaders = " ".join(f"{partition}={leader}/{epoch}" for partition, leader, epoch in view.leaders)
    return f"{start} {leaders}"
