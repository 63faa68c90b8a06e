"""Have Restate's connections send what they have at once, as restate-server does not ask for it everywhere.

Restate 1.7.12 sets TCP_NODELAY on the connections that it makes, and on none that it accepts. What it sends
on such a one while the other end owes it an acknowledgment waits for that, which Linux gives up to 40 ms late
(docs/decisions/0031 has what that costs). A connection has the option from the socket that listens for it, so
it is set there, from outside, by pidfd_getfd(2).

Restate takes the place of the process that starts it, and whoever supervises that may be another user, with
no right to do so. So a process of the same user does it and ends. It is the one that Restate lets do so
(PR_SET_PTRACER, where Yama asks for that). Where nobody may, as in a container without CAP_SYS_PTRACE, some
answers are late, and that is all.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

import structlog

log = structlog.get_logger()

LISTENS_LIMIT = timedelta(seconds=10)
"""How long Restate may take until it listens, which is among the first that it does."""

LOOK_INTERVAL = timedelta(milliseconds=10)

_PR_SET_PTRACER = 0x59616D61  # prctl(2)
_SYS_PIDFD_OPEN, _SYS_PIDFD_GETFD = 434, 438  # in Linux' tables of system calls, for all architectures
_libc = ctypes.CDLL(None, use_errno=True)


def hurry(ports: Collection[int], limit: timedelta = LISTENS_LIMIT) -> None:
    """Set TCP_NODELAY on what this process, or what it becomes by exec, accepts at these ports.

    Another process does so as soon as it listens at all of them, and ends then, or with this one. What keeps
    it from that for as long as `limit` is logged as `restate.answers_late`. Does nothing but on Linux.
    """
    if sys.platform != "linux":
        return
    pid = os.getpid()
    try:
        process, (reading, writing) = open_process(pid), os.pipe()
        child = os.fork()
    except OSError as error:  # of an old kernel, or there are too many processes
        log.warning("restate.answers_late", reason=error.strerror)
        return
    if child == 0:
        _help(process, pid, frozenset(ports), limit, writing)
    os.close(writing)
    os.waitpid(child, 0)
    if helper := os.read(reading, 32):
        _libc.prctl(_PR_SET_PTRACER, int(helper), 0, 0, 0)  # fails where there is no Yama to ask
    os.close(reading)
    os.close(process)


def _help(process: int, pid: int, ports: frozenset[int], limit: timedelta, writing: int) -> NoReturn:
    """Become the helper, whose process id is written; its parent ends at once, as Restate waits for none."""
    try:
        if helper := os.fork():
            os.write(writing, str(helper).encode())
        elif problem := _hurry(process, pid, ports, limit):
            log.warning("restate.answers_late", reason=problem)
    except Exception:
        log.exception("restate.answers_late")
    finally:
        os._exit(0)


def _hurry(process: int, pid: int, ports: frozenset[int], limit: timedelta) -> str:
    """Set the option as soon as a process listens at all ports; say what is in the way, or nothing."""
    deadline = time.monotonic() + limit.total_seconds()
    problem = ""
    while time.monotonic() < deadline:
        ended, _, _ = select.select([process], [], [], LOOK_INTERVAL.total_seconds())
        if ended:
            return ""
        try:
            missing = ports - _set_all(process, pid, ports)
            if not missing:
                _set_all(process, pid, ports)  # what was accepted before the first did its work
                return ""
            problem = f"nobody listens at {', '.join(map(str, sorted(missing)))}"
        except OSError as error:
            problem = f"{error.strerror}: its sockets cannot be reached"
    return problem


def _set_all(process: int, pid: int, ports: frozenset[int]) -> frozenset[int]:
    """Set the option on all sockets that are at these ports; give those that are listened at."""
    listened = set()
    for each in sockets_of(process, pid):
        if (port := each.getsockname()[1]) in ports:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listened.add(port)
    return frozenset(listened)


def open_process(pid: int) -> int:
    """Give a descriptor of a process, which is not inherited. Raises OSError.

    Python has `os.pidfd_open` only where it was built with a recent Linux' headers; Restate needs none.
    """
    return _check(_libc.syscall(_SYS_PIDFD_OPEN, pid, 0))


def sockets_of(process: int, pid: int) -> Iterator[socket.socket]:
    """Give a process's TCP sockets, each until the next. `process` is a descriptor of it (`open_process`).

    Raises OSError where this process may not have them.
    """
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):  # noqa: PTH208 - names are all
        with suppress(FileNotFoundError):  # it is closed by now
            if not os.readlink(f"{directory}/{name}").startswith("socket:"):  # noqa: PTH115 - no file
                continue
            try:
                copy = _check(_libc.syscall(_SYS_PIDFD_GETFD, process, int(name), 0))
            except OSError as error:
                if error.errno == errno.EBADF:  # so it is
                    continue
                raise
            with socket.socket(fileno=copy) as found:
                if found.family in {socket.AF_INET, socket.AF_INET6} and found.type == socket.SOCK_STREAM:
                    yield found


def _check(descriptor: int) -> int:
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor
