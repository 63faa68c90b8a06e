"""Machines of a test's own, on one switch: each is a network namespace with an address, where programs run.

Nothing of it has a name on this machine, so that two such networks do not meet, and the kernel drops one with
the last process in it. Needs root and Debian's iproute2.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.namespace import configure, inside, make_network, network

NETWORK = "10.99.0"
OWN_ADDRESS = f"{NETWORK}.254"
"""Of the test itself."""

DYING_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Becomes the program behind it, which the kernel kills when the thread that started it ends."""


@dataclass(frozen=True)
class Machine:
    """One machine. `Switch.add` makes one."""

    number: int
    network: int  # a descriptor

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def cable(self) -> str:
        """The other end of its network interface."""
        return f"m{self.number}"

    def inside(self) -> AbstractContextManager[None]:
        """Move this thread, and what it starts, onto this machine."""
        return inside(self.network)

    def start(
        self, command: tuple[str, ...], log: Path, environment: Mapping[str, str], cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program on this machine. It ends with this thread, at the latest."""
        with self.inside(), log.open("ab") as output:
            return subprocess.Popen(
                (*DYING_WITH_US, *command),
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def run(
        self, command: tuple[str, ...], environment: Mapping[str, str], seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on this machine to its end."""
        with self.inside():
            return subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )

    def cut(self) -> None:
        """Pull its cable. Safe to repeat."""
        configure(f"link set {self.cable} down")

    def heal(self) -> None:
        """Put its cable back. Safe to repeat."""
        configure(f"link set {self.cable} up")


class Switch:
    """What joins the machines and this thread. `switched` makes one."""

    def __init__(self) -> None:
        self._machines: list[Machine] = []

    def add(self) -> Machine:
        """Join one more machine, on which nothing runs."""
        machine = Machine(len(self._machines) + 1, make_network())
        self._machines.append(machine)
        there = f"/proc/{os.getpid()}/fd/{machine.network}"
        configure(
            f"link add {machine.cable} type veth peer name eth0 netns {there}",
            f"link set {machine.cable} master switch up",
        )
        with machine.inside():
            configure(f"address add {machine.address}/24 dev eth0", "link set eth0 up")
        return machine

    def close(self) -> None:
        for machine in self._machines:
            os.close(machine.network)


@contextmanager
def switched() -> Iterator[Switch]:
    """Move this thread into a network of its own, and give what joins machines to it."""
    with network():
        configure(
            "link add switch type bridge", f"address add {OWN_ADDRESS}/24 dev switch", "link set switch up"
        )
        switch = Switch()
        try:
            yield switch
        finally:
            switch.close()
