"""Whether a cluster is to be provisioned, and by whom: values and decisions, no I/O.

Restate provisions whichever node it is told to, without a look at the others. Two that are told so within
milliseconds of each other are two clusters of one name from then on (seen with 1.7.12), and so is a node
whose disk was wiped. So it happens where each node says that it has never been in a cluster, at the one that
holds the claim.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from gridiron.restate.incarnation import Health


class Stage(StrEnum):
    """Where a node is, by its own word."""

    AWAITING = "awaiting"  # it has never been in a cluster, or its disk was wiped
    PROVISIONED = "provisioned"  # it has been in one, and may be on its way back
    JOINED = "joined"  # it is in one
    UNKNOWN = "unknown"  # it does not answer, or has not come so far


class Step(StrEnum):
    """What follows from where the nodes are."""

    PROVISION = "provision"
    WAIT = "wait"
    DONE = "done"


def stage_of(health: Health) -> Stage:
    """Read where a node is from what it says of itself."""
    if health.node_id is not None:
        return Stage.JOINED
    match health.metadata_server_status:
        case "AwaitingProvisioning":
            return Stage.AWAITING
        case "Member" | "Standby":
            return Stage.PROVISIONED
        case _:
            return Stage.UNKNOWN


def plan_provision(own: Stage, peers: Collection[Stage]) -> Step:
    """Decide what this node does next, given where it and each of its peers are.

    PROVISION needs the claim as well, which no look at nodes replaces.
    """
    if own is Stage.JOINED:
        return Step.DONE
    if all(stage is Stage.AWAITING for stage in (own, *peers)):
        return Step.PROVISION
    return Step.WAIT
