from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gridiron.restate.admin import RestateAdmin
from gridiron.restate.incarnation import NodePort
from gridiron.restate.ingress import Ingress
from tests.contract.restate_servers import Servers, start_servers
from tests.contract.restate_worlds import FakeWorld, RealWorld, World
from tests.seaweed import Seaweed, running_seaweed


@pytest.fixture(scope="session")
def restate_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with start_servers(tmp_path_factory.mktemp("restate")) as servers:
        yield servers


@pytest.fixture
async def real(restate_servers: Servers) -> AsyncIterator[RealWorld]:
    async with (
        RestateAdmin(restate_servers.admin_url, starts=NodePort(restate_servers.node_url)) as restate,
        RestateAdmin(restate_servers.closed_url, starts=NodePort(restate_servers.closed_url)) as down,
        Ingress(restate_servers.ingress_url) as ingress,
    ):
        world = RealWorld(restate_servers, restate, down, ingress)
        try:
            yield world
        finally:
            await world.close()


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return FakeWorld()
    real: World = request.getfixturevalue("real")
    return real


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    with running_seaweed() as found:
        yield found
