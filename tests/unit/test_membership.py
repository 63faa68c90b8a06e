"""A node of a cluster whose settings have lost the table, and one that was alone and has not grown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gridiron.backup.create import make_backup
from gridiron.backup.restore import restore_backup
from gridiron.bundles.shared import make_cluster
from gridiron.bundles.store import BundleStore
from gridiron.cli.doctor.examine import check_cluster
from gridiron.cli.doctor.finding import Finding, State
from gridiron.cluster import Cluster
from gridiron.errors import BucketUnavailable, ClusterNotGrown, ClusterTableMissing
from gridiron.manager.growing import grow_node
from gridiron.manager.role import run_manager
from gridiron.membership import begin_membership, keep_membership, marked_directories
from gridiron.node import run_node
from gridiron.restate.role import exec_restate
from gridiron.secrets.key import ensure_key
from gridiron.settings import Settings
from gridiron.testing.objects import FakeObjects
from gridiron.toolchain.programs import find_toolchain
from tests.unit.manager.conftest import make_settings

TABLE = Cluster.model_validate(
    {"name": "shop", "address": "10.0.0.1", "peers": ["10.0.0.2"], "bucket": "s3://ours/mesh"}
)


@pytest.fixture
def alone(tmp_path: Path) -> Settings:
    return make_settings(tmp_path, node_name="n1")


@pytest.fixture
def member(tmp_path: Path) -> Settings:
    return make_settings(tmp_path, node_name="n1", cluster=TABLE)


def marked(settings: Settings) -> list[str]:
    """The directories in which the node is marked."""
    return [path.name for path in marked_directories(settings) if (path / "member.json").exists()]


async def start(role: str, settings: Settings) -> None:
    """Have a role start that is refused before it is more than begun."""
    if role == "up":
        await run_node(lambda: settings)
    elif role == "manager":
        await run_manager(lambda: settings)
    else:
        exec_restate(settings, find_toolchain(settings))


@pytest.mark.parametrize(
    ("role", "directory"),
    [("up", "restate"), ("up", "manager"), ("restate", "restate"), ("manager", "manager")],
)
async def test_no_role_starts_without_the_table(
    role: str, directory: str, alone: Settings, member: Settings
) -> None:
    keep_membership(member, alone.data_dir / directory)
    with pytest.raises(ClusterTableMissing) as refused:
        await start(role, alone)
    assert str(refused.value) == (
        "This is a node of the cluster shop with the bucket s3://ours/mesh, as "
        f"{alone.data_dir}/{directory}/member.json says, and its settings have no table [cluster]. Start it "
        "with its configuration (GRIDIRON_CONFIG), or, if it is to be alone from now on, with an empty "
        "data_dir."
    )
    assert [path.name for path in (alone.data_dir / directory).iterdir()] == ["member.json"]


async def test_a_damaged_file_says_that_there_is_a_cluster_too(alone: Settings) -> None:
    alone.restate_dir.mkdir(parents=True)
    (alone.restate_dir / "member.json").write_bytes(b"\xff{")
    with pytest.raises(ClusterTableMissing, match="unknown"):
        await start("restate", alone)


def test_a_new_node_is_marked_before_its_restate_starts(member: Settings) -> None:
    member.restate_dir.mkdir(parents=True)
    (member.restate_dir / "restate.toml").write_text("")
    begin_membership(member)
    assert marked(member) == ["restate"]
    marker = member.restate_dir / "member.json"
    assert marker.read_text() == '{"cluster":"shop","bucket":"s3://ours/mesh"}\n'
    written = marker.stat().st_ino
    begin_membership(member)
    assert marker.stat().st_ino == written
    moved = TABLE.model_copy(update={"bucket": "s3://other"})
    begin_membership(member.model_copy(update={"cluster": moved}))
    assert "s3://other" in marker.read_text()


def test_a_node_alone_is_never_marked(alone: Settings) -> None:
    alone.restate_dir.mkdir(parents=True)
    begin_membership(alone)
    keep_membership(alone, alone.restate_dir)
    assert marked(alone) == []


async def test_a_node_that_has_not_grown_can_go_on_alone(
    alone: Settings, member: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member.restate_dir / "n1").mkdir(parents=True)
    BundleStore(alone.bundles_dir).prepare()
    ensure_key(alone.secrets_dir)
    bucket = FakeObjects()
    monkeypatch.setattr("gridiron.manager.mesh.open_bucket", lambda *_: bucket)
    begin_membership(member)
    with pytest.raises(ClusterNotGrown):
        await start("manager", member)
    assert marked(member) == []


async def test_a_manager_that_finds_its_cluster_marks_the_node(
    member: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member.restate_dir / "n1").mkdir(parents=True)
    bucket = FakeObjects()
    make_cluster(bucket, "0123")
    monkeypatch.setattr("gridiron.manager.mesh.open_bucket", lambda *_: bucket)
    monkeypatch.setattr("gridiron.manager.role.opened_peers", broken_off)
    ensure_key(member.secrets_dir)
    with pytest.raises(BucketUnavailable):
        await start("manager", member)
    assert marked(member) == ["manager"]


def broken_off(*_: object) -> None:
    raise BucketUnavailable("s3://ours/mesh", "enough is seen")


class LastRefused(FakeObjects):
    """A bucket that goes away before it belongs to a cluster."""

    def create(self, key: str, content: bytes) -> str:
        if key == "cluster.json":
            raise BucketUnavailable(self.url, "gone")
        return super().create(key, content)


@pytest.mark.parametrize("is_done", [False, True])
def test_growing_marks_the_node_once_all_is_in_the_bucket(is_done: bool, tmp_path: Path) -> None:
    table = TABLE.model_copy(update={"name": "gridiron"})
    settings = make_settings(tmp_path, node_name="n1", cluster=table)
    (settings.restate_dir / "n1").mkdir(parents=True)
    BundleStore(settings.bundles_dir).prepare()
    ensure_key(settings.secrets_dir)
    with pytest.raises(BucketUnavailable):
        grow_node(settings, lambda _text: None, LastRefused())
    assert marked(settings) == []

    bucket = FakeObjects()
    if is_done:  # and the node was killed right then
        make_cluster(bucket, BundleStore(settings.bundles_dir).fetch_identity())
    assert grow_node(settings, lambda _text: None, bucket).was_done is is_done
    assert marked(settings) == ["restate", "manager"]
    with pytest.raises(ClusterTableMissing):
        grow_node(settings.model_copy(update={"cluster": None}), lambda _text: None, bucket)


def test_it_is_neither_backed_up_nor_restored(alone: Settings, member: Settings, tmp_path: Path) -> None:
    keep_membership(member, alone.manager_state_dir)
    with pytest.raises(ClusterTableMissing):
        make_backup(alone, tmp_path / "backup", lambda *_: None)
    with pytest.raises(ClusterTableMissing):
        restore_backup(alone, io.BytesIO(), "backup", lambda *_: None)


def test_the_doctor_says_so(alone: Settings, member: Settings) -> None:
    assert check_cluster(alone) == Finding("cluster", State.OK, "this node is alone")
    assert check_cluster(member).meaning == "shop with the bucket s3://ours/mesh"
    keep_membership(member, member.restate_dir)
    assert check_cluster(member).state is State.OK
    found = check_cluster(alone)
    assert (found.state, "GRIDIRON_CONFIG" in found.mend) == (State.FAILURE, True)
    assert "node of shop with the bucket s3://ours/mesh" in found.meaning
