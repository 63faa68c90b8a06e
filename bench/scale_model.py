"""What bounds a mesh, on paper: counts and costs at any number of nodes, from what was measured on few.

How often a node asks for what is counted in its code: each rule below says where. What one such thing costs
was measured, and each cost says where. All of it is pure, and docs/scale.md has what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from gridiron.cluster import PARTITIONS
from gridiron.manager.health import INTERVAL
from gridiron.manager.looks import ROUND_LIMIT
from gridiron.manager.members import LOOK_INTERVAL
from gridiron.manager.peers.client import COPY_LIMIT, MAX_ASKED
from gridiron.manager.tokens import PERIOD
from gridiron.objects.bucket import PAGE
from gridiron.restate.admin import READ_LIMIT as QUERY_LIMIT
from gridiron.restate.restatectl import READ_LIMIT as VIEW_LIMIT

MONTH = 30 * 86_400
HOUR = 3600

PARTS = 3
"""Objects of a build in the bucket: its state, its archive, its record. Secrets would be a fourth."""

LISTINGS = 3
"""Of all builds in a round: the sweep's look, what the tending of copies tidies up, and its look."""

LOOKS = 2
"""Of a round at everything: the sweep's, and that of tending copies."""

INCARNATIONS = 2
"""Of a look: before all else that Restate says, and after it. Each asks every node that is alive."""

REMOVALS = 2
"""Of a build in its life: it retires, and its files go."""

APPENDS = 2
"""Commits that a call waits for beside its steps: its beginning and its end."""


SLOW = "`mesh`, an earlier run, as slow as those of the rows above"
BY_HAND = "by hand: 25 times against one node with 8 partitions"
READ = "by hand: answers of 300 and of 3,000 rows"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thing costs."""

    value: float
    unit: str
    what: str
    source: str  # where it was measured, or is documented


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """What was measured, on two cores, unless its source says otherwise."""

    call: Cost = Cost(
        4.28, "ms", "processor time of a call of one step", "`throughput`, 1 step, 8 callers: its note"
    )
    step: Cost = Cost(
        0.70, "ms", "processor time of each further step", "`throughput`, 10 steps less 1 step, by nine"
    )
    mesh: Cost = Cost(3.2, "×", "a call in a mesh, replication 2, against a node alone", "`mesh`")
    sent: Cost = Cost(
        5.9, "kB", "sent between nodes for a call of one step, at the most", SLOW + ": 6.3 less 0.4"
    )
    quiet: Cost = Cost(55, "ms/s", "processor time of an idle node alone", SLOW)
    idle: Cost = Cost(90, "ms/s", "the same of one of three, without its looks", SLOW + ": 98 less 8")
    node: Cost = Cost(276, "MiB", "memory of an idle node of three (PSS)", "`mesh`")
    forked: Cost = Cost(2.0, "ms", "processor time of a manager for starting restatectl", BY_HAND)
    started: Cost = Cost(10, "ms", "the same of restatectl", SLOW + ", and 9 to 12.5 by hand")
    asked: Cost = Cost(8.5, "ms", "the same of Restate for answering it", BY_HAND)
    row: Cost = Cost(0.01, "ms", "the same of a manager for each node and partition in an answer", READ)
    reached: Cost = Cost(
        0.7, "ms", "a request of the manager", "[performance](performance.md): 6–8 ms for ten"
    )
    build: Cost = Cost(4.9, "MiB", "a build that is loaded", "`density`: its note")
    looked_at: Cost = Cost(0.13, "ms", "a look, for each build", "`scale`, one sweep: 142 less 22 ms, by 900")
    kept: Cost = Cost(0.012, "MiB", "memory of the manager for each build", "`scale`: 71 less 60 MiB, by 900")
    counted: Cost = Cost(
        0.0025, "ms", "counting an invocation in flight", "[limits](limits.md): 20,000 in 50 ms"
    )
    record: Cost = Cost(
        2.0, "kB", "a deployment in Restate's record", "[limits](limits.md): 1.3 with 3 handlers, 4.2 with 20"
    )
    record_limit: Cost = Cost(30.4, "MiB", "that record at the most", "[limits](limits.md)")
    written: Cost = Cost(
        0.032, "s", "writing that record, for each MB", "[limits](limits.md): 25 MB in 0.8 s"
    )
    gets: Cost = Cost(5500, "/s", "LIST, GET and HEAD of a bucket's prefix", "Amazon's documentation of S3")
    puts: Cost = Cost(3500, "/s", "PUT and DELETE of a bucket's prefix", "Amazon's documentation of S3")
    request: Cost = Cost(30, "ms", "a request to the bucket in its region", "assumed")
    copy: Cost = Cost(200, "ms", "fetching a build of 1 MiB from the bucket", "assumed")


COSTS = UnitCosts()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A mesh, and what it is to do."""

    nodes: int
    cores: int = 4  # of a node
    memory_gib: float = 16  # of a node
    names: int = 20
    stored: int = 6  # builds of a name: the active one, and those that are kept for a rollback
    registered: float = 1.2  # of them on average: the active one, and what drains
    hot: float = 0.1  # share of the names that are called so often that they stay loaded
    deployments: float = 1.0  # an hour, of all names
    calls: float = 50.0  # a second, of all nodes
    steps: int = 3  # of a call
    in_flight: int = 2000  # invocations, those that sleep too
    partitions: int = PARTITIONS
    replication: int = 2
    sweep_seconds: float = 30.0
    regions: int = 1
    round_trip_ms: float = 60.0  # between two regions
    archive_mib: float = 1.0  # of a build

    @classmethod
    def of(cls, nodes: int, partitions: int | None = None) -> Scenario:
        """Give a mesh of so many nodes that has so many times as much to do as one.

        Without a number of partitions, it has two for each node, and as many as by default at least.
        """
        one = cls(nodes=1)
        return replace(
            one,
            nodes=nodes,
            names=one.names * nodes,
            deployments=one.deployments * nodes,
            calls=one.calls * nodes,
            in_flight=one.in_flight * nodes,
            partitions=partitions or max(PARTITIONS, 2 * nodes),
            replication=min(2, nodes),
        )

    @property
    def builds(self) -> int:
        """All that are stored."""
        return self.names * self.stored


@dataclass(frozen=True, slots=True)
class Bound:
    """Something that ends: how much of it is used, and how much there is."""

    name: str
    used: float
    most: float
    unit: str

    @property
    def share(self) -> float:
        """The part of it that is used; more than 1 cannot be."""
        return self.used / self.most


@dataclass(frozen=True)
class Mesh:
    """What a scenario comes to."""

    scenario: Scenario
    costs: UnitCosts = COSTS

    # -- how often ----------------------------------------------------------------------------------------

    @property
    def is_alone(self) -> bool:
        """Whether there is no cluster: no bucket, and nobody to ask."""
        return self.scenario.nodes == 1

    @property
    def rounds(self) -> float:
        """Rounds of the loop in a second, of all nodes; one that takes long delays the next."""
        return self.scenario.nodes / max(self.scenario.sweep_seconds, self.round_seconds)

    @property
    def deployments(self) -> float:
        """Activations in a second; in the long run as many builds retire, and as many go."""
        return self.scenario.deployments / HOUR

    @property
    def pages(self) -> int:
        """Requests of one listing of all builds."""
        return max(1, math.ceil(self.scenario.builds * PARTS / PAGE))

    @cached_property
    def requests(self) -> Mapping[str, float]:
        """Requests to the bucket in a second, by kind; Restate's snapshots are not among them."""
        if self.is_alone:
            return {"LIST": 0.0, "GET": 0.0, "PUT": 0.0, "DELETE": 0.0, "leases": 0.0}
        others = self.scenario.nodes - 1
        # an activation lists its name; each other node lists the build that it copies
        listed = self.pages * REMOVALS + 1 + others + 1  # the last one: of what is deleted
        # each other node reads the record twice (to copy, and at its next look), the archive, and two states
        # (settled, and retired); the activation reads the name's secrets
        got = others * 5 + 1
        # claim, archive, record, mark, settled; retired
        put = 6
        leases = 3 * (1 + REMOVALS)  # read, taken, given back; renewed where it takes longer than two seconds
        return {
            "LIST": self.rounds * LISTINGS * self.pages + self.deployments * listed,
            "GET": self.scenario.nodes / PERIOD.total_seconds() + self.deployments * got,
            "PUT": self.deployments * put,
            "DELETE": self.deployments * PARTS,
            "leases": self.deployments * leases,
        }

    @property
    def requests_month(self) -> float:
        """All of them in thirty days."""
        return sum(self.requests.values()) * MONTH

    @property
    def views(self) -> float:
        """Processes of restatectl in a second, of all nodes: each asks one what it sees of the cluster."""
        if self.is_alone:
            return 0.0
        nodes = self.scenario.nodes
        return self.looks * INCARNATIONS * nodes + nodes / LOOK_INTERVAL.total_seconds()

    @property
    def reaches(self) -> float:
        """Requests for readiness in a second, of all nodes: each asks all that keep the metadata, so all."""
        nodes = self.scenario.nodes
        return 0.0 if self.is_alone else nodes * (nodes - 1) / INTERVAL.total_seconds()

    @property
    def looks(self) -> float:
        """Looks at everything in a second, of all nodes."""
        return self.rounds * LOOKS + self.deployments * REMOVALS

    @property
    def peer_requests(self) -> float:
        """Requests between managers in a second: each activation has every other node fetch a copy."""
        return self.deployments * (self.scenario.nodes - 1)

    # -- how long -----------------------------------------------------------------------------------------

    @property
    def request_seconds(self) -> float:
        """A request to the bucket, which is in one region; of several, most nodes are in another."""
        far = self.scenario.round_trip_ms if self.scenario.regions > 1 else 0.0
        return (self.costs.request.value + far) / 1000

    @property
    def view_ms(self) -> float:
        """Time of the manager's one thread for one node's view: a row for each node and each partition."""
        rows = self.scenario.nodes + self.scenario.partitions
        return self.costs.forked.value + rows * self.costs.row.value

    @property
    def view_seconds(self) -> float:
        """Until all nodes have said what they see: by the manager's thread, or by all cores of it."""
        if self.is_alone:
            return 0.0
        every = (self.view_ms + self.costs.started.value) / self.scenario.cores
        return self.scenario.nodes * max(self.view_ms, every) / 1000

    @property
    def count_seconds(self) -> float:
        """Until all invocations in flight are counted, for one look."""
        return self.scenario.in_flight * self.costs.counted.value / 1000

    @property
    def look_seconds(self) -> float:
        """A look at everything."""
        listing = 0.0 if self.is_alone else self.pages * self.request_seconds
        said = INCARNATIONS * self.view_seconds + self.count_seconds
        return listing + said + self.scenario.builds * self.costs.looked_at.value / 1000

    @property
    def round_seconds(self) -> float:
        """A round in which nothing is to be done."""
        if self.is_alone:
            return self.look_seconds
        return LOOKS * self.look_seconds + self.pages * self.request_seconds

    @property
    def spread_seconds(self) -> float:
        """Until every other node has fetched a build."""
        return math.ceil((self.scenario.nodes - 1) / MAX_ASKED) * self.costs.copy.value / 1000

    @property
    def record_mb(self) -> float:
        """Restate's record of deployments."""
        return self.scenario.names * self.scenario.registered * self.costs.record.value / 1000

    @property
    def write_seconds(self) -> float:
        """One change of that record."""
        return self.record_mb * self.costs.written.value

    @property
    def activation_seconds(self) -> float:
        """An activation in a mesh, beside what a node alone takes for it."""
        if self.is_alone:
            return 0.0
        # one after the other: two for the lease and its return, a listing, the secrets, five writes
        own = 10 * self.request_seconds
        caught_up = self.scenario.nodes * self.costs.reached.value / 1000
        return own + caught_up + self.spread_seconds + self.write_seconds

    @property
    def removal_seconds(self) -> float:
        """A removal, which one node at a time does."""
        return self.look_seconds + (0.0 if self.is_alone else 5 * self.request_seconds)

    @property
    def wait_ms(self) -> float:
        """What a call waits longer where what it writes has to be in two regions."""
        across = self.scenario.round_trip_ms if self.scenario.regions > 1 else 0.0
        return (self.scenario.steps + APPENDS) * across

    # -- how much -----------------------------------------------------------------------------------------

    @property
    def call_ms(self) -> float:
        """Processor time of a call, on all nodes."""
        alone = self.costs.call.value + (self.scenario.steps - 1) * self.costs.step.value
        return alone * (1.0 if self.is_alone else self.costs.mesh.value)

    @property
    def sent_mb(self) -> float:
        """What calls have nodes send each other in a second, in MB, as if they were of one step."""
        return 0.0 if self.is_alone else self.scenario.calls * self.costs.sent.value / 1000

    @property
    def leading(self) -> int:
        """Nodes that can lead a partition, and so run calls."""
        return min(self.scenario.nodes, self.scenario.partitions)

    @property
    def manager_cores(self) -> float:
        """What looks and readiness take of a manager, which is one thread."""
        nodes, costs = self.scenario.nodes, self.costs
        asking = self.views * self.view_ms + self.reaches * costs.reached.value
        return (asking + self.looks * self.scenario.builds * costs.looked_at.value) / nodes / 1000

    @property
    def looking_cores(self) -> float:
        """Cores of a node that looks and readiness take, its own and the answers to those of others."""
        nodes, costs = self.scenario.nodes, self.costs
        views = self.views * (costs.started.value + costs.asked.value) / 1000
        return self.manager_cores + (views + self.looks * self.count_seconds) / nodes

    @property
    def idle_cores(self) -> float:
        """Cores that a node takes when it is idle, beside looks."""
        return (self.costs.quiet if self.is_alone else self.costs.idle).value / 1000

    @property
    def cores_used(self) -> float:
        """Cores of a node that leads: calls, what it does when idle, looks."""
        calls = self.scenario.calls / self.leading * self.call_ms / 1000
        return calls + self.idle_cores + self.looking_cores

    @property
    def calls_most(self) -> float:
        """Calls a second for which all nodes have processors."""
        left = self.scenario.cores - self.idle_cores - self.looking_cores
        return max(left, 0.0) * 1000 / self.call_ms * self.leading

    @property
    def hot_builds(self) -> float:
        """Builds that every node has loaded: calls of one service run on all nodes that lead."""
        return self.scenario.names * self.scenario.hot

    @property
    def cells_mib(self) -> float:
        """Memory of the builds that are loaded on a node."""
        return self.hot_builds * self.costs.build.value

    @property
    def node_mib(self) -> float:
        """Memory of a node beside these: its programs, and what its manager knows of builds."""
        return self.costs.node.value + self.scenario.builds * self.costs.kept.value

    @property
    def copies_gib(self) -> float:
        """Of builds on each node's disk: all that are registered are kept there."""
        return self.scenario.names * self.scenario.registered * self.scenario.archive_mib / 1024

    # -- what ends first ----------------------------------------------------------------------------------

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Everything that ends, the tightest first."""
        scenario, costs, requests = self.scenario, self.costs, self.requests
        removing = self.deployments * REMOVALS * self.removal_seconds
        read, written = requests["LIST"] + requests["GET"], requests["PUT"] + requests["DELETE"]
        found = [
            Bound("processors", self.cores_used, scenario.cores, "cores of a node"),
            Bound("the manager's thread", self.manager_cores, 1.0, "core"),
            Bound("memory of isolates", self.cells_mib, scenario.memory_gib * 512, "MiB of a node"),
            Bound("record of deployments", self.record_mb / 1.048576, costs.record_limit.value, "MiB"),
            Bound("changes of that record", self.deployments * 2 * self.write_seconds, 1.0, "s a second"),
            Bound("asking every node", self.view_seconds, VIEW_LIMIT.total_seconds(), "s"),
            Bound("counting what is in flight", self.count_seconds, QUERY_LIMIT.total_seconds(), "s"),
            Bound("a round of the loop", self.round_seconds, ROUND_LIMIT.total_seconds(), "s"),
            Bound("removals, one at a time", removing, 1.0, "s a second"),
            Bound("reads of the bucket", read, costs.gets.value, "a second"),
            Bound("writes of the bucket", written + requests["leases"], costs.puts.value, "a second"),
            Bound("copies to all nodes", self.spread_seconds, COPY_LIMIT.total_seconds(), "s"),
        ]
        if scenario.nodes > scenario.partitions:  # below that, it is no matter how many there are
            found.append(Bound("partitions", scenario.nodes, scenario.partitions, "nodes that lead"))
        return tuple(sorted(found, key=lambda bound: bound.share, reverse=True))


def find_nodes(name: str, most: int = 100_000) -> int | None:
    """Say at how many nodes a bound bites, where the work grows with them; None: up to `most` it does not."""
    low, high = 1, most + 1
    if not _bites(name, most):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _bites(name, middle) else (middle, high)
    return high


def _bites(name: str, nodes: int) -> bool:
    return any(each.name == name and each.share > 1 for each in Mesh(Scenario.of(nodes)).bounds)
