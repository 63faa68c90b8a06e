"""Several Restate servers, each on a machine of its own: a network namespace, which a bridge joins to the
others.

Namespaces and bridge have no names, so that the kernel drops them with the last descriptor and process in
them, and meshes beside each other do not meet. Needs root and Debian's iproute2.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from gridiron.restate.role import restate_environment
from gridiron.settings import load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.harness import wait_until
from tests.namespace import configure, inside, make_network, network
from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed, running_seaweed

NETWORK = "10.99.0"
BRIDGE = f"{NETWORK}.254"
CLUSTER = "mesh"
ENDPOINT, CONTROL = 9080, 9081
"""Ports of 127.0.0.1 on each machine: what its Restate calls, and what tells that what to serve."""

WORKER = Path(__file__).parent / "contract" / "restate_worker.mjs"


@dataclass
class Machine:
    """One machine of the mesh: its network, and the programs that run there."""

    number: int
    directory: Path
    network: int  # a descriptor
    name: str = ""  # of its Restate
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def fabric_url(self) -> str:
        return f"http://{self.address}:5122"

    @property
    def admin_url(self) -> str:
        return f"http://{self.address}:9070"

    @property
    def ingress_url(self) -> str:
        return f"http://{self.address}:8080"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "restate.log"

    def start(self, peers: tuple[Machine, ...], snapshots: Seaweed | None) -> None:
        """Start Restate, as a node of a cluster that may have to be provisioned yet."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "restate.toml"
        config.write_text(render_config(self, peers, snapshots))
        binary = find_toolchain(load_settings()).restate_server().path
        self.run("restate", str(binary), f"--config-file={config}", f"--base-dir={self.data}", "--no-logo")

    def serve(self, services: list[dict[str, object]]) -> None:
        """Start an endpoint that serves these at `/probe/1`: see restate_worker.mjs."""
        node = find_toolchain(load_settings()).node().path
        self.run("worker", str(node), str(WORKER), str(ENDPOINT), str(CONTROL))
        body = {"path": "/probe/1", "protocol": "BidiStream", "services": services}

        def is_told() -> bool:
            try:
                return httpx2.post(f"http://127.0.0.1:{CONTROL}", json=body, trust_env=False).is_success
            except httpx2.TransportError:
                return False

        with inside(self.network):
            wait_until(is_told, 30, "the endpoint serves")

    def run(self, name: str, *arguments: str) -> None:
        """Run a program on this machine, its output in a file of that name."""
        with inside(self.network), (self.directory / f"{name}.log").open("ab") as output:
            self.running[name] = subprocess.Popen(
                arguments,
                env=restate_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def end(self, name: str = "restate", number: signal.Signals = signal.SIGKILL) -> None:
        """End one of its programs, and wait for that."""
        process = self.running.pop(name)
        process.send_signal(number)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


class Mesh:
    """Machines on one bridge. This thread is on the bridge's own machine, and reaches all of them."""

    def __init__(self, directory: Path, count: int, snapshots: Seaweed | None) -> None:
        self.directory = directory
        self.snapshots = snapshots
        self.machines: tuple[Machine, ...] = ()
        for number in range(1, count + 1):
            self.add(number)

    def add(self, number: int) -> Machine:
        """Join one more machine, with nothing on it."""
        made = make_network()
        machine = Machine(number, self.directory / f"m{number}", made, f"n{number}")
        self.machines += (machine,)
        there = f"/proc/{os.getpid()}/fd/{made}"
        configure(
            f"link add m{number} type veth peer name eth0 netns {there}",
            f"link set m{number} master bridge up",
        )
        with inside(made):
            configure(f"address add {machine.address}/24 dev eth0", "link set eth0 up")
        return machine

    def start(self, *machines: Machine) -> None:
        """Start Restate on these."""
        for machine in machines:
            machine.start(self.machines, self.snapshots)

    def cut(self, machine: Machine) -> None:
        """Pull its cable."""
        configure(f"link set m{machine.number} down")

    def mend(self, machine: Machine) -> None:
        """Put it back."""
        configure(f"link set m{machine.number} up")

    def wipe(self, machine: Machine) -> None:
        """Remove what Restate has on its disk."""
        shutil.rmtree(machine.data)


@contextmanager
def running_mesh(directory: Path, count: int = 3, *, snapshots: bool = False) -> Iterator[Mesh]:
    """Move this thread onto the bridge's machine, and give machines on which nothing runs yet.

    With `snapshots`, Restate takes them into an S3 server on the bridge's machine.
    """
    with ExitStack() as stack:
        stack.enter_context(network())
        configure("link add bridge type bridge", f"address add {BRIDGE}/24 dev bridge", "link set bridge up")
        mesh = Mesh(directory, count, stack.enter_context(running_seaweed(BRIDGE)) if snapshots else None)
        try:
            yield mesh
        finally:
            for machine in mesh.machines:
                for name in list(machine.running):
                    machine.end(name)
                os.close(machine.network)


def render_config(machine: Machine, peers: tuple[Machine, ...], snapshots: Seaweed | None) -> str:
    config = f"""
cluster-name = "{CLUSTER}"
node-name = "{machine.name}"
roles = ["http-ingress", "admin", "worker", "log-server", "metadata-server"]
auto-provision = false
default-num-partitions = 8
default-replication = 2
listen-mode = "tcp"
bind-address = "{machine.address}:5122"
advertised-address = "{machine.fabric_url}"
rocksdb-total-memory-size = "128 MiB"
disable-telemetry = true
[metadata-client]
type = "replicated"
addresses = {json.dumps([peer.fabric_url for peer in peers])}
[bifrost]
default-provider = "replicated"
[admin]
bind-address = "{machine.address}:9070"
[ingress]
bind-address = "{machine.address}:8080"
[default-retry-policy]
initial-interval = "100ms"
exponentiation-factor = 2.0
max-interval = "1s"
max-attempts = "unlimited"
"""
    return (
        config
        if snapshots is None
        else config
        + f"""
[worker.snapshots]
destination = "s3://{BUCKET}/restate"
snapshot-interval = "30s"
snapshot-interval-num-records = 50
num-retained = 2
aws-endpoint-url = "{snapshots.url}"
aws-region = "us-east-1"
aws-access-key-id = "{ACCESS_KEY}"
aws-secret-access-key = "{SECRET_KEY}"
aws-allow-http = true
"""
    )
