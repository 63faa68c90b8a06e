"""The ports of a node: free, its own, or another's."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gridiron.cli.doctor.finding import Finding, failure, fine
from gridiron.process.lock import LOCK_FILE
from gridiron.settings import Settings, variable_name
from gridiron.testing.processes import descendants

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class PortReading:
    """What became of an attempt to listen on a port."""

    purpose: str
    host: str
    port: int
    error: int | None  # of errno; None: it is free
    holder: int | None = None  # the process that listens there; None: nobody, or it cannot be said


def read_ports(settings: Settings) -> tuple[PortReading, ...]:
    """Try to listen on each port of a node for a moment."""
    return tuple(
        read_port(purpose, getattr(settings, f"{purpose}_host"), port)
        for purpose, port in settings.ports._asdict().items()
    )


def read_port(purpose: str, host: str, port: int) -> PortReading:
    """Try to listen on a port for a moment, and find out who does."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            holder = find_listener(port) if error.errno == errno.EADDRINUSE else None
            return PortReading(purpose, host, port, error.errno or errno.EINVAL, holder)
    return PortReading(purpose, host, port, None)


def find_listener(port: int) -> int | None:
    """Find the process that listens on a port; None where that cannot be said, as of another user's."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            inodes |= parse_listeners(Path(table).read_text(), port)
        except OSError:  # no Linux
            continue
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:  # it has ended, or is another user's
            continue
    return None


def parse_listeners(table: str, port: int) -> set[str]:
    """Find the sockets that listen on a port in the text of /proc/net/tcp, as links to them are named."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {
        f"socket:[{row[9]}]"
        for row in rows
        if row[3] == LISTEN and int(row[1].rpartition(":")[2], 16) == port
    }


def find_node(settings: Settings) -> frozenset[int]:
    """Give the processes of the node that runs on these directories; none where none does."""
    locks = (settings.data_dir, settings.manager_state_dir, settings.run_dir)
    holders = [holder for each in locks if (holder := find_lock_holder(each / LOCK_FILE))]
    return frozenset(pid for holder in holders for pid in descendants(holder)) | find_restate(
        settings.data_dir
    )


def find_lock_holder(lock: Path) -> int | None:
    """Say which process holds a lock, without trying it: a node that starts must not meet it held."""
    try:
        found = lock.stat()
        locks = Path("/proc/locks").read_text()
    except OSError:  # there is none, or no Linux
        return None
    return parse_lock_holder(locks, found.st_ino)


def parse_lock_holder(locks: str, inode: int) -> int | None:
    """Find who holds the lock on a file in the text of /proc/locks, by the number of its inode."""
    for line in locks.splitlines():
        row = line.split()
        if row[1] == "FLOCK" and row[5].rpartition(":")[2] == str(inode):
            return int(row[4])
    return None


def find_restate(data_dir: Path) -> frozenset[int]:
    """Find a Restate that a supervisor of its own runs: it names its configuration when it is started."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if Path(os.fsdecode(arguments[0])).name == "restate-server" and any(
            os.fsencode(data_dir) in argument for argument in arguments[1:]
        ):
            found.add(int(process.name))
    return frozenset(found)


def check_port(reading: PortReading, node: Iterable[int]) -> Finding:
    """Judge a port, given the processes of this node."""
    check, where = f"port {reading.port}", f"{reading.purpose} at {reading.host}"
    setting = variable_name(f"{reading.purpose}_port")
    match reading.error:
        case None:
            return fine(check, f"{where}: free")
        case errno.EADDRINUSE if reading.holder is not None and reading.holder in set(node):
            return fine(check, f"{where}: this node listens there")
        case errno.EADDRINUSE:
            who = (
                "another program"
                if reading.holder is None
                else f"process {reading.holder}, none of this node,"
            )
            mend = f"Stop it, or give another --port-offset or {setting}."
            return failure(check, f"{where}: {who} listens there", mend)
        case errno.EADDRNOTAVAIL:
            mend = f"Set {variable_name(f'{reading.purpose}_host')} to one of its addresses."
            return failure(check, f"{where}: that is no address of this machine", mend)
        case _:
            meaning = f"{where}: {os.strerror(reading.error).lower()}"
            return failure(check, meaning, f"Give another --port-offset or {setting}.")
