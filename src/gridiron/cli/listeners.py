"""Whose program has the other end of a connection on this machine, as the kernel says (/proc/net/tcp)."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENING = "0A"
"""The state of a socket, TCP_LISTEN."""

REACHED_BY_LOOPBACK = re.compile(
    r"[0-9A-F]{6}7F|0{8}"  # 127.0.0.0/8 and 0.0.0.0, the bytes of each 32 bits reversed
    r"|0{24}01000000|0{32}"  # ::1 and ::
    r"|0{16}FFFF0000([0-9A-F]{6}7F|0{8})"  # those of IPv4, written as IPv6
)


def parse_listeners(table: str, port: int) -> set[int]:
    """Find the users whose programs take connections to a port of this machine, in the text of a table."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, number = fields[1].partition(":")
        is_it = fields[3] == LISTENING and int(number, 16) == port
        if is_it and REACHED_BY_LOOPBACK.fullmatch(address):
            found.add(int(fields[7]))
    return found


def parse_ends(table: str, port: int, client_port: int) -> set[int]:
    """Find the users who have the server's end of a connection; root has one that nobody has accepted."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] != LISTENING and (_port_of(fields[1]), _port_of(fields[2])) == (port, client_port):
            found.add(int(fields[7]))
    return found


def fetch_readers(port: int, client_port: int) -> set[int] | None:
    """Find the users whose programs can read what is sent over a connection from this machine to itself.

    An empty set: there is no such connection. None: the kernel does not say. Whoever has not accepted the
    connection listens still, so to look for listeners first and for ends then misses nobody.
    """
    earlier, later = _read_tables(), _read_tables()
    if not earlier or not later:
        return None
    listeners = set[int]().union(*(parse_listeners(table, port) for table in earlier))
    ends = set[int]().union(*(parse_ends(table, port, client_port) for table in later))
    return listeners | ends if ends else set()


def _read_tables() -> list[str]:
    found = []
    for path in TABLES:
        with contextlib.suppress(OSError):  # a machine may be without IPv6
            found.append(path.read_text())
    return found


def _port_of(end: str) -> int:
    return int(end.rpartition(":")[2], 16)
