"""What a manager has in a cluster that one alone has not: the bucket, turns among all managers, copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

from gridiron.bundles.shared import SharedStore
from gridiron.cluster import Cluster
from gridiron.manager.copies import Copies
from gridiron.manager.execute import NAME_TURN, REMOVAL
from gridiron.manager.founding import Founding, found
from gridiron.manager.guardian import Guardian
from gridiron.manager.members import Members
from gridiron.manager.observe import Observer
from gridiron.manager.turns import Check
from gridiron.objects.bucket import open_bucket
from gridiron.objects.lease import LEASE, Leases
from gridiron.restate.cluster import RestateCluster
from gridiron.secrets.documents import Safe
from gridiron.settings import Settings
from gridiron.toolchain.programs import Toolchain

T = TypeVar("T")

REMOVAL_LIMIT = LEASE + timedelta(seconds=15)
"""How long a removal waits for those of other nodes. A turn whose node died is free after LEASE."""

LEASE_THREADS = 8
"""They renew leases, and do nothing else: a few slow transfers can take all threads that work shares."""

NAME_LIMIT = timedelta(minutes=2)
"""How long an activation waits for others of its name on other nodes; each takes a second or a few."""


class Mesh:
    """The part of one node in its cluster."""

    def __init__(self, settings: Settings, cluster: Cluster, toolchain: Toolchain) -> None:
        """Take the settings of a node, and of them its cluster; nothing is connected to.

        Raises BucketRefused where the bucket cannot be used, ToolMissing, ToolVersionWrong.
        """
        self._settings = settings
        self._cluster = cluster
        self.restate = RestateCluster(settings.fabric_url, toolchain.restatectl().path)
        self.members = Members(self.restate)
        self.guardian = Guardian(settings.node_name, self.members, self.restate, settings.manager_state_dir)
        self.objects = open_bucket(cluster.bucket, settings.s3_endpoint)
        self.store = SharedStore(settings.bundles_dir, self.objects, settings.node_name)
        self.store.is_member = self.members.is_member
        self.safe = Safe(self.objects, cluster.name, settings.secrets_dir)
        self._lease_threads = ThreadPoolExecutor(LEASE_THREADS, "lease")
        self._leases = Leases(self.objects, settings.node_name, call=self._call_for_lease)

    async def _call_for_lease(self, blocking: Callable[[], T], /) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._lease_threads, blocking)

    def copies(self, observer: Observer) -> Copies:
        """Give what tends the copies of builds on this node."""
        return Copies(self.store, observer, self._cluster.cache_mib * 1024 * 1024)

    async def found(self) -> None:
        """See to it that there is a cluster: see gridiron.manager.founding."""
        claim = Founding(self.objects, self._settings).claim
        await found(self.restate, self._cluster, self._settings, claim)

    @asynccontextmanager
    async def take_turn(self, key: str) -> AsyncIterator[Check]:
        """Take the turn of a key: see gridiron.manager.turns.Everywhere.

        Of a name and of removals, no two managers have it at once; the others concern this manager alone.
        """
        if key != REMOVAL and not key.startswith(NAME_TURN):
            yield lambda: None
            return
        limit = REMOVAL_LIMIT if key == REMOVAL else NAME_LIMIT
        async with self._leases.hold(lease_name(key), limit) as lease:
            yield lease.check


def lease_name(key: str) -> str:
    """Give the name of the lease of a turn's key: `names-demo` of `name demo`."""
    return key.replace(NAME_TURN, "names-")
