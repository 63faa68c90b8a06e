"""A node alone with builds, secrets and tokens, on its way into a bucket: a fake one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gridiron.access.scopes import parse_scope
from gridiron.access.tokens import TokenStore
from gridiron.bundles.shared import SharedStore, make_cluster
from gridiron.bundles.upload import Upload
from gridiron.cluster import Cluster
from gridiron.errors import BucketUnavailable, ClusterKeyDiffers, DirectoryInUse, GrowRefused, NodeAlone
from gridiron.identity.shared import SharedKey
from gridiron.identity.store import IdentityStore
from gridiron.lifecycle.observation import Mark
from gridiron.manager.founding import Founding
from gridiron.manager.growing import Uploaded, fetch_partitions, grow_node
from gridiron.manager.stores import make_secret_store
from gridiron.process.lock import lock_directory
from gridiron.secrets.documents import Safe
from gridiron.secrets.store import Secret
from gridiron.settings import Settings
from gridiron.testing.objects import FakeObjects
from tests.unit.manager.conftest import NOW, Manager, make_settings

SECRETS = {"TOKEN": Secret("hush", NOW)}


class Grower:
    """A node that was alone until now, and the settings that it has from now on."""

    def __init__(self, directory: Path) -> None:
        self.bucket = FakeObjects()
        self.alone = Manager(directory, make_settings(directory, node_name="n1"))
        self.settings = make_settings(directory, node_name="n1", cluster=make_table())
        (self.settings.restate_dir / "n1").mkdir(parents=True)
        IdentityStore.of(self.alone.settings).take_up()
        self.said: list[str] = []

    def grow(self, **changes: Any) -> Uploaded:
        settings = self.settings.model_copy(update=changes)
        return grow_node(settings, self.said.append, self.bucket)

    def join(self, directory: Path) -> SharedStore:
        """The store of a node that joins."""
        store = SharedStore(directory, self.bucket, "n2")
        store.prepare()
        return store


def make_table(**changes: Any) -> Cluster:
    given = {"address": "10.0.0.1", "peers": ["10.0.0.2"], "bucket": "s3://bucket/mesh"}
    return Cluster(**{**given, **changes})


@pytest.fixture
def grower(tmp_path: Path) -> Grower:
    return Grower(tmp_path)


async def test_another_node_finds_all_that_the_node_had(grower: Grower, tmp_path: Path) -> None:
    alone = grower.alone
    builds = [(await alone.activate(version)).build_id for version in ("1", "2")]
    alone.context.store.mark(builds[0], Mark.RETIRED)
    alone.context.secrets.replace("demo", SECRETS, {})
    made = alone.guard.tokens.create("ci", [parse_scope("read")], None, NOW)
    assert grower.grow() == Uploaded(grower.bucket.url, 2, None)

    before = alone.context.store.fetch_inventory()
    joined = grower.join(tmp_path / "n2")
    assert joined.fetch_inventory() == before
    assert all(joined.fetch_copy(build.address) for build in before.builds)
    for build in before.builds:
        joined.verify(build)
    safe = Safe(grower.bucket, "gridiron", grower.settings.secrets_dir)
    assert make_secret_store(grower.settings, safe).fetch("demo") == SECRETS
    tokens = TokenStore.of_cluster(tmp_path / "tokens", safe, "n2")
    tokens.prepare(NOW)
    assert tokens.check(made.text, NOW).name == "ci"
    assert {"ci", "admin.n1", "admin.n2"} == {token.name for token in tokens.tokens}
    own = IdentityStore.of(grower.settings).fetch().signing
    shared = IdentityStore(tmp_path / "identity", shared=SharedKey(safe, tmp_path / "identity"), wait=len_of)
    shared.take_up()
    assert shared.fetch().signing == own


def len_of(_seconds: float) -> None:
    """Wait for nobody: no cell goes by these keys."""


async def test_the_node_itself_goes_on_with_what_it_had(grower: Grower) -> None:
    await grower.alone.activate("1")
    admin = grower.alone.guard.tokens.admin_file.read_text()
    grower.grow()
    store = SharedStore(grower.settings.bundles_dir, grower.bucket, "n1")
    assert store.prepare(grower.alone.context.registry.store) == grower.alone.context.store.fetch_identity()
    assert store.fetch_inventory() == grower.alone.context.store.fetch_inventory()
    safe = Safe(grower.bucket, "gridiron", grower.settings.secrets_dir)
    tokens = TokenStore.of_cluster(grower.settings.manager_state_dir, safe, "n1")
    tokens.prepare(NOW)
    assert tokens.admin_file.read_text() == admin
    assert Founding(grower.bucket, grower.settings).claim()


async def test_a_second_time_changes_nothing(grower: Grower) -> None:
    await grower.alone.activate("1")
    grower.grow()
    before = {each.key: each.etag for each in grower.bucket.list("")}
    assert grower.grow() == Uploaded(grower.bucket.url, 1, None, was_done=True)
    assert {each.key: each.etag for each in grower.bucket.list("")} == before


async def test_what_was_broken_off_is_done_again_as_things_are_then(grower: Grower) -> None:
    alone = grower.alone
    first = await alone.activate("1")
    second = await alone.activate("2")
    alone.context.secrets.replace("demo", SECRETS, {})
    broken = BrokenBeforeTheEnd()
    with pytest.raises(BucketUnavailable):
        grow_node(grower.settings, grower.said.append, broken)
    assert "cluster.json" not in {each.key for each in broken.list("")}

    alone.context.secrets.replace("demo", {}, SECRETS)
    alone.context.store.remove(first.build_id)
    alone.context.store.mark(second.build_id, Mark.RETIRED)
    broken.is_broken = False
    assert grow_node(grower.settings, grower.said.append, broken).builds == 1
    joined = SharedStore(grower.settings.bundles_dir, broken, "n1")
    joined.prepare()
    assert joined.fetch_inventory() == alone.context.store.fetch_inventory()
    safe = Safe(broken, "gridiron", grower.settings.secrets_dir)
    assert make_secret_store(grower.settings, safe).fetch("demo") == {}


class BrokenBeforeTheEnd(FakeObjects):
    """A bucket that goes away before it belongs to a cluster."""

    is_broken = True

    def create(self, key: str, content: bytes) -> str:
        if self.is_broken and key == "cluster.json":
            raise BucketUnavailable(self.url, "gone")
        return super().create(key, content)


async def test_a_bucket_of_another_cluster_is_left_alone(grower: Grower) -> None:
    await grower.alone.activate("1")
    make_cluster(grower.bucket, "another")
    with pytest.raises(GrowRefused, match="belongs to another cluster"):
        grower.grow()
    assert [each.key for each in grower.bucket.list("")] == ["cluster.json"]


async def test_builds_of_others_are_left_alone(grower: Grower, tmp_path: Path) -> None:
    other = Manager(tmp_path / "other", make_settings(tmp_path / "other", node_name="n9"))
    await other.activate("9")
    Upload(other.context.store, grower.bucket, "n9").run(lambda _done, _all: None)
    grower.bucket.delete("cluster.json")
    with pytest.raises(GrowRefused, match="builds of others"):
        grower.grow()


async def test_a_cluster_that_another_node_has_begun(grower: Grower, tmp_path: Path) -> None:
    other = make_settings(tmp_path / "other", node_name="n9")
    other.manager_state_dir.mkdir(parents=True)
    assert Founding(grower.bucket, other).claim()
    with pytest.raises(GrowRefused, match="another node has begun"):
        grower.grow()


async def test_another_key_is_not_replaced(grower: Grower, tmp_path: Path) -> None:
    other = make_settings(tmp_path / "other", node_name="n9")
    make_secret_store(other, Safe(grower.bucket, "gridiron", other.secrets_dir)).prepare()
    with pytest.raises(ClusterKeyDiffers):
        grower.grow()


async def test_a_damaged_build_is_not_left_behind_unseen(grower: Grower) -> None:
    build = await grower.alone.activate("1")
    (grower.settings.bundles_dir / build.build_id / "metadata.json").write_text("{")
    with pytest.raises(GrowRefused, match=build.build_id):
        grower.grow()
    assert "cluster.json" not in {each.key for each in grower.bucket.list("")}


async def test_nothing_is_brought_while_the_manager_runs(grower: Grower) -> None:
    with lock_directory(grower.settings.manager_state_dir), pytest.raises(DirectoryInUse):
        grower.grow()
    assert grower.bucket.list("") == ()


def test_a_node_without_a_table_stays_alone(grower: Grower) -> None:
    with pytest.raises(NodeAlone):
        grower.grow(cluster=None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cluster": make_table(name="shop")}, "is of a cluster called gridiron, for good"),
        ({"node_name": "n7"}, "under the name n1, and not n7. Set GRIDIRON_NODE_NAME=n1."),
    ],
)
def test_what_cannot_be_changed_of_a_node(grower: Grower, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(GrowRefused) as refused:
        grower.grow(**changes)
    assert said in str(refused.value)
    assert grower.bucket.list("") == ()


def test_a_new_node_does_not_grow(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, node_name="n1", cluster=make_table())
    with pytest.raises(GrowRefused, match="there is no data of a node"):
        grow_node(settings, lambda _text: None, FakeObjects())


@pytest.mark.parametrize(
    ("text", "partitions"), [("default-num-partitions = 4\n", 4), ("", None), ("=", None), (None, None)]
)
def test_how_many_partitions_a_node_has(grower: Grower, text: str | None, partitions: int | None) -> None:
    settings: Settings = grower.settings
    if text is not None:
        (settings.restate_dir / "restate.toml").write_text(text)
    assert fetch_partitions(settings) == partitions


def test_tokens_that_the_cluster_has_stay(grower: Grower, tmp_path: Path) -> None:
    secrets_dir = grower.settings.secrets_dir
    safe = Safe(grower.bucket, "gridiron", secrets_dir)
    early = TokenStore.of_cluster(tmp_path / "n2", safe, "n2")
    early.prepare(NOW - timedelta(days=1))
    grower.grow()
    assert early.refresh()
    assert [token.name for token in early.tokens] == ["admin.n2", "admin.n1"]
