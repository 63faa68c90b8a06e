"""A mesh: three nodes and a bucket, each on a machine of its own, and a node alone to compare with."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from gridiron.secrets.key import KEY_SIZE
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.mesh.balancer import balanced
from tests.acceptance.mesh.bucket import Bucket
from tests.acceptance.mesh.node import MeshNode
from tests.harness import alive, wait_until
from tests.machines import Machine, Switch, switched

WORKER = Path(__file__).with_name("worker.js")
NODES = 3
REPLICATION = 2


CANARY = "canary"


class Mesh:
    """`running_mesh` makes one, in which nothing runs yet but the bucket."""

    def __init__(self, switch: Switch, directory: Path) -> None:
        self.directory = directory
        self.bundles = make_bundles(directory)
        self._switch = switch
        self._key = secrets.token_bytes(KEY_SIZE)
        self._machines = [switch.add() for _ in range(NODES)]
        self.bucket = Bucket(switch.add(), directory / "bucket")
        self.nodes = [self._make(machine, f"n{number}") for number, machine in enumerate(self._machines, 1)]
        self._others: list[MeshNode] = []

    @property
    def urls(self) -> list[str]:
        """Where invocations come in."""
        return [node.settings.ingress_url for node in self.nodes]

    def is_starting(self, url: str) -> bool:
        """Whether the node whose ingress has this URL was started, and has not been seen ready since."""
        return any(node.starting for node in self.nodes if url.startswith(f"{node.settings.ingress_url}/"))

    def start(self) -> None:
        """Start the bucket and every node, and wait until each answers calls."""
        self.bucket.start()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.await_ready()
        self.deploy(self.nodes[0], CANARY, "1")
        self.await_healthy()

    @contextmanager
    def alone(self) -> Iterator[MeshNode]:
        """A node that is in no cluster, and is ready."""
        directory = Path(mkdtemp(prefix="alone-", dir=self.directory))
        node = MeshNode(self._switch.add(), directory, {}, source_roots=[self.bundles.root])
        try:
            node.start()
            node.await_ready()
            yield node
        finally:
            node.close()

    def balanced(self) -> AbstractContextManager[str]:
        """Put a load balancer in front, and give its URL."""
        directory = Path(mkdtemp(prefix="balancer-", dir=self.directory))
        return balanced(self._switch.add(), self.nodes, directory)

    def deploy(self, node: MeshNode, name: str, version: str) -> dict[str, Any]:
        """Have a node activate a version of a name, which is also that of its service."""
        return node.client.activate(self.bundles.make(version, name), version, name)

    def await_healthy(self, seconds: float = 120) -> None:
        """Wait until every node is ready, and answers a call: a partition may have no leader yet."""
        for node in self.nodes:
            node.await_ready(seconds)
            wait_until(partial(node.answers, CANARY, "1"), seconds, f"{node!r} answers calls")

    def join(self, name: str) -> MeshNode:
        """Add a node, which is not started, on a machine of its own."""
        machine = self._switch.add()
        self._machines.append(machine)
        self.nodes.append(self._make(machine, name))
        return self.nodes[-1]

    def replace(self, lost: MeshNode, name: str) -> MeshNode:
        """Put a node with an empty disk on the machine of one that is lost; it is not started."""
        node = self._make(lost.machine, name)
        self.nodes[self.nodes.index(lost)] = node
        self._others.append(lost)
        return node

    def leave(self, node: MeshNode) -> None:
        """Do without a node that is to be removed from the cluster."""
        self.nodes.remove(node)
        self._others.append(node)

    def mend(self) -> None:
        """Bring back what a test may have left away, and wait until the mesh is whole."""
        if not self.bucket.processes():
            self.bucket.start()
        for node in self.nodes:
            node.heal()
            if not node.processes():
                node.start()
        self.await_healthy()

    def close(self) -> None:
        """End everything, and see that it has ended."""
        nodes = [*self.nodes, *self._others]
        processes = [pid for node in nodes for pid in node.processes()] + self.bucket.processes()
        with ExitStack() as stack:
            stack.callback(self.bucket.stop)
            for node in nodes:
                stack.callback(node.close)
        assert not alive(processes)

    def _make(self, machine: Machine, name: str, **settings: Any) -> MeshNode:
        cluster = {
            "address": machine.address,
            "peers": [each.address for each in self._machines],
            "replication": REPLICATION,
            "bucket": self.bucket.url,
        }
        given = {
            "node_name": name,
            "cluster": cluster,
            "s3_endpoint": self.bucket.endpoint,
            "source_roots": [self.bundles.root],
        }
        node = MeshNode(machine, self.directory / name, self.bucket.environment, **{**given, **settings})
        node.give_key(self._key)
        return node


class Bundles(ProbeBundles):
    """What a mesh serves: see worker.js."""

    def __init__(self, built: Path, root: Path) -> None:
        super().__init__(built, root)
        self.root = root


def make_bundles(directory: Path) -> Bundles:
    built = build_probe(find_toolchain(load_settings()), directory / "built", WORKER.read_text())
    return Bundles(built, directory / "sources")


@contextmanager
def running_mesh(directory: Path) -> Iterator[Mesh]:
    """Move this thread into a network of its own, and give a mesh in it that serves; leave nothing of it."""
    with switched() as switch:
        mesh = Mesh(switch, directory)
        try:
            mesh.start()
            yield mesh
        finally:
            mesh.close()
