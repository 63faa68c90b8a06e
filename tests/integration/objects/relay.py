"""A wire to a server: it loses answers when a test says so."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

CHUNK = 65536


class Relay(socketserver.ThreadingTCPServer):
    """Carries bytes between its clients and a server."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(target)
        self.target = str(parts.hostname), int(parts.port or 80)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.losing = 0
        """How many of the next answers end their connection instead of arriving."""
        self.lost = 0
        self._lock = threading.Lock()

    def loses_answer(self) -> bool:
        with self._lock:
            if self.lost < self.losing:
                self.lost += 1
                return True
            return False


class _Connection(socketserver.BaseRequestHandler):
    server: Relay
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as upstream:
            back = threading.Thread(target=self._carry_back, args=(upstream,))
            back.start()
            _carry(self.request, upstream)
            _shut(upstream)
            back.join()

    def _carry_back(self, upstream: socket.socket) -> None:
        while chunk := _receive(upstream):
            if self.server.loses_answer():
                break
            self.request.sendall(chunk)
        _shut(self.request)
        _shut(upstream)


def _carry(source: socket.socket, target: socket.socket) -> None:
    while chunk := _receive(source):
        target.sendall(chunk)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(CHUNK)
    except OSError:
        return b""


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:  # the other side was first
        return


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """Carry for the time of a test."""
    with Relay(target) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()
