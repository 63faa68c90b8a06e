"""How a node alone becomes the first of a cluster: all that it has and a cluster shares goes into the bucket.

It is done while the node's manager does not run. Restate needs nothing of it: its configuration for the next
start says where other nodes find it, and its data stay what they are. `cluster.json` comes last, and before
it no node goes by what is in the bucket, so that this can be broken off and done again at any point.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from gridiron.access.tokens import TokenStore
from gridiron.bundles.store import BundleStore
from gridiron.bundles.upload import EMPTY_IT, Upload
from gridiron.cluster import Cluster
from gridiron.errors import GrowRefused, NodeAlone
from gridiron.identity.shared import SharedKey
from gridiron.identity.store import IdentityStore
from gridiron.manager.founding import Founding
from gridiron.manager.role import BUNDLES_LOCK
from gridiron.membership import (
    check_membership,
    keep_membership,
    list_restate_nodes,
    marked_directories,
)
from gridiron.objects.bucket import open_bucket
from gridiron.objects.port import Objects
from gridiron.process.lock import lock_directory
from gridiron.restate.config import ALONE, restate_config_path
from gridiron.secrets.cluster import settle_key
from gridiron.secrets.documents import Safe
from gridiron.secrets.keep import share_secrets
from gridiron.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What is in the bucket now."""

    bucket: str
    builds: int
    partitions: int | None  # that the node's Restate was told at its last start; None: unknown
    was_done: bool = False  # before this call: nothing was changed


def grow_node(settings: Settings, say: Say, objects: Objects | None = None) -> Uploaded:
    """Bring into the bucket what the node of these settings has; its manager must not run. Safe to repeat.

    `say` hears what is being done; `objects` is the bucket, None: the one of the settings. Blocks.

    Raises NodeAlone without a table `[cluster]`, or ClusterTableMissing where it has grown before,
    GrowRefused, DirectoryInUse, ClusterKeyDiffers where others have begun with another key, StorageFailed,
    and what a bucket raises.
    """
    marked = marked_directories(settings)
    check_membership(settings, *marked)
    cluster = settings.cluster
    if cluster is None:
        raise NodeAlone
    check_node(settings, cluster)
    store, partitions = BundleStore(settings.bundles_dir), fetch_partitions(settings)
    with ExitStack() as locks:
        locks.enter_context(lock_directory(settings.manager_state_dir))
        locks.enter_context(lock_directory(settings.bundles_dir, BUNDLES_LOCK))
        objects = objects or open_bucket(cluster.bucket, settings.s3_endpoint)
        upload = Upload(store, objects, settings.node_name)
        if upload.is_done():
            keep_membership(settings, *marked)
            return Uploaded(objects.url, len(store.list_builds()), partitions, was_done=True)
        say(f"checking {objects.url} …")
        if not Founding(objects, settings).claim():
            raise GrowRefused(f"another node has begun a cluster in {objects.url}", EMPTY_IT)
        _share(settings, Safe(objects, cluster.name, settings.secrets_dir), say)
        builds = upload.run(lambda done, all_: say(f"builds: {done} of {all_} …"))
        keep_membership(settings, *marked)
        return Uploaded(objects.url, builds, partitions)


def check_node(settings: Settings, cluster: Cluster) -> None:
    """Raise GrowRefused where the node that is here could not be one of this cluster."""
    if cluster.name != ALONE:
        problem = f"its Restate is of a cluster called {ALONE}, for good, and the table says {cluster.name}"
        raise GrowRefused(problem, f'Write name = "{ALONE}" in [cluster], or leave that out.')
    names = list_restate_nodes(settings.restate_dir)
    if not names:
        mend = "A new node needs no growing: start it with the table."
        raise GrowRefused(f"there is no data of a node in {settings.data_dir}", mend)
    if settings.node_name not in names:
        problem = f"Restate keeps its data under the name {names[0]}, and not {settings.node_name}"
        raise GrowRefused(problem, f"Set GRIDIRON_NODE_NAME={names[0]}.")


def fetch_partitions(settings: Settings) -> int | None:
    """Read how many partitions Restate was last told to have, which counts at its first start alone.

    None where that cannot be read.
    """
    try:
        config = tomllib.loads(restate_config_path(settings).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    number = config.get("default-num-partitions")
    return number if isinstance(number, int) else None


def _share(settings: Settings, safe: Safe, say: Say) -> None:
    """Bring there what the nodes keep sealed; the node's own key becomes the cluster's."""
    say("secrets, tokens and keys …")
    settle_key(safe)
    share_secrets(settings.secrets_dir, safe)
    alone = TokenStore(settings.manager_state_dir)
    TokenStore.of_cluster(settings.manager_state_dir, safe, settings.node_name).take_over(alone)
    if settings.identity_key is None:  # else each node is given it
        directory = settings.identity_dir
        IdentityStore(directory, shared=SharedKey(safe, directory)).share()
