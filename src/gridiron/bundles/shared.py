"""The builds of a cluster: the truth is in its bucket, and what is on a node's disk are copies.

    cluster.json                              the identity of the cluster, made once
    builds/{name}/{version}-{timestamp}/
        state                                 where the build is in its life: see gridiron.bundles.states
        {sha256}.tar.gz                       its modules; the name is the digest of the archive
        secrets.sealed                        its secrets, if it has some
        metadata.json                         its record

The state is there first, so that no other build gets this address, and the record last: with it, the build
exists. All but the state is written once. A build goes in the opposite order, so that what a crash leaves is
no build. docs/decisions/0027 has the reasons.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from gridiron.bundles.content import unpack_content
from gridiron.bundles.disk import storing, sync, sync_tree
from gridiron.bundles.folders import (
    ARCHIVE_SUFFIX,
    BUILDS,
    STATE,
    Folder,
    key_of,
    list_folders,
    put_build,
    remove_folder,
    render_record,
)
from gridiron.bundles.inventory import parse_build
from gridiron.bundles.paths import METADATA_FILE, SEALED_FILE
from gridiron.bundles.staging import Staged
from gridiron.bundles.states import READERS, BuildState, BuildStates
from gridiron.bundles.store import BundleStore
from gridiron.errors import (
    BucketUnavailable,
    BuildNotFound,
    BundlesElsewhere,
    ClusterNotGrown,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    StorageFailed,
)
from gridiron.lifecycle.observation import Damaged, Inventory, Mark
from gridiron.model import Address, Build, Value
from gridiron.objects.port import Objects
from gridiron.objects.probe import check_conditions
from gridiron.objects.values import fetch_value, render_value
from gridiron.process.files import replace_file
from gridiron.settings import BUNDLES_IDENTITY

log = structlog.get_logger()

CLUSTER_KEY = "cluster.json"

MAX_METADATA = 32 * 1024 * 1024
"""Bytes: some 200 of each module, of which there are 10,000 at the most, and 1 MiB of variables."""

MAX_SEALED = 16 * 1024 * 1024
"""Bytes: what is sealed of a hundred secrets of 64 KiB, as they are in JSON at the worst."""


class _Cluster(Value):
    """What `cluster.json` holds."""

    identity: str


def read_cluster(objects: Objects) -> str:
    """Read the identity of a cluster in its bucket. Raises ObjectMissing, ObjectDamaged."""
    return fetch_value(objects, CLUSTER_KEY, _Cluster, "it names no cluster")[0].identity


def make_cluster(objects: Objects, identity: str) -> str:
    """Give a bucket an identity, and say which one it has: another one where somebody else was first."""
    check_conditions(objects)  # all that follows rests on them
    try:
        objects.create(CLUSTER_KEY, render_value(_Cluster(identity=identity)))
    except ObjectExists:
        return read_cluster(objects)
    return identity


class SharedStore(BundleStore):
    """A BundleStore whose builds are in a bucket, with copies of them in the directory for the cells.

    Several managers use one bucket, each with a directory of its own. Methods that need the bucket raise
    BucketUnavailable and BucketRefused, too.
    """

    others_write = True

    def __init__(self, directory: Path, objects: Objects, node: str) -> None:
        """Take the directory for copies, the bucket, and the name of this node."""
        super().__init__(directory)
        self._objects = objects
        self._node = node
        self._states = BuildStates(objects, node)
        self._records: dict[Address, Build] = {}  # that were read: a build never changes
        self._left: frozenset[Address] = frozenset()  # what had no record when it was tidied up last
        self.is_member: Callable[[str], bool] = lambda _node: True
        """Tells whether a node may still end what it began."""

    @property
    def place(self) -> str:
        """Where the builds are, for people."""
        return self._objects.url

    def prepare(self, expected: str | None = None) -> str:
        """Make the directory ready for copies of this cluster's builds; give the cluster's identity.

        The first node of all gives it one. Where the bucket cannot be reached, a directory that was ready
        before is good. Raises BundlesElsewhere where the directory has builds of another cluster,
        ClusterNotGrown where it has some and the bucket belongs to no cluster yet.
        """
        here = self._identify()
        try:
            identity = self._fetch_cluster_identity(here)
        except BucketUnavailable as error:
            log.warning("bucket.away", reason=error.reason)
            if here is None:
                reason = "and this node was never part of the cluster"
                raise BucketUnavailable(self._objects.url, reason) from error
            identity = here
        if here is None:
            with storing("Making", self.directory):
                replace_file(self.directory / BUNDLES_IDENTITY, identity.encode(), 0o644)
                sync(self.directory)
        elif here != identity:
            raise BundlesElsewhere(f"{self.directory}, beside the bucket {self._objects.url},")
        return super().prepare(expected)

    def _fetch_cluster_identity(self, here: str | None) -> str:
        """Read what the cluster is, and make it that where it is nothing yet.

        `here` is what this directory belongs to: a new cluster would know nothing of the builds in it.
        """
        try:
            return read_cluster(self._objects)
        except ObjectMissing as error:
            if here is not None:
                raise ClusterNotGrown(str(self.directory), self._objects.url) from error
            return make_cluster(self._objects, secrets.token_hex(8))

    # -- which builds there are

    def fetch_inventory(self) -> Inventory:
        """Give the builds of the cluster, and what should be one and cannot be read.

        Whether there are copies here makes no difference.
        """
        inventory = self._fetch_inventory()
        known = {build.address for build in inventory.builds}
        self._records = {address: build for address, build in self._records.items() if address in known}
        return inventory

    def fetch_inventory_of(self, name: str) -> Inventory:
        """Give the builds of one name: see BundleStore."""
        return self._fetch_inventory(f"/{name}")

    def _fetch_inventory(self, path: str = "") -> Inventory:
        identity = self.fetch_identity()
        stored = [each for each in list_folders(self._objects, path) if each.is_build]
        records = self._fetch_records(stored)
        states = self._fetch_states(stored)
        builds = [record for record in records if isinstance(record, Build)]
        return Inventory(
            identity=identity,
            builds=tuple(sorted(builds, key=lambda build: (build.timestamp, build.build_id))),
            damaged=tuple(record for record in records if isinstance(record, Damaged)),
            marks={build.build_id: mark for build in builds if (mark := _mark_of(states.get(build.address)))},
            elsewhere=frozenset(
                build.build_id
                for build in builds
                if (state := states.get(build.address)) and self._is_under_way_elsewhere(state)
            ),
        )

    def _fetch_states(self, folders: Collection[Folder]) -> Mapping[Address, BuildState]:
        """Read the states of builds, as far as they have one; those that did not change cost nothing."""
        listed = {each.address: each.state for each in folders if each.state is not None}
        states = self._states.fetch(listed.values())
        return {address: states[each.key] for address, each in listed.items() if each.key in states}

    def _fetch_records(self, stored: Collection[Folder]) -> list[Build | Damaged]:
        """Read the records of builds; those that were read before cost nothing."""
        known = self._records
        new = [each.address for each in stored if each.address not in known]
        with ThreadPoolExecutor(READERS) as readers:
            read = [record for record in readers.map(self._fetch_record, new) if record is not None]
        self._remember(*(record for record in read if isinstance(record, Build)))
        again = (known.get(each.address) for each in stored)
        return [*read, *(record for record in again if record is not None)]

    def _remember(self, *builds: Build) -> None:
        # at once: several threads may read
        self._records = {**self._records, **{build.address: build for build in builds}}

    def _fetch_record(self, address: Address) -> Build | Damaged | None:
        """Read the record of a build; None where it is gone by now."""
        try:
            found = self._objects.get(key_of(address, METADATA_FILE), MAX_METADATA)
        except ObjectMissing:
            return None
        except ObjectDamaged as error:
            return Damaged(str(address), error.problem)
        return parse_build(str(address), found.content)

    # -- how a build comes and goes

    def publish(self, staged: Staged, build: Build, sealed: bytes | None = None) -> Path:
        """Make a build of what was staged here, at an address that nobody else gets: see BundleStore.

        `share` puts it into the bucket. Raises StorageFailed where this address was given to a build before.
        """
        try:
            self._states.claim(key_of(build.address, STATE))
        except ObjectExists as error:
            place = f"{BUILDS}{build.address.path}"
            raise StorageFailed("Storing", place, "there is a build of this id already") from error
        self._remember(build)
        return self._put_in_place(staged.directory, build.build_id, render_record(build), sealed)

    def share(self, build: Build) -> None:
        """Put a build into the bucket, with which it exists: see BundleStore."""
        with self.workplace() as work:
            put_build(self._objects, build, self._directory_of(build.build_id), work)

    def mark(self, build_id: str, mark: Mark) -> None:
        """Write down where a build is in its life: see BundleStore. Raises ObjectChanged."""
        self._write_state(build_id, mark)

    def unmark(self, build_id: str) -> None:
        """Take the mark of a build away: see BundleStore. Raises ObjectChanged."""
        self._write_state(build_id, None)

    def _write_state(self, build_id: str, mark: Mark | None) -> None:
        address = self._find(build_id)
        if address is not None:
            self._states.write(key_of(address, STATE), mark)

    def remove(self, build_id: str) -> None:
        """Remove a build from the bucket, and its copy from here. Safe to repeat."""
        address = self._find(build_id)
        if address is not None:
            self._remove_all(self._list_one(address))
        super().remove(build_id)

    def _remove_all(self, folder: Folder) -> None:
        remove_folder(self._objects, folder)
        self._states.remove(key_of(folder.address, STATE))

    def _list_one(self, address: Address) -> Folder:
        """List what there is of one build, which may be nothing."""
        return next(iter(list_folders(self._objects, address.path)), Folder(address, {}))

    def tidy(self, activating: Collection[str]) -> None:
        """Remove what came to nothing: objects of a build that had no record the last time either.

        `activating` are the ids of builds whose activation is under way here, and may change meanwhile. What
        another node has begun is left to it, for as long as it is a member.
        """
        activating = frozenset(activating)  # as they were before the listing: what ends meanwhile is in none
        left = [each for each in list_folders(self._objects) if not each.is_build]
        states = self._fetch_states(left)
        before, self._left = self._left, frozenset(each.address for each in left)
        for each in left:
            state = states.get(each.address)
            theirs = state is not None and self._is_under_way_elsewhere(state)
            # one that has begun since the last time may be under way, and have ended by now
            if each.address in before and not theirs and str(each.address) not in activating:
                self._remove_all(each)
                log.info("build.leftover_removed", build_id=str(each.address))

    def _is_under_way_elsewhere(self, state: BuildState) -> bool:
        """Tell whether a build is for another node to end, which has begun it."""
        begun = state.mark is not None and state.mark.unfinished
        return begun and state.node != self._node and self.is_member(state.node)

    def _find(self, build_id: str) -> Address | None:
        """Say which address a build has; None where there is no such build."""
        for address in self._records:
            if str(address) == build_id:
                return address
        folders = list_folders(self._objects)
        return next((each.address for each in folders if str(each.address) == build_id), None)

    # -- copies

    def fetch_copy(self, address: Address) -> bool:
        """Have a copy of a build here; False where there is no such build. Safe to repeat, and in parallel.

        Raises ObjectDamaged and StorageFailed where it is not what was stored.
        """
        if self._read_copy(address) is not None:
            return True
        folder = self._list_one(address)
        archive = folder.archive
        if not folder.is_build or archive is None:
            return False
        records = self._fetch_records([folder])
        if not records:  # it is gone by now
            return False
        (record,) = records
        if isinstance(record, Damaged):
            raise ObjectDamaged(self._objects.url, key_of(address, METADATA_FILE), record.reason)
        sealed = self._fetch_sealed(address) if SEALED_FILE in folder.objects else None
        with self.workplace() as work:
            sha256 = archive.removesuffix(ARCHIVE_SUFFIX)
            self._objects.fetch(key_of(address, archive), work / "archive", sha256)
            unpack_content(work / "archive", record, work / "build")
            self._put_in_place(work / "build", str(address), render_record(record), sealed)
        return True

    def ensure_copy(self, address: Address) -> bool:
        """Have a copy of a build here that is what was stored; False where there is no such build.

        As `fetch_copy`, and one that is here already is compared with its digests.
        """
        build = self._records.get(address) or self._read_copy(address)
        if build is None:
            return self.fetch_copy(address)
        self.verify(build)
        return self.fetch_copy(address)

    def _read_copy(self, address: Address) -> Build | None:
        """Read the record of the copy of a build; None where there is none that can be read."""
        here = self._inventory.fetch(str(address)).builds  # what begins so
        return next((build for build in here if build.address == address), None)

    def has_copy(self, build_id: str) -> bool:
        """Tell whether there is a copy of a build here."""
        return (self._directory_of(build_id) / METADATA_FILE).is_file()

    def list_copies(self) -> frozenset[str]:
        """Give the ids of the builds that there are copies of here. Raises StorageFailed.

        A copy comes and goes whole, so that its directory tells: to look into thousands takes half a second.
        """
        with storing("Reading", self.directory):
            names = os.listdir(self.directory)  # noqa: PTH208 - names are all
        return frozenset(name for name in names if not name.startswith("."))

    def drop_copy(self, build_id: str) -> None:
        """Remove the copy of a build, if there is one. Safe to repeat."""
        super().remove(build_id)

    def evict(self, used: Collection[str], limit: int) -> tuple[str, ...]:
        """Remove copies that nobody uses, oldest first, until at most `limit` bytes are left; give their ids.

        `used` are the ids of the builds that stay whatever they take.
        """
        copies = self._inventory.fetch().builds
        size = sum(build.size for build in copies)
        evicted = []
        for build in copies:
            if size > limit and build.build_id not in used:
                self.drop_copy(build.build_id)
                evicted.append(build.build_id)
                size -= build.size
        return tuple(evicted)

    def _put_in_place(self, directory: Path, build_id: str, record: bytes, sealed: bytes | None) -> Path:
        """Make a copy of what is in a directory of ours. One that is there already is as good."""
        target = self._directory_of(build_id)
        with storing("Storing", target):
            (directory / METADATA_FILE).write_bytes(record)
            if sealed is not None:
                (directory / SEALED_FILE).write_bytes(sealed)
            sync_tree(directory)
            try:
                directory.rename(target)
            except OSError:
                if not self.has_copy(build_id):
                    raise
            sync(self.directory)
        return target

    def stage_again(self, build: Build) -> Staged:
        """Stage the content of a stored build: see BundleStore. Raises as `fetch_copy` does, too."""
        if not self.fetch_copy(build.address):
            raise BuildNotFound(build.build_id)
        return super().stage_again(build)

    def verify(self, build: Build) -> None:
        """See to it that the copy of a build, if there is one here, is what was stored.

        One that is not is replaced. Raises StorageFailed and ObjectDamaged where that cannot be.
        """
        if not self.has_copy(build.build_id):
            return
        try:
            super().verify(build)
        except StorageFailed as error:
            log.warning("build.copy_damaged", build_id=build.build_id, reason=str(error))
            self.drop_copy(build.build_id)
            self.fetch_copy(build.address)

    def fetch_sealed(self, build_id: str) -> bytes:
        """Read the sealed secrets of a build that has some: see BundleStore."""
        if self.has_copy(build_id):
            return super().fetch_sealed(build_id)
        address = self._find(build_id)
        if address is None:
            raise BuildNotFound(build_id)
        return self._fetch_sealed(address)

    def _fetch_sealed(self, address: Address) -> bytes:
        return self._objects.get(key_of(address, SEALED_FILE), MAX_SEALED).content


def _mark_of(state: BuildState | None) -> Mark | None:
    """Say where a build is in its life. One without a state goes: its record came after it was withdrawn."""
    return Mark.LEAVING if state is None else state.mark
