"""How a node of a cluster looks at Restate, and at whether it is cut off."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import httpx2
import pytest

from gridiron.errors import RestateUnavailable
from gridiron.manager.health import Seen
from gridiron.manager.looks import FINE, InCluster, _look_at_cluster
from gridiron.manager.members import Members
from gridiron.restate.incarnation import Start
from gridiron.testing.cluster import FakeCluster

CUT = Seen(False, "1 of 3 nodes that decide are reached: it is cut off, or they are down")


@dataclass
class Restate:
    """One whose partitions may lack a leader, and which can be started anew."""

    name: str = "N1:1#1"
    whole: bool = False
    away: bool = False

    async def look_at_start(self) -> Start:
        return Start(self.name, "N1:1", 1)

    async def check(self) -> str:
        if not self.whole:
            raise RestateUnavailable("restate", "a partition has no leader")
        return await self.fetch_version()

    async def fetch_version(self) -> str:
        if self.away:
            raise RestateUnavailable("restate", "nobody listens")
        return "1"


async def is_usable(looks: InCluster) -> bool:
    try:
        await looks.check()
    except RestateUnavailable:
        return False
    return True


async def test_a_partition_without_a_leader_counts_after_a_start_only() -> None:
    restate = Restate()
    looks = InCluster(restate, restate)  # type: ignore[arg-type] - of each it has what is used
    assert not await is_usable(looks)
    restate.whole = True
    assert await is_usable(looks)
    restate.whole = False
    assert await is_usable(looks)
    restate.away = True
    assert not await is_usable(looks)
    restate.away, restate.name = False, "N1:2#2"
    assert not await is_usable(looks)


async def look(members: Members, reached: Collection[str]) -> Seen:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.host not in reached:
            raise httpx2.ConnectError("no route", request=request)
        assert (request.url.port, request.url.path) == (5122, "/health")
        return httpx2.Response(200, json={"node_id": "N2:1", "age": "1s"})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        return await _look_at_cluster(members, "n1", client)


@pytest.mark.parametrize(
    ("reached", "seen"),
    [(["10.0.0.2", "10.0.0.3"], FINE), (["10.0.0.3"], FINE), ([], CUT)],
)
async def test_a_node_that_reaches_most_is_not_cut_off(reached: list[str], seen: Seen) -> None:
    members = Members(FakeCluster(["n1", "n2", "n3"]))
    assert await look(members, reached) == Seen(False, "this node is in no cluster yet")
    await members.look()
    assert await look(members, reached) == seen


async def test_who_keeps_no_metadata_decides_nothing() -> None:
    cluster = FakeCluster(["n1", "n2", "n3"])
    cluster._members["n1"] = replace(cluster._members["n1"], keeps_metadata=False)
    members = Members(cluster)
    await members.look()
    assert not (await look(members, ["10.0.0.2"])).ready
    assert (await look(members, ["10.0.0.2", "10.0.0.3"])).ready
