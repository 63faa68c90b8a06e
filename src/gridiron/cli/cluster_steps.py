"""What takes several requests to a cluster: each step is safe to repeat, and so is the whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gridiron.cli.edge import ManagerRefused
from gridiron.cli.outside import Outside
from gridiron.errors import (
    ClusterRejected,
    GridironError,
    ManagerUnavailable,
    NodeNotFound,
    NodeRunning,
    RestateUnavailable,
)

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.cluster_api import ClusterMember, ClusterStatus

POLL_SECONDS = 1.0

PASSING = {ClusterRejected.code, RestateUnavailable.code}
"""How a removal fails that may do well a little later: what was on the node is being moved."""

Say = Callable[[str], None]


@dataclass(eq=False)
class ClusterUnfinished(GridironError):
    """The cluster has not come to where it was to come when the time is over."""

    code = "cluster_unfinished"
    sentence = "Given up after {seconds:.0f} s: {reason} {mend}"
    seconds: float
    reason: str
    mend: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits until something is so, or raises ClusterUnfinished when its time is over."""

    limit: timedelta
    outside: Outside
    say: Say

    def until(self, look: Callable[[], str | None], mend: str) -> None:
        """Wait until `look` gives None; else it says, as a sentence, what is waited for."""
        deadline = self.outside.monotonic() + self.limit.total_seconds()
        while (reason := look()) is not None:
            if self.outside.monotonic() >= deadline:
                raise ClusterUnfinished(self.limit.total_seconds(), reason, mend)
            self.say(reason)
            self.outside.sleep(POLL_SECONDS)


def await_drained(manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say) -> None:
    """Wait until a node leads nothing. Raises ClusterUnfinished."""

    def look() -> str | None:
        member = _find(manager.fetch_cluster(), node)
        return f"{node} still leads {len(member.leads)}." if member and member.leads else None

    Waiting(limit, outside, say).until(look, "It is drained all the same: `gridiron cluster status` tells.")


def remove_node(manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say) -> None:
    """Remove a node that is down; try again while what it keeps is being moved.

    Raises ClusterUnfinished, and what the manager refuses for good.
    """
    asked = False

    def look() -> str | None:
        nonlocal asked
        try:
            manager.remove_node(node)
        except ManagerRefused as error:
            if asked and error.problem.code == NodeNotFound.code:
                return None  # a request before it did it, whose answer was lost
            if error.problem.code not in PASSING:
                raise
            asked = True
            return error.problem.detail
        except ManagerUnavailable as error:
            asked = True
            return str(error)
        return None

    say(f"Removing {node}: what it kept is moved, and snapshots are stored …")
    Waiting(limit, outside, say).until(look, "Repeat the command: it goes on from there.")


def replace_node(
    manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say
) -> tuple[str, ...]:
    """Remove a node that is down once as many others serve as there should be nodes; give their names.

    Raises NodeNotFound, NodeRunning, ClusterUnfinished, and what the manager refuses.
    """
    serving: tuple[str, ...] = ()

    def look() -> str | None:
        nonlocal serving
        status = manager.fetch_cluster()
        old = _find(status, node)
        if old is None:
            raise NodeNotFound(node)
        if old.alive:
            raise NodeRunning(node)
        serving = tuple(member.name for member in status.members if member.may_lead)
        if has_successor(status, old):
            return None
        return f"No node has joined in place of {node} yet: {len(serving)} of {status.told} serve."

    mend = (
        "Start one with an empty data directory, the cluster's key and table, and a name that no node had. "
        f"To go on with fewer nodes, `gridiron cluster remove {node}`."
    )
    Waiting(limit, outside, say).until(look, mend)
    say(f"{', '.join(serving)} serve.")
    manager.drain_node(node)
    say(f"{node} is drained.")
    remove_node(manager, node, limit, outside, say)
    return serving


def has_successor(status: ClusterStatus, old: ClusterMember) -> bool:
    """Tell whether another node serves in place of one that is down.

    It has the old one's address, or as many serve as the settings name.
    """
    serving = [each for each in status.members if each.may_lead]
    return len(serving) >= status.told or any(each.address == old.address for each in serving)


def _find(status: ClusterStatus, node: str) -> ClusterMember | None:
    return next((member for member in status.members if member.name == node), None)
