"""The steps by which a node alone becomes a cluster of several, as the command line takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gridiron.cli.cluster_steps import Waiting
from gridiron.cli.edge import ManagerRefused
from gridiron.cli.outside import Outside
from gridiron.cli.words import render_count
from gridiron.errors import ClusterRejected, GrowRefused, NodeAlone

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.client import ManagerClient
    from gridiron.manager.cluster_api import ClusterStatus, Grown
    from gridiron.settings import Settings


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a step: for programs, and for people."""

    report: dict[str, Any]
    sentence: str


def grow_here(settings: Settings, say: Callable[[str], None]) -> Told:
    """Bring what the node of these settings has into the bucket; it is stopped. Raises as grow_node does."""
    from gridiron.manager.growing import grow_node  # noqa: PLC0415 - see gridiron.cli.edge

    done = grow_node(settings, say)
    told = 1 if settings.cluster is None else len(settings.cluster.members)
    report = {
        "bucket": done.bucket,
        "builds": done.builds,
        "partitions": done.partitions,
        "changed": not done.was_done,
    }
    shared = f"{render_count(done.builds, 'build')}, secrets, tokens and keys are in {done.bucket}."
    following = "Start the node, then run `gridiron cluster grow` again."
    return Told(report, " ".join((shared, *describe_partitions(done.partitions, told), following)))


def describe_partitions(partitions: int | None, nodes: int) -> tuple[str, ...]:
    """Say where there are fewer partitions than nodes: that cannot be changed any more."""
    if partitions is None or partitions >= nodes:
        return ()
    if partitions == 1:
        return ("One partition: only one node will lead at a time, and the others stand in for it.",)
    return (
        f"{partitions} partitions: only {partitions} nodes will lead at a time, and the others stand in.",
    )


def await_grown(
    manager: ManagerClient, limit: timedelta, outside: Outside, say: Callable[[str], None]
) -> Grown:
    """Have everything kept on as many nodes as is wanted, once there are so many; wait for them.

    Raises GrowRefused where the node runs and is alone, ClusterUnfinished.
    """
    try:
        say("storing snapshots, with which other nodes begin …")
        grown = manager.grow()
    except ManagerRefused as refused:
        if refused.problem.code != NodeAlone.code:
            raise
        mend = (
            "Write its table [cluster] into gridiron.toml, stop the node, and run this before you start it."
        )
        raise GrowRefused("its manager runs, and knows of no cluster", mend) from refused
    if grown.missing:
        mend = "Start them: with the table, the cluster's key and names of their own they join by themselves."

        def look() -> str | None:
            nonlocal grown
            if (reason := describe_missing(manager.fetch_cluster())) is not None:
                return reason
            grown = _grow_again(manager, grown)
            return _describe_missing(grown.wanted_replication - grown.missing, grown.wanted_replication)

        Waiting(limit, outside, say).until(look, mend)
    return grown


def _grow_again(manager: ManagerClient, before: Grown) -> Grown:
    """Grow; where a node goes right then, Restate's refusal leaves things as they were before."""
    try:
        return manager.grow()
    except ManagerRefused as refused:
        if refused.problem.code != ClusterRejected.code:
            raise
        return before


def describe_missing(status: ClusterStatus) -> str | None:
    """Say how many nodes are missing before each thing can be kept as often as is wanted; None: none."""
    return _describe_missing(sum(each.may_lead for each in status.members), status.wanted_replication)


def _describe_missing(serving: int, wanted: int) -> str | None:
    if serving >= wanted:
        return None
    return f"{serving} of {wanted} nodes serve that everything is to be kept on."
