from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gridiron.bundles.shared import SharedStore, make_cluster
from gridiron.errors import (
    BucketUnavailable,
    BuildNotFound,
    BundlesElsewhere,
    ClusterNotGrown,
    ObjectChanged,
    ObjectDamaged,
    StorageFailed,
)
from gridiron.lifecycle.observation import Damaged, Inventory, Mark
from gridiron.model import Address, Build
from gridiron.objects.port import Listed
from gridiron.testing.objects import FakeObjects
from tests.files import write
from tests.unit.bundles.test_store import FILES, content, plan

HEAD = "builds/greeter/1.0.0-1"
COPY = {"metadata.json", "index.js", "lib/deep/core.wasm", "data.json"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", FILES)


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


def make_store(tmp_path: Path, bucket: FakeObjects, node: str) -> SharedStore:
    store = SharedStore(tmp_path / node / "bundles", bucket, node)
    store.prepare()
    return store


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> SharedStore:
    return make_store(tmp_path, bucket, "n1")


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> SharedStore:
    return make_store(tmp_path, bucket, "n2")


def add(store: SharedStore, source: Path, timestamp: int = 1, sealed: bytes | None = None) -> Build:
    staged = store.stage(source)
    build = plan(staged, timestamp)
    if sealed is not None:
        build = build.model_copy(update={"secrets": ("KEY",)})
    store.publish(staged, build, sealed)
    store.share(build)
    return build


def keys(bucket: FakeObjects) -> set[str]:
    return {listed.key for listed in bucket.list("")}


def archive_of(bucket: FakeObjects) -> str:
    (key,) = (key for key in keys(bucket) if key.endswith(".tar.gz"))
    return key


# -- one truth -------------------------------------------------------------------------------------------


def test_every_node_has_the_identity_of_the_cluster(one: SharedStore, two: SharedStore) -> None:
    assert one.fetch_identity() == two.fetch_identity()
    assert one.prepare(one.fetch_identity()) == two.fetch_identity()


def test_a_build_is_seen_by_all_nodes_as_it_was_stored(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source, sealed=b"sealed")
    expected = Inventory(
        one.fetch_identity(),
        (build,),
        marks={build.build_id: Mark.ACTIVATING},
    )
    assert one.fetch_inventory() == expected
    assert two.fetch_inventory() == replace(expected, elsewhere=frozenset({build.build_id}))
    names = {key.removeprefix(f"{HEAD}/") for key in keys(bucket) - {"cluster.json"}}
    assert names == {"state", "metadata.json", "secrets.sealed", archive_of(bucket).rpartition("/")[2]}
    one.unmark(build.build_id)
    assert two.fetch_inventory() == Inventory(one.fetch_identity(), (build,))
    assert two.fetch_inventory_of("greeter").list_kept("greeter") == two.list_builds() == (build,)
    assert two.fetch_inventory_of("greet").list_kept("greet") == ()


def test_what_was_read_once_is_read_again_only_where_it_changed(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    two.fetch_inventory()
    bucket.requests.clear()
    two.fetch_inventory()
    assert bucket.requests == ["list builds"]
    one.mark(build.build_id, Mark.REGISTERING)
    bucket.requests.clear()
    assert two.fetch_inventory().marks == {build.build_id: Mark.REGISTERING}
    assert bucket.requests == ["list builds", f"get {HEAD}/state"]


def test_a_mark_is_not_written_over_one_that_was_not_seen(
    one: SharedStore, two: SharedStore, source: Path
) -> None:
    build = add(one, source)
    two.fetch_inventory()
    one.mark(build.build_id, Mark.FORCED)
    with pytest.raises(ObjectChanged):
        two.unmark(build.build_id)
    assert two.fetch_inventory().marks == {build.build_id: Mark.FORCED}
    two.mark(build.build_id, Mark.FORCED)
    two.unmark(build.build_id)
    assert one.fetch_inventory().marks == {}


def test_a_mark_comes_back_and_is_seen(one: SharedStore, two: SharedStore, source: Path) -> None:
    build = add(one, source)
    for mark in (Mark.RETIRED, None, Mark.RETIRED):
        one.mark(build.build_id, mark) if mark else one.unmark(build.build_id)
        assert two.fetch_inventory().marks.get(build.build_id) is mark


def test_an_activation_whose_node_is_gone_for_good_is_everybodys(
    one: SharedStore, two: SharedStore, source: Path
) -> None:
    build = add(one, source)
    two.is_member = lambda node: node != "n1"
    inventory = two.fetch_inventory()
    assert (inventory.marks, inventory.elsewhere) == ({build.build_id: Mark.ACTIVATING}, frozenset())


def test_a_record_that_cannot_be_read_is_damaged_until_it_is_mended(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    good = bucket.get(f"{HEAD}/metadata.json", 10_000).content
    bucket.put(f"{HEAD}/metadata.json", b"{")
    (damaged,) = two.fetch_inventory().damaged
    assert isinstance(damaged, Damaged)
    assert damaged.build_id == build.build_id
    with pytest.raises(ObjectDamaged):
        two.fetch_copy(build.address)
    bucket.put(f"{HEAD}/metadata.json", good)
    assert two.fetch_inventory().builds == (build,)


def test_a_record_that_came_after_its_build_was_withdrawn_is_to_go(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    record = bucket.get(f"{HEAD}/metadata.json", 1 << 20).content
    one.remove(build.build_id)
    bucket.put(f"{HEAD}/metadata.json", record)
    assert two.fetch_inventory().marks == {build.build_id: Mark.LEAVING}
    two.remove(build.build_id)
    assert keys(bucket) == {"cluster.json"}


def test_what_is_gone_cannot_be_marked_as_to_be_registered(
    one: SharedStore, two: SharedStore, source: Path
) -> None:
    build = add(one, source)
    two.fetch_inventory()
    two.remove(build.build_id)
    with pytest.raises(ObjectChanged):
        one.mark(build.build_id, Mark.REGISTERING)
    one.fetch_inventory()  # which finds out
    one.mark(build.build_id, Mark.LEAVING)


def test_no_two_builds_have_one_address(one: SharedStore, two: SharedStore, source: Path) -> None:
    build = add(one, source)
    staged = two.stage(source)
    with pytest.raises(StorageFailed, match="there is a build of this id already"):
        two.publish(staged, build.model_copy(update={"vars": {"OTHER": 1}}))
    assert two.list_builds() == (build,)


def test_objects_of_others_below_the_prefix_are_no_builds(one: SharedStore, bucket: FakeObjects) -> None:
    for key in ("builds/notes.txt", "builds/greeter/latest/metadata.json", "leases/greeter"):
        bucket.put(key, b"{}")
    assert one.fetch_inventory() == Inventory(one.fetch_identity(), ())


# -- copies ----------------------------------------------------------------------------------------------


def test_a_copy_is_what_was_stored(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source, sealed=b"sealed")
    assert not two.has_copy(build.build_id)
    assert two.fetch_copy(build.address)
    here, there = (content(store.directory / build.build_id) for store in (one, two))
    assert here == there
    assert here.keys() == COPY | {"secrets.sealed"}
    assert {name: here[name] for name in COPY - {"metadata.json"}} == {
        name: FILES[name] for name in COPY - {"metadata.json"}
    }
    bucket.away = True
    assert two.fetch_copy(build.address)  # it is here
    two.verify(build)
    assert two.fetch_sealed(build.build_id) == b"sealed"


def test_there_is_no_copy_of_what_is_no_build(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    other = build.model_copy(update={"timestamp": 2})
    assert not two.fetch_copy(other.address)
    bucket.delete(f"{HEAD}/metadata.json")
    assert not two.fetch_copy(build.address)
    with pytest.raises(BuildNotFound):
        two.stage_again(build)


def test_a_damaged_archive_is_not_unpacked(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    bucket.put(archive_of(bucket), b"something else")
    with pytest.raises(ObjectDamaged):
        two.fetch_copy(build.address)
    assert sorted(content(two.directory)) == [".store"]


def test_a_damaged_copy_is_replaced(one: SharedStore, two: SharedStore, source: Path) -> None:
    build = add(one, source)
    two.fetch_copy(build.address)
    module = two.directory / build.build_id / "index.js"
    module.write_bytes(b"export default [];\n")
    two.verify(build)
    assert module.read_bytes() == FILES["index.js"]


def test_a_copy_is_seen_to_be_whole_also_by_who_never_saw_the_bucket(
    one: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    bucket.away = True
    anew = SharedStore(one.directory, bucket, "n1")
    assert anew.ensure_copy(build.address)
    (one.directory / build.build_id / "data.json").unlink()
    with pytest.raises(BucketUnavailable):
        anew.ensure_copy(build.address)
    bucket.away = False
    assert anew.ensure_copy(build.address)
    assert (one.directory / build.build_id / "data.json").read_bytes() == FILES["data.json"]


def test_an_address_that_only_looks_like_a_builds_has_no_copy(one: SharedStore, source: Path) -> None:
    build = add(one, source)  # greeter/1.0.0-1
    other = Address(name="greeter-1", version="0.0", timestamp=1)
    assert build.build_id.startswith("greeter-1")
    assert not one.ensure_copy(other)
    twin = plan(one.stage(source), name="greeter-x", version="y").address
    one.publish(one.stage(source), build := plan(one.stage(source), name="greeter-x", version="y"))
    one.share(build)
    assert str(twin) == "greeter-x-y-1"
    assert not one.ensure_copy(Address(name="greeter", version="x-y", timestamp=1))


def test_a_rollback_on_another_node_begins_with_a_copy(
    one: SharedStore, two: SharedStore, source: Path
) -> None:
    build = add(one, source)
    staged = two.stage_again(build)
    again = build.model_copy(update={"timestamp": 2})
    two.publish(staged, again)
    two.share(again)
    assert one.list_builds() == (build, again)


def test_copies_that_nobody_uses_go_oldest_first(one: SharedStore, source: Path) -> None:
    builds = [add(one, source, timestamp) for timestamp in (1, 2, 3, 4)]
    ids = [build.build_id for build in builds]
    assert one.evict(set(), 4 * builds[0].size) == ()
    assert one.evict({ids[0]}, 2 * builds[0].size) == (ids[1], ids[2])
    assert one.evict(set(ids), 0) == ()
    assert [one.has_copy(each) for each in ids] == [True, False, False, True]
    assert one.list_builds() == tuple(builds)


# -- how builds go ---------------------------------------------------------------------------------------


def test_a_build_that_is_removed_is_gone_everywhere_but_for_copies(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source, sealed=b"sealed")
    two.fetch_copy(build.address)
    for _ in range(2):
        two.remove(build.build_id)
        assert keys(bucket) == {"cluster.json"}
        assert not two.has_copy(build.build_id)
    assert one.list_builds() == ()
    one.remove(build.build_id)
    assert not one.has_copy(build.build_id)


def test_a_removal_that_breaks_off_leaves_no_build_and_is_ended_by_anybody(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    one.mark(build.build_id, Mark.LEAVING)
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.remove(build.build_id)
    assert two.fetch_inventory().builds == ()
    for _ in range(2):
        two.tidy(())
    assert keys(bucket) == {"cluster.json"}


def test_an_activation_that_breaks_off_is_tidied_up_by_its_own_node(
    one: SharedStore, two: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    staged = one.stage(source)
    build = plan(staged)
    bucket.lost = 1  # the answer to the claim
    with pytest.raises(BucketUnavailable):
        one.publish(staged, build)
    assert keys(bucket) == {"cluster.json", f"{HEAD}/state"}
    for _ in range(2):
        two.tidy(())
        one.tidy({build.build_id})
    assert keys(bucket) == {"cluster.json", f"{HEAD}/state"}
    one.tidy(())
    assert keys(bucket) == {"cluster.json"}


def test_what_ends_while_leftovers_are_looked_for_is_none(
    one: SharedStore, source: Path, bucket: FakeObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = one.stage(source)
    build = plan(staged)
    one.publish(staged, build)
    activating = {build.build_id}
    one.tidy(activating)
    find = bucket.list

    def end(prefix: str) -> tuple[Listed, ...]:
        found = find(prefix)
        one.share(build)
        activating.clear()
        return found

    monkeypatch.setattr(bucket, "list", end)
    one.tidy(activating)
    monkeypatch.undo()
    assert one.fetch_inventory().marks == {build.build_id: Mark.ACTIVATING}


def test_what_has_begun_since_is_not_taken_for_a_leftover(
    one: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    staged = one.stage(source)
    build = plan(staged)
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.publish(staged, build)
    one.tidy(())
    assert keys(bucket) == {"cluster.json", f"{HEAD}/state"}


def test_what_a_removed_node_began_is_tidied_up_by_others(
    two: SharedStore, one: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    staged = one.stage(source)
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.publish(staged, plan(staged))
    two.is_member = lambda node: node != "n1"
    for _ in range(2):
        two.tidy(())
    assert keys(bucket) == {"cluster.json"}


# -- with the bucket away --------------------------------------------------------------------------------


def test_nothing_is_known_and_nothing_lost_with_the_bucket_away(
    one: SharedStore, source: Path, bucket: FakeObjects
) -> None:
    build = add(one, source)
    before = content(one.directory)
    staged = one.stage(source)
    bucket.away = True
    with pytest.raises(BucketUnavailable):
        one.fetch_inventory()
    with pytest.raises(BucketUnavailable):
        one.publish(staged, build.model_copy(update={"timestamp": 2}))
    with pytest.raises(BucketUnavailable):
        one.remove(build.build_id)
    one.discard(staged)
    assert content(one.directory) == before
    assert one.prepare(one.fetch_identity()) == one.fetch_identity()  # a manager starts nevertheless


def test_a_node_that_was_never_part_of_the_cluster_does_not_begin_without_the_bucket(
    tmp_path: Path, bucket: FakeObjects
) -> None:
    bucket.away = True
    with pytest.raises(BucketUnavailable):
        make_store(tmp_path, bucket, "n3")


def test_a_directory_of_another_cluster_or_of_a_node_alone_is_refused(one: SharedStore, source: Path) -> None:
    build = add(one, source)
    before = content(one.directory)
    empty, other = FakeObjects(), FakeObjects()
    with pytest.raises(ClusterNotGrown):
        SharedStore(one.directory, empty, "n1").prepare()
    assert empty.list("") == ()  # it may become this node's cluster
    make_cluster(other, "another")
    elsewhere = SharedStore(one.directory, other, "n1")
    with pytest.raises(BundlesElsewhere):
        elsewhere.prepare()
    assert content(one.directory) == before
    assert one.list_builds() == (build,)
