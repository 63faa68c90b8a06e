"""The builds of a node alone, brought into the bucket of the cluster that it becomes the first node of.

Each gets the objects that it would have, had it been stored in the cluster (gridiron.bundles.shared), with
its mark. Nobody goes by them before `cluster.json` is there, which is put last: until then all of this can be
broken off and done again, and what the node has changed meanwhile is changed in the bucket, too.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from gridiron.bundles.folders import (
    STATE,
    key_of,
    list_folders,
    put_build,
    remove_folder,
)
from gridiron.bundles.shared import make_cluster, read_cluster
from gridiron.bundles.states import BuildStates
from gridiron.bundles.store import BundleStore
from gridiron.errors import GrowRefused, ObjectMissing
from gridiron.lifecycle.observation import Mark
from gridiron.model import Address, Build
from gridiron.objects.port import Objects

EMPTY_IT = "Give `bucket` another prefix, or empty this one if nothing there is needed."

OnBuild = Callable[[int, int], None]
"""Is told how many builds are done, and how many there are."""


class Upload:
    """Brings the builds of a store into a bucket. Methods block, and raise what the bucket does.

    No other process may use the store meanwhile.
    """

    def __init__(self, store: BundleStore, objects: Objects, node: str) -> None:
        """Take the store, the bucket and the name of the node."""
        self._store = store
        self._objects = objects
        self._node = node
        self._states = BuildStates(objects, node)

    def is_done(self) -> bool:
        """Tell whether the bucket belongs to the cluster that the store's node is the first of.

        Raises GrowRefused where it belongs to another, ObjectDamaged.
        """
        try:
            identity = read_cluster(self._objects)
        except ObjectMissing:
            return False
        self._check_own(identity)
        return True

    def run(self, on_build: OnBuild) -> int:
        """Bring all builds there, and have the bucket belong to the cluster; give how many. Safe to repeat.

        Raises GrowRefused where a build is damaged, or there are builds of others; StorageFailed.
        """
        inventory = self._store.fetch_inventory()
        if inventory.damaged:
            names = ", ".join(damaged.build_id for damaged in inventory.damaged)
            raise GrowRefused(f"the files of {names} are damaged", "Start it alone, and prune or mend them.")
        self._remove_others({build.address for build in inventory.builds})
        for done, build in enumerate(inventory.builds):
            on_build(done, len(inventory.builds))
            self._put(build, inventory.marks.get(build.build_id))
        self._check_own(make_cluster(self._objects, self._store.fetch_identity()))
        return len(inventory.builds)

    def _check_own(self, identity: str) -> None:
        if identity != self._store.fetch_identity():
            raise GrowRefused(f"the bucket {self._objects.url} belongs to another cluster", EMPTY_IT)

    def _remove_others(self, own: AbstractSet[Address]) -> None:
        """Remove what an attempt before has put there that the node does not have any more."""
        for folder in list_folders(self._objects):
            if folder.address in own:
                continue
            state = key_of(folder.address, STATE)
            if self._states.find_writer(state) not in {None, self._node}:
                raise GrowRefused(f"there are builds of others in {self._objects.url}", EMPTY_IT)
            remove_folder(self._objects, folder)
            self._states.remove(state)

    def _put(self, build: Build, mark: Mark | None) -> None:
        """Put one build there, its record last. All but its state is what it was in an attempt before."""
        self._store.verify(build)
        address, directory = build.address, self._store.directory / build.build_id
        self._states.ensure(key_of(address, STATE), mark)
        with self._store.workplace() as work:
            put_build(self._objects, build, directory, work)
