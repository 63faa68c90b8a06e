"""The load balancer of docs/cluster.md in front of a mesh, on a machine of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2

from gridiron.settings import load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.mesh.node import MeshNode
from tests.harness import wait_until
from tests.machines import Machine
from tests.pages import find_examples

PORT = 8080


@contextmanager
def balanced(machine: Machine, nodes: Sequence[MeshNode], directory: Path) -> Iterator[str]:
    """Give the URL at which any of these nodes answers calls."""
    (config,) = find_examples("cluster.md", "haproxy")
    for number, node in enumerate(nodes, 1):
        config = config.replace(f"10.0.0.{number}:", f"{node.machine.address}:")
    path = directory / "haproxy.cfg"
    path.write_text(config)
    haproxy = find_toolchain(load_settings()).haproxy().path
    url = f"http://{machine.address}:{PORT}"
    process = machine.start((str(haproxy), "-f", str(path)), directory / "haproxy.log", os.environ)
    try:
        wait_until(lambda: _answers(url), 10, "the load balancer answers")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/restate/health", timeout=5, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
