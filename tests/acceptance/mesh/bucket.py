"""The object store of a mesh, on a machine of its own, which can go away and come back with what it has."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.machines import Machine
from tests.seaweed import BUCKET, Seaweed, await_seaweed, own_directories, prepare_seaweed, remove_sockets

PORTS = itertools.count(20_000 + os.getpid() % 100 * 100)
"""On a machine of its own any would do, but the server's parts also meet at sockets in /tmp, which have ports
for names: two servers with the same ones are one in places, and store nothing."""


class Bucket:
    """A server of S3."""

    url = f"s3://{BUCKET}/mesh"

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._machine = machine
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = [next(PORTS) for _ in range(8)]

    @property
    def endpoint(self) -> str:
        return f"http://{self._machine.address}:{self._ports[0]}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables by which a node uses it."""
        seaweed = Seaweed(self.endpoint, 0, self._directory / "log")
        return {**seaweed.environment, "AWS_REGION": "us-east-1"}

    def start(self) -> None:
        """Start it, and wait until it stores."""
        command = prepare_seaweed(self._directory, self._machine.address, self._ports)
        environment = {**os.environ, **own_directories(self._directory)}
        log = self._directory / "log"
        self._process = self._machine.start(command, log, environment, self._directory)
        await_seaweed(Seaweed(self.endpoint, self._process.pid, log), self._process)

    def stop(self) -> None:
        """End it at once; it keeps what it has. Safe to repeat."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        remove_sockets(self._ports)

    def processes(self) -> list[int]:
        return [self._process.pid] if self._process else []

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()
