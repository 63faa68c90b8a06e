"""A network of a test's own: addresses that really are there, and a server that counts who reaches them."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x40000000
NEEDS_ROOT = (
    "This test makes a network namespace, to have private and public addresses without a network. That needs "
    "root (CAP_SYS_ADMIN) and Debian's iproute2, as CI has them."
)
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def network(*addresses: str) -> Iterator[None]:
    """Move this thread, and what it starts, into a new network whose only interface has these addresses.

    Nothing leaves the machine from there. The kernel drops the network with the last process in it, so there
    is nothing to remove.
    """
    before = _current()
    try:
        _call("unshare", CLONE_NEWNET)
        try:
            _add_addresses(addresses)
            yield
        finally:
            _call("setns", before, CLONE_NEWNET)
    finally:
        os.close(before)


def make_network() -> int:
    """Make a network that has loopback alone; give the descriptor that keeps it."""
    with network():
        return _current()


@contextmanager
def inside(made: int) -> Iterator[None]:
    """Move this thread, and what it starts, into a network that was made."""
    before = _current()
    try:
        _call("setns", made, CLONE_NEWNET)
        yield
    finally:
        _call("setns", before, CLONE_NEWNET)
        os.close(before)


def configure(*commands: str) -> None:
    """Let `ip` run commands in this thread's network, in order."""
    try:
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, timeout=10)
    except FileNotFoundError as error:
        raise AssertionError(f"there is no program `ip`. {NEEDS_ROOT}") from error


def _current() -> int:
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)


def _call(function: str, *arguments: int) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        raise AssertionError(f"{function}: {os.strerror(ctypes.get_errno())}. {NEEDS_ROOT}")


def _add_addresses(addresses: tuple[str, ...]) -> None:
    commands = ["link set lo up"]
    for address in addresses:
        length = 32 if ip_address(address).version == 4 else 128
        commands.append(f"address add {address}/{length} dev lo")
    configure(*commands)


class Target:
    """An HTTP server on every address of this network, which counts the connections that it accepts.

    `/to?URL` redirects to the URL, everything else is answered with "reached".
    """

    def __init__(self) -> None:
        self.accepted: Counter[str] = Counter()
        self._server = _Server(self.accepted)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def show(self, host: str) -> None:
        """Show that it is there under a name or address: ask it, as this process may."""
        before = self.accepted.total()
        connection = HTTPConnection(host, self.port, timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"reached"
        connection.close()
        assert self.accepted.total() == before + 1


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6  # on both: the socket is not for IPv6 only
    daemon_threads = True
    block_on_close = False
    request_queue_size = 200

    def __init__(self, accepted: Counter[str]) -> None:
        self._accepted = accepted
        super().__init__(("::", 0), _Handler)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, peer = super().get_request()
        at = ip_address(connection.getsockname()[0].partition("%")[0])
        self._accepted[str(getattr(at, "ipv4_mapped", None) or at)] += 1
        return connection, peer


class _Handler(BaseHTTPRequestHandler):
    timeout = 5

    def do_GET(self) -> None:
        _, _, to = self.path.partition("/to?")
        self.send_response(302 if to else 200)
        if to:
            self.send_header("location", to)
        self.send_header("content-length", "7")
        self.end_headers()
        self.wfile.write(b"reached")

    do_POST = do_GET  # noqa: N815 - the same

    def log_message(self, *_: object) -> None:
        pass


def with_hosts(file: Path) -> tuple[str, ...]:
    """Give a command that starts the one behind it with this file as /etc/hosts, for that process alone."""
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file))


@contextmanager
def unix_target(path: str) -> Iterator[list[str]]:
    """Listen on a unix socket (abstract when its name begins with a zero byte); give a list of who came."""
    accepted: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def accept() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    accepted.append("somebody")
                    connection.close()
            except OSError:  # it was shut down
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
