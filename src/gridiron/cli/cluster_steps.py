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

REMOVING = "read-only"
"""What the storage of a node is once its removal has begun."""

NOTICE_LIMIT = timedelta(seconds=15)
"""How long a node that was just killed may be taken for running. Restate notices a death within 1 to 3 s, on
a busy machine within 10 s."""

IDLE = (
    "In a cluster that nobody uses this ends only once something is written to each partition: some dozens "
    "of calls of any service do that."
)
"""The end of a log stays where it is until then: see RestateCluster.remove_node."""

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
    """Waits until something is so, or raises ClusterUnfinished when its time is over.

    The manager has been reached before: what keeps it from answering now passes.
    """

    limit: timedelta
    outside: Outside
    say: Say

    def until(self, look: Callable[[], str | None], mend: str) -> None:
        """Wait until `look` gives None; else it says, as a sentence, what is waited for."""
        deadline = self.outside.monotonic() + self.limit.total_seconds()
        while (reason := _try(look)) is not None:
            if self.outside.monotonic() >= deadline:
                raise ClusterUnfinished(self.limit.total_seconds(), reason, mend)
            self.say(reason)
            self.outside.sleep(POLL_SECONDS)

    def begin_notice(self) -> Callable[[], bool]:
        """Give what tells, from now on, whether a node that was just killed may be taken for running yet."""
        end = self.outside.monotonic() + min(self.limit, NOTICE_LIMIT).total_seconds()
        return lambda: self.outside.monotonic() < end


def _try(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except ManagerUnavailable as error:
        return str(error)
    except ManagerRefused as error:
        if error.problem.code != RestateUnavailable.code:
            raise
        return error.problem.detail


def await_drained(manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say) -> None:
    """Wait until a node leads nothing. Raises ClusterUnfinished."""

    def look() -> str | None:
        member = _find(manager.fetch_cluster(), node)
        return f"{node} still leads {len(member.leads)}." if member and member.leads else None

    Waiting(limit, outside, say).until(look, "It is drained all the same: `gridiron cluster status` tells.")


def remove_node(manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say) -> None:
    """Remove a node that is down; try again until it is seen to be, and what it keeps has been moved.

    Raises ManagerUnavailable where no manager is there, NodeNotFound, ClusterUnfinished, and what the manager
    refuses for good.
    """
    known = _see_node(manager, node)
    say(f"Removing {node}: what it kept is moved, and snapshots are stored …")
    waiting = Waiting(limit, outside, say)
    may_run = waiting.begin_notice()

    def look() -> str | None:
        nonlocal known
        known = known or _see_node(manager, node)
        try:
            manager.remove_node(node)
        except ManagerRefused as refused:
            match refused.problem.code:
                case NodeNotFound.code if known:
                    return None  # a request before it did it, whose answer was lost
                case NodeRunning.code if may_run():
                    return _describe_running(node)
                case ClusterRejected.code:
                    return f"{refused.problem.detail} {IDLE}"
            raise
        return None

    waiting.until(look, "Repeat the command: it goes on from there.")


def replace_node(
    manager: ManagerClient, node: str, limit: timedelta, outside: Outside, say: Say
) -> tuple[str, ...]:
    """Remove a node that is down once another serves in its place; give the names of those who serve.

    Raises NodeRunning, and as remove_node does.
    """
    _see_node(manager, node)
    waiting = Waiting(limit, outside, say)
    serving = _await_successor(manager, node, waiting)
    say(f"{', '.join(serving)} serve.")
    waiting.until(lambda: _drain(manager, node), "Repeat the command: it goes on from there.")
    say(f"{node} is drained.")
    remove_node(manager, node, limit, outside, say)
    return serving


def _await_successor(manager: ManagerClient, node: str, waiting: Waiting) -> tuple[str, ...]:
    """Wait until another node serves in place of one that is down; give the names of those who serve."""
    may_run = waiting.begin_notice()
    serving: tuple[str, ...] = ()
    members: int | None = None  # that there were in the beginning

    def look() -> str | None:
        nonlocal serving, members
        status = manager.fetch_cluster()
        old = _find(status, node)
        if old is None:
            raise NodeNotFound(node)
        if old.alive:
            if may_run():
                return _describe_running(node)
            raise NodeRunning(node)
        members = len(status.members) if members is None else members
        serving = tuple(member.name for member in status.members if member.may_lead)
        wanted, address = count_wanted(status.told, members), old.address.removeprefix("http://")
        if has_successor(status, old, wanted):
            return None
        return (
            f"No node has joined in place of {node} yet: {len(serving)} of {wanted} serve, "
            f"and none at {address}."
        )

    mend = (
        "Start one with an empty data directory, the cluster's key and table, and a name that no node had. "
        "Where one serves already at another address, or to go on with fewer, "
        f"`gridiron cluster remove {node}`."
    )
    waiting.until(look, mend)
    return serving


def count_wanted(told: int, members: int) -> int:
    """Say how many nodes have to serve so that one of them has come in place of one that is down.

    `told` are those that the settings name; `members` there were in the beginning, with the one that is down
    and perhaps the one in its place. Where the others alone are more than the settings name, these tell
    nothing, and one more than there were before is waited for.
    """
    return told if members - 1 <= told else members


def has_successor(status: ClusterStatus, old: ClusterMember, wanted: int) -> bool:
    """Tell whether another node serves in place of one that is down, or its removal has begun already.

    It has the old one's address, or as many serve as `wanted`.
    """
    if old.storage_state == REMOVING:
        return True
    serving = [each for each in status.members if each.may_lead]
    return len(serving) >= wanted or any(each.address == old.address for each in serving)


def _drain(manager: ManagerClient, node: str) -> None:
    manager.drain_node(node)


def _describe_running(node: str) -> str:
    return f"{node} is taken for running: that a node has died is noticed within some seconds."


def _see_node(manager: ManagerClient, node: str) -> bool:
    """Tell whether a node was seen to be in the cluster; False where that cannot be seen now.

    Raises NodeNotFound where it is not, ManagerUnavailable, and what the manager refuses.
    """
    try:
        status = manager.fetch_cluster()
    except ManagerRefused as error:
        if error.problem.code != RestateUnavailable.code:
            raise
        return False
    if _find(status, node) is None:
        raise NodeNotFound(node)
    return True


def _find(status: ClusterStatus, node: str) -> ClusterMember | None:
    return next((member for member in status.members if member.name == node), None)
