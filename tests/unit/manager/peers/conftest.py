"""Two managers of one cluster in one process: n1 asks n2 through n2's own application, and n3 is away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx2
import pytest

from gridiron.bundles.shared import SharedStore
from gridiron.manager.health import HealthChecker
from gridiron.manager.node_status import NodeReader
from gridiron.manager.peers.builds import OwnBuilds
from gridiron.manager.peers.client import Peer, Peers
from gridiron.manager.peers.guard import PeerGuard
from gridiron.manager.peers.server import OwnNode, make_peer_app
from gridiron.manager.peers.signing import Signature, derive_key
from gridiron.testing.objects import FakeObjects
from gridiron.testing.workers import FakeCells
from gridiron.toolchain.programs import find_toolchain
from tests.unit.manager.conftest import Clock, Manager, make_settings

KEY = bytes(range(32))
N2, N3 = Peer("n2", "http://n2.test"), Peer("n3", "http://n3.test")
AWAY = "All connection attempts failed"


class Mesh:
    """The nodes, and what lies between them."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.objects = FakeObjects()
        self.n2 = self._make(directory / "n2", "n2", 2, None)
        self.app = make_peer_app(self._own(self.n2), PeerGuard(derive_key(KEY), self.clock), Counter())
        self.members = (N2, N3)
        client = self.connect()
        self.peers = Peers(lambda: self.members, client, client)
        self.n1 = self._make(directory / "n1", "n1", 1, self.peers)

    def connect(self, key: bytes = KEY) -> httpx2.AsyncClient:
        """Make a client of all other nodes, who signs as n1."""

        async def answer(request: httpx2.Request) -> httpx2.Response:
            if request.url.host == "n2.test":
                return await n2.handle_async_request(request)
            raise httpx2.ConnectError(AWAY, request=request)

        n2 = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        signature = Signature(key, "n1", self.clock)
        return httpx2.AsyncClient(
            transport=httpx2.MockTransport(answer), auth=signature, base_url="http://n2.test"
        )

    def _make(self, directory: Path, name: str, number: int, peers: Peers | None) -> Manager:
        directory.mkdir()
        others = [f"10.99.0.{other}" for other in (1, 2, 3) if other != number]
        cluster = {"address": f"10.99.0.{number}", "peers": others, "bucket": "s3://gridiron/mesh"}
        settings = make_settings(directory, node_name=name, cluster=cluster)
        store = SharedStore(settings.bundles_dir, self.objects, name)
        return Manager(directory, settings, cells=FakeCells(), clock=self.clock, store=store, peers=peers)

    @staticmethod
    def _own(manager: Manager) -> OwnNode:
        settings = manager.settings
        node = NodeReader(manager.context, find_toolchain(settings), lambda: settings)
        return OwnNode(OwnBuilds(manager.context), manager.logs.own, node, HealthChecker(()))


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path)
