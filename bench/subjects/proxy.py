"""HAProxy in front of a baseline, set as it is in front of the cells."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.session import Session
from bench.subjects.processes import running

CONFIG = """
global
  maxconn 4000
defaults
  mode http
  option http-no-delay
  option http-server-close
  http-reuse never
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  retries 0
listen workers
  bind 127.0.0.1:@PORT@ @BIND@
  server behind @SERVER@
"""


@dataclass(frozen=True)
class Proxy:
    """A running HAProxy."""

    pid: int
    uri: str  # where Restate finds what is behind it


@contextmanager
def running_proxy(session: Session, directory: Path, server: str, bind: str = "") -> Iterator[Proxy]:
    """Run HAProxy in a directory, in front of a server; both are in the words of its configuration."""
    port = find_port()
    config = CONFIG.replace("@PORT@", str(port)).replace("@BIND@", bind).replace("@SERVER@", server)
    (directory / "haproxy.cfg").write_text(config)
    arguments = (session.toolchain.haproxy().path, "-db", "-f", "haproxy.cfg")
    with running(arguments, directory / "haproxy.output", cwd=directory) as process:
        yield Proxy(process.pid, f"http://127.0.0.1:{port}")


def find_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
