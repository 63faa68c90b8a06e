"""Three real nodes of Restate: what one of them says of their cluster, and what of that can be believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from gridiron.errors import ClusterRejected, RestateUnavailable
from gridiron.lifecycle.observation import Demand
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.cluster import RestateCluster
from gridiron.restate.ingress import Ingress
from gridiron.restate.provisioning import Stage
from gridiron.restate.restatectl import Restatectl
from gridiron.restate.view import Member, Partition
from gridiron.settings import load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.mesh_restate import ENDPOINT, Machine, Mesh, running_mesh
from tests.namespace import inside

PARTITIONS, REPLICATION = 8, 2
SUSPENDED = 100
ROUNDS = 10
SETTLE_SECONDS = 90
URI = f"http://127.0.0.1:{ENDPOINT}/probe/1"
SERVICES: list[dict[str, object]] = [
    {"name": "probe", "type": "Service", "handlers": [{"name": "suspend"}, {"name": "answer"}]}
]
T = TypeVar("T")


@dataclass(frozen=True)
class Provisioned:
    """A mesh, and how it became a cluster."""

    mesh: Mesh
    holder: str  # the machine that has the claim
    made: dict[str, bool]  # by machine, whether it says that it made the cluster


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), snapshots=True) as mesh:
        mesh.start(*mesh.machines)
        holders: list[str] = []
        made = asyncio.run(provision(mesh, holders))
        asyncio.run(settle(*mesh.machines))
        for machine in mesh.machines:
            machine.serve(SERVICES)
        asyncio.run(register(mesh.machines[0]))
        yield Provisioned(mesh, holders[0], made)


@pytest.fixture
def mesh(provisioned: Provisioned) -> Mesh:
    return provisioned.mesh


async def provision(mesh: Mesh, holders: list[str]) -> dict[str, bool]:
    """Let all machines try at once; the first of them that asks has the claim."""

    async def take_part(machine: Machine) -> bool:
        async def claim() -> bool:
            holders.append(machine.name)
            return holders[0] == machine.name

        async with seen_from(machine) as cluster, asyncio.timeout(SETTLE_SECONDS):
            return await cluster.ensure_provisioned(
                urls_beside(mesh, machine), claim, PARTITIONS, REPLICATION
            )

    answers = await asyncio.gather(*(take_part(machine) for machine in mesh.machines))
    return {machine.name: made for machine, made in zip(mesh.machines, answers, strict=True)}


async def register(machine: Machine) -> None:
    async with RestateAdmin(machine.admin_url) as admin:
        await admin.register(URI, {})


def urls_beside(mesh: Mesh, machine: Machine) -> list[str]:
    return [other.fabric_url for other in mesh.machines if other is not machine]


@asynccontextmanager
async def seen_from(machine: Machine) -> AsyncIterator[RestateCluster]:
    cluster = RestateCluster(machine.fabric_url, find_toolchain(load_settings()).restatectl().path)
    try:
        yield cluster
    finally:
        await cluster.aclose()


async def eventually(ask: Callable[[], Awaitable[T]], is_so: Callable[[T], bool] = bool) -> T:
    """Ask until the answer is as wanted; who is unavailable or refuses is asked again."""
    seen: object = None
    try:
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                try:
                    seen = answer = await ask()
                except (RestateUnavailable, ClusterRejected) as error:
                    seen = error
                else:
                    if is_so(answer):
                        return answer
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"not so after {SETTLE_SECONDS} s, and at last: {seen}") from error


async def settle(*machines: Machine) -> None:
    """Wait until each of these sees all nodes alive, and believes what they say."""
    for machine in machines:
        async with seen_from(machine) as cluster:
            await eventually(cluster.fetch_nodes, all_alive)
            await eventually(cluster.fetch_incarnation)


def all_alive(members: tuple[Member, ...]) -> bool:
    return all(member.alive for member in members)


async def node_of(cluster: RestateCluster, machine: Machine) -> Member:
    (member,) = [each for each in await cluster.fetch_nodes() if each.name == machine.name]
    return member


def leaders_of(incarnation: str) -> str:
    """Leave out which start of which node it was that named a state of the cluster."""
    return incarnation.partition(" ")[2]


async def test_one_of_all_nodes_provisions_and_all_join(provisioned: Provisioned) -> None:
    mesh = provisioned.mesh
    assert provisioned.made == {machine.name: machine.name == provisioned.holder for machine in mesh.machines}
    async with seen_from(mesh.machines[0]) as cluster:
        members, partitions = await cluster.fetch_nodes(), await cluster.fetch_partitions()
    assert {(member.name, member.address) for member in members} == {
        (machine.name, machine.fabric_url) for machine in mesh.machines
    }
    assert {(each.worker_state, each.storage_state, each.keeps_metadata) for each in members} == {
        ("active", "read-write", True)
    }
    assert [each.partition_id for each in partitions] == list(range(PARTITIONS))
    assert {len(each.replicas) for each in partitions} == {REPLICATION}


async def test_provisioning_again_changes_nothing(provisioned: Provisioned) -> None:
    for machine in provisioned.mesh.machines:
        async with seen_from(machine) as cluster:
            before = await cluster.fetch_fingerprint(), await cluster.fetch_nodes()
            await cluster.provision(PARTITIONS + 1, 1)
            assert (await cluster.fetch_fingerprint(), await cluster.fetch_nodes()) == before
            assert await cluster.fetch_stage() is Stage.JOINED


async def test_while_nothing_happens_its_state_has_one_name(mesh: Mesh) -> None:
    named = set()
    for machine in mesh.machines:
        async with seen_from(machine) as cluster:
            await cluster.check()
            seen = {await cluster.fetch_incarnation() for _ in range(3)}
            assert len(seen) == 1
            named |= seen
    assert len(named) == len(mesh.machines)
    assert len({leaders_of(name) for name in named}) == 1


async def test_a_node_that_has_caught_up_knows_what_another_has_registered(mesh: Mesh) -> None:
    here, there, _ = mesh.machines
    async with (
        seen_from(there) as cluster,
        RestateAdmin(here.admin_url) as admin,
        RestateAdmin(there.admin_url) as other,
    ):
        await eventually(cluster.fetch_start)
        for _ in range(ROUNDS):
            registered = await admin.register(URI, {})
            await cluster.catch_up()
            assert [each.uri for each in await other.fetch_registrations()] == [URI]
            await admin.unregister(registered.deployment_id)
            await cluster.catch_up()
            assert await other.fetch_registrations() == ()


async def test_what_it_says_while_a_node_dies_is_believed_only_when_it_is_whole(mesh: Mesh) -> None:
    asked, _, killed = mesh.machines
    async with (
        seen_from(asked) as cluster,
        RestateAdmin(asked.admin_url) as admin,
        Ingress(asked.ingress_url) as ingress,
    ):
        deployment = (await admin.register(URI, {})).deployment_id
        await asyncio.gather(*(ingress.send("probe", "suspend") for _ in range(SUSPENDED)))
        whole = {deployment: Demand(pinned=SUSPENDED, attempting=0)}
        await eventually(admin.fetch_demand, lambda demand: demand == whole)
        before = await eventually(cluster.fetch_incarnation)
        gone = (await node_of(cluster, killed)).generation
        assert f"={gone}/" in before  # it leads some
        killed.end()
        believed, refused = [], 0
        while not believed or f"={gone}/" in believed[-1][0]:
            try:
                name = await cluster.fetch_incarnation()
                demand = await admin.fetch_demand()
                if await cluster.fetch_incarnation() == name:
                    believed.append((name, demand))
            except RestateUnavailable:
                refused += 1
        assert [demand for _, demand in believed] == [whole] * len(believed)
        assert refused > 0
        assert before not in {name for name, _ in believed}
    mesh.start(killed)
    await settle(*mesh.machines)


async def test_a_node_that_is_cut_off_gives_no_name(mesh: Mesh) -> None:
    first, cut, _ = mesh.machines
    async with seen_from(first) as cluster, seen_from(cut) as alone:
        before = await eventually(cluster.fetch_incarnation)
        with inside(cut.network):
            await alone.fetch_start()
        mesh.cut(cut)
        try:
            with inside(cut.network):
                # at first it has not noticed, and its view is that of before
                for ask in (alone.catch_up, alone.fetch_incarnation):
                    with pytest.raises(RestateUnavailable):
                        await ask()
                await eventually(alone.fetch_nodes, lambda nodes: sum(each.alive for each in nodes) == 1)
                for _ in range(3):
                    for ask in (alone.catch_up, alone.fetch_incarnation, alone.check):
                        with pytest.raises(RestateUnavailable, match="cut off from the others"):
                            await ask()
                assert await alone.fetch_stage() is Stage.JOINED  # it does not know better
            assert leaders_of(await eventually(cluster.fetch_incarnation)) != leaders_of(before)
        finally:
            mesh.mend(cut)
    await settle(*mesh.machines)


async def test_leaders_leave_a_draining_node_and_come_back(mesh: Mesh) -> None:
    first, _, drained = mesh.machines
    async with seen_from(first) as cluster:
        node = await node_of(cluster, drained)

        def has_none(partitions: tuple[Partition, ...]) -> bool:
            return not any(
                node.node_id in each.replicas or each.leader == node.generation or not each.active
                for each in partitions
            )

        for _ in range(2):  # a second time does no harm
            await cluster.set_worker_state(node.node_id, "draining")
        await eventually(cluster.fetch_partitions, has_none)
        await eventually(
            lambda: node_of(cluster, drained), lambda seen: seen == replace(node, worker_state="draining")
        )
        with pytest.raises(ClusterRejected, match="Safety-check"):  # as FakeCluster does
            await cluster.set_worker_state((await node_of(cluster, first)).node_id, "draining")
        await cluster.set_worker_state(node.node_id, "active")
        await eventually(
            cluster.fetch_partitions,
            lambda partitions: any(each.leader == node.generation for each in partitions),
        )
    await settle(*mesh.machines)


async def test_snapshots_are_stored(mesh: Mesh) -> None:
    async with seen_from(mesh.machines[1]) as cluster:
        await cluster.create_snapshots()
        await eventually(
            cluster.fetch_partitions,
            lambda partitions: all(each.archived_lsn is not None for each in partitions),
        )


async def test_what_the_cluster_cannot_do_is_refused(mesh: Mesh) -> None:
    async with seen_from(mesh.machines[0]) as cluster:
        node_id = (await node_of(cluster, mesh.machines[1])).node_id
        await cluster.set_replication(REPLICATION)
        for replication in (0, len(mesh.machines) + 1):
            with pytest.raises(ClusterRejected, match="3 nodes are alive and active"):
                await cluster.set_replication(replication)
        with pytest.raises(ClusterRejected, match="N99"):
            await cluster.set_worker_state("N99", "draining")
        with pytest.raises(ClusterRejected, match="it is running"):
            await cluster.remove_node(node_id)
        assert all_alive(await cluster.fetch_nodes())


async def test_a_removal_that_was_begun_is_undone(mesh: Mesh) -> None:
    """A node comes back in the middle of it, and is as it was; so is one that never went."""
    first, *others = mesh.machines
    for number, back in enumerate(others):
        async with seen_from(first) as cluster:
            node_id = (await node_of(cluster, back)).node_id
            if number:
                back.end()
                await eventually(lambda back=back: node_of(cluster, back), lambda seen: not seen.alive)
            await begin_removal(first, node_id)
            if number:
                await cluster.restore_node(node_id)  # nothing is done while it is down
                mesh.start(back)
                await eventually(lambda back=back: node_of(cluster, back), lambda seen: seen.alive)
            half = await node_of(cluster, back)
            assert (half.storage_state, half.keeps_metadata) == ("read-only", False)
            await cluster.restore_node(node_id)
            whole = replace(half, storage_state="read-write", keeps_metadata=True)
            await eventually(lambda back=back: node_of(cluster, back), whole.__eq__)
            await cluster.restore_node(node_id)  # a second time does no harm
            await cluster.restore_node("N99")
            assert await node_of(cluster, back) == whole
        await settle(*mesh.machines)


async def begin_removal(asked: Machine, node_id: str) -> None:
    """Do as `remove_node` begins, and end there."""
    ctl = Restatectl(asked.fabric_url, find_toolchain(load_settings()).restatectl().path)
    for arguments in (
        ("nodes", "set-storage-state", f"--nodes={node_id}", "--storage-state=read-only"),
        ("metadata-server", "remove-node", node_id),
    ):
        await ctl.change("begin to remove it", arguments)


async def test_a_node_that_was_wiped_is_replaced_by_one_of_another_name(mesh: Mesh) -> None:
    """Under its old name it is refused, and does not begin a cluster of its own."""
    first, second, wiped = mesh.machines

    async def claim() -> bool:
        raise AssertionError("a node that was wiped asks for the claim")

    async with seen_from(first) as cluster, seen_from(wiped) as alone:
        old = await node_of(cluster, wiped)
        wiped.end()
        mesh.wipe(wiped)
        mesh.cut(wiped)
        mesh.start(wiped)
        with inside(wiped.network):
            # it knows of no cluster, and nobody tells it of one
            await eventually(alone.fetch_stage, lambda stage: stage is Stage.AWAITING)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await alone.ensure_provisioned(urls_beside(mesh, wiped), claim, PARTITIONS, REPLICATION)
            with pytest.raises(RestateUnavailable, match="starting"):
                await alone.fetch_incarnation()
        mesh.mend(wiped)
        assert await asyncio.to_thread(wiped.running["restate"].wait, SETTLE_SECONDS) == 1
        wiped.end()

        await eventually(lambda: node_of(cluster, wiped), lambda member: not member.alive)
        assert (await node_of(cluster, wiped)).storage_state == "data-loss"
        async with Ingress(first.ingress_url) as ingress:
            await eventually(lambda: removed(cluster, old.node_id, ingress))
        await cluster.remove_node(old.node_id)  # a second time does no harm
        assert {member.name for member in await cluster.fetch_nodes()} == {first.name, second.name}

        mesh.wipe(wiped)
        wiped.name = "n4"
        mesh.start(wiped)
        await eventually(
            cluster.fetch_nodes, lambda nodes: {"n1", "n2", "n4"} == {each.name for each in nodes}
        )
        await settle(*mesh.machines)


async def removed(cluster: RestateCluster, node_id: str, ingress: Ingress) -> bool:
    """Remove a node of a cluster that is in use, and tell whether this is seen already."""
    await asyncio.gather(*(ingress.call("probe", "answer") for _ in range(8 * PARTITIONS)))
    await cluster.remove_node(node_id)
    return node_id not in {member.node_id for member in await cluster.fetch_nodes()}
