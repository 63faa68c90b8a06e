"""Whose program listens on a port of this machine, as far as the kernel says (Linux: /proc/net/tcp)."""

from __future__ import annotations

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


def fetch_listeners(port: int) -> set[int]:
    """Find them; none where nobody listens, and where the kernel does not say."""
    found: set[int] = set()
    for table in TABLES:
        try:
            found |= parse_listeners(table.read_text(), port)
        except OSError:
            continue
    return found
