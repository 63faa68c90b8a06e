"""The baseline `node`: the same handlers in a plain Node.js process over cleartext HTTP/2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.node import wait_until
from bench.subjects.processes import errors_of, running

START_SECONDS = 30
ENDPOINT = Path(__file__).with_name("endpoint.js")


@dataclass(frozen=True)
class Endpoint:
    """A Node.js process that serves the handlers."""

    pid: int
    address: str  # host:port

    @property
    def uri(self) -> str:
        """Where Restate finds it."""
        return f"http://{self.address}"


@contextmanager
def running_endpoint(session: Session, service: str, version: str) -> Iterator[Endpoint]:
    """Serve the handlers as a service of this name, each answering `version`. Raises BenchFailed."""
    arguments = (session.toolchain.node().path, ENDPOINT, service, version)
    output = session.work / f"{service}.output"
    with running(arguments, output) as process:
        wait_until(
            lambda: process.poll() is not None or output.read_text().endswith("\n"),
            START_SECONDS,
            "Node.js listens",
        )
        if process.poll() is not None:
            raise BenchFailed(f"Node.js did not start: {errors_of(output).read_text()}")
        port = output.read_text().splitlines()[0]
        yield Endpoint(process.pid, f"127.0.0.1:{port}")
