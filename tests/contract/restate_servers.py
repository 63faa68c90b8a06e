"""A real Restate and a real endpoint, as processes that end with the test run."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gridiron.errors import RestateRejected, RestateUnavailable
from gridiron.identity.store import IdentityStore
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.config import ensure_restate_config, restate_arguments
from gridiron.restate.incarnation import NodePort
from gridiron.restate.role import restate_environment
from gridiron.settings import Settings, load_settings
from gridiron.toolchain.programs import find_toolchain

START_SECONDS = 60
STOP_SECONDS = 10
WORKER = Path(__file__).with_name("restate_worker.mjs")


@dataclass(frozen=True)
class Servers:
    """Where the real ones are."""

    admin_url: str
    ingress_url: str
    node_url: str
    endpoint_url: str  # Restate calls it
    control_url: str  # a test tells it what to serve
    closed_url: str  # nobody listens there


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(arguments: tuple[str, ...], log: Path, *, first_line: bool = False) -> Iterator[str]:
    """Run a program, its output in `log`; give its first line of output where that is asked for.

    It is ended on the way out, whatever happened.
    """
    with log.open("w") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if first_line else output,
            stderr=output,
            text=True,
            env=restate_environment(os.environ),
        )
    try:
        yield process.stdout.readline() if process.stdout is not None else ""
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


async def wait_until_ready(settings: Settings) -> None:
    async with (
        asyncio.timeout(START_SECONDS),
        RestateAdmin(settings.restate_admin_url, starts=NodePort(settings.fabric_url)) as restate,
    ):
        while True:
            try:
                await restate.check()
                await restate.fetch_incarnation()
            except (RestateUnavailable, RestateRejected):
                await asyncio.sleep(0.05)
            else:
                return


@contextmanager
def start_servers(directory: Path) -> Iterator[Servers]:
    toolchain = find_toolchain(load_settings())
    admin, ingress, fabric, closed = free_ports(4)
    settings = load_settings(
        data_dir=directory, admin_port=admin, ingress_port=ingress, fabric_port=fabric, restate_partitions=2
    )
    ensure_restate_config(settings)
    IdentityStore.of(settings).take_up()
    restate = restate_arguments(settings, toolchain.restate_server().path)
    worker = (str(toolchain.node().path), str(WORKER))
    with (
        running(restate, directory / "restate.log"),
        running(worker, directory / "worker.log", first_line=True) as said,
    ):
        ports = json.loads(said)
        asyncio.run(wait_until_ready(settings))
        yield Servers(
            admin_url=settings.restate_admin_url,
            ingress_url=settings.ingress_url,
            node_url=settings.fabric_url,
            endpoint_url=f"http://127.0.0.1:{ports['data']}",
            control_url=f"http://127.0.0.1:{ports['control']}",
            closed_url=f"http://127.0.0.1:{closed}",
        )
