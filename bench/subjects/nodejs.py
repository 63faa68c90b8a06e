"""The baseline `node`: the same handlers in a plain Node.js process over cleartext HTTP/2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.processes import running

ENDPOINT = Path(__file__).with_name("endpoint.js")


@dataclass(frozen=True)
class Endpoint:
    """A Node.js process that serves the handlers."""

    pid: int
    uri: str


@contextmanager
def running_endpoint(session: Session, service: str, version: str) -> Iterator[Endpoint]:
    """Serve the handlers as a service of this name, each answering `version`. Raises BenchFailed."""
    arguments = (session.toolchain.node().path, ENDPOINT, service, version)
    log = session.work / f"{service}.log"
    with running(arguments, log) as process:
        port = process.stdout.readline().strip() if process.stdout else ""
        if not port:
            raise BenchFailed(f"Node.js did not start: {log.read_text()}")
        yield Endpoint(process.pid, f"http://127.0.0.1:{port}")
