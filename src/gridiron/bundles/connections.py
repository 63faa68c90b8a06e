"""Connections to the servers of http and https sources: to open addresses only, and for a limited time.

A name is resolved once for each connection, all its addresses are checked, and the connection goes to one of
these very addresses. So a name that answers otherwise the next time changes nothing.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from ssl import SSLCertVerificationError, SSLContext
from typing import Any

import httpcore2

from gridiron.bundles.limits import Meter
from gridiron.egress import Address, Range, may_hold_source
from gridiron.errors import SourceAddressRefused, SourceRefused

LOOK_UP = 0.5
"""Seconds that one waits for a byte before one looks whether the process is to end."""

Resolve = Callable[[str, int], Sequence[Address]]
"""Gives the addresses of a host, best first. Raises OSError, UnicodeError."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


def resolve_host(host: str, port: int) -> list[Address]:
    """Give the addresses of a host as the system knows them, each once. Raises OSError, UnicodeError.

    How long it takes is up to the system's resolver.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(each[4][0])) for each in found))


class CheckedBackend(httpcore2.NetworkBackend):
    """Makes connections for httpcore2. For one transfer."""

    def __init__(self, resolve: Resolve, allowed: Iterable[Range], meter: Meter) -> None:
        self._resolve = resolve
        self._allowed = tuple(allowed)
        self._meter = meter
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of a host that answers, `timeout` in seconds for each.

        Raises SourceAddressRefused where one of them is not open, SourceTooSlow, and httpcore2's ConnectError
        and ConnectTimeout.
        """
        failure: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in self._addresses(host, port):
            limit = _bounded(timeout, self._meter)
            try:
                stream = self._plain.connect_tcp(str(address), port, limit, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return TimedStream(stream, self._meter)
        raise failure or httpcore2.ConnectError(f"{host} has no address")

    def _addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} has no address: {error}") from error
        for address in addresses:
            if not may_hold_source(address, self._allowed):
                raise SourceAddressRefused(host, str(address))
        return addresses


class TimedStream(httpcore2.NetworkStream):
    """A connection on which nothing waits for longer than a transfer may still take."""

    def __init__(self, stream: httpcore2.NetworkStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read as httpcore2 does. Raises SourceTooSlow and ManagerStopping besides."""
        ends_at = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            left = max(ends_at - time.monotonic(), 0.001)
            try:
                return self._stream.read(max_bytes, _bounded(min(left, LOOK_UP), self._meter))
            except httpcore2.ReadTimeout:
                self._meter.check_time()
                if time.monotonic() >= ends_at:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write as httpcore2 does. Raises SourceTooSlow besides."""
        self._stream.write(buffer, _bounded(timeout, self._meter))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Give the connection with TLS on it.

        Raises SourceRefused where the certificate is not one for the name of the host, and as httpcore2 does.
        """
        limit = _bounded(timeout, self._meter)
        try:
            return TimedStream(self._stream.start_tls(ssl_context, server_hostname, limit), self._meter)
        except httpcore2.ConnectError as error:
            if not isinstance(error.__cause__, SSLCertVerificationError):
                raise
            reason = f"its certificate does not hold: {error.__cause__.verify_message}"
            raise SourceRefused(str(server_hostname), reason) from error

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2 says so
        """Tell what httpcore2 wants to know."""
        return self._stream.get_extra_info(info)


def _bounded(timeout: float | None, meter: Meter) -> float:
    """Give the seconds that one step may take; never 0, which would mean not to wait at all."""
    meter.check_time()
    left = max(meter.seconds_left, 0.001)
    return left if timeout is None else min(timeout, left)
