"""How a cluster begins: one node makes it, once, and none does so again.

Restate makes a cluster of whichever node it is told to; two that are told so at once are two clusters. So the
one that may is settled in the bucket, by an object that is made once. It holds a secret that the node has
written on its own disk before: one that has lost its disk can never prove to be that node.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from gridiron.cluster import PARTITIONS, Cluster, fabric_urls
from gridiron.errors import (
    BucketRefused,
    BucketUnavailable,
    ClusterRejected,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    RestateUnavailable,
    StorageFailed,
)
from gridiron.model import Value
from gridiron.objects.port import Objects
from gridiron.objects.values import fetch_value, render_value
from gridiron.process.files import create_file
from gridiron.restate.cluster import RestateCluster
from gridiron.settings import Settings

log = structlog.get_logger()

FOUNDER_KEY = "founder.json"
FOUNDER_FILE = "founder"
"""In the manager's state directory."""

PAUSE = timedelta(seconds=5)
"""Before it is tried again what was refused, did not answer or is another's to do."""

BEGIN_ANEW = (
    "It makes the cluster, and this node joins it. Where that node is lost for good, and all others with it, "
    "stop every node and empty the bucket below its prefix and their data directories: docs/cluster.md."
)


class Founder(Value):
    """What the object holds."""

    node: str
    secret: str


class Founding:
    """The part of one node in the beginning of its cluster."""

    def __init__(self, objects: Objects, settings: Settings) -> None:
        self._objects = objects
        self._node = settings.node_name
        self._path = settings.manager_state_dir / FOUNDER_FILE
        self._told: Founder | None = None  # whose claim was logged last

    def claim(self) -> bool:
        """Tell whether it is for this node to make the cluster: for good, and for no other. Safe to repeat.

        Raises BucketUnavailable, BucketRefused, ObjectDamaged, StorageFailed.
        """
        own = Founder(node=self._node, secret=_fetch_secret(self._path))
        try:
            self._objects.create(FOUNDER_KEY, render_value(own))
        except ObjectExists:
            found = self._fetch()
            if found is not None and found != own:
                self._tell(found)
            return found == own
        return True

    def _tell(self, other: Founder) -> None:
        """Log once that the claim is another's."""
        if other != self._told:
            self._told = other
            log.info("cluster.begun", by=other.node, bucket=self._objects.url, advice=BEGIN_ANEW)

    def _fetch(self) -> Founder | None:
        try:
            return fetch_value(self._objects, FOUNDER_KEY, Founder, "it names no founder")[0]
        except ObjectMissing:
            return None


def _fetch_secret(path: Path) -> str:
    """Read the secret of this node, which is made, and on the disk, where there is none."""
    try:
        create_file(path, secrets.token_hex(16).encode(), 0o600)
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageFailed("Making", str(path), str(error)) from error


async def found(
    restate: RestateCluster, cluster: Cluster, settings: Settings, claim: Callable[[], bool]
) -> None:
    """See to it that there is a cluster, and that this node is in it. Ends then; safe to repeat.

    `claim` blocks: see Founding.
    """
    others = [ip for ip in cluster.members if ip != cluster.address]
    peers = fabric_urls(others, settings.ports.fabric)
    partitions = settings.restate_partitions or PARTITIONS

    async def try_to_claim() -> bool:
        try:
            if await asyncio.to_thread(claim):
                return True
        except (BucketUnavailable, BucketRefused, ObjectDamaged) as error:
            log.warning("cluster.not_claimed", code=error.code, reason=str(error))
        await asyncio.sleep(PAUSE.total_seconds())
        return False

    while True:
        try:
            made = await restate.ensure_provisioned(peers, try_to_claim, partitions, cluster.replication)
        except (ClusterRejected, RestateUnavailable) as error:  # it may be made all the same: a look tells
            log.error("cluster.not_made", code=error.code, reason=str(error))  # noqa: TRY400 - it says it all
            await asyncio.sleep(PAUSE.total_seconds())
            continue
        if made:
            log.info("cluster.made", name=cluster.name, partitions=partitions)
        return
