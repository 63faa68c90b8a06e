from __future__ import annotations

from pathlib import Path

import pytest

from gridiron.errors import (
    BucketUnavailable,
    ClusterKeyDiffers,
    GridironError,
    ObjectDamaged,
    SecretKeyInvalid,
)
from gridiron.secrets.cluster import COMPARED_FILE, settle_key
from gridiron.secrets.documents import Safe
from gridiron.secrets.key import KEY_FILE, expect_key, fetch_key
from gridiron.testing.objects import FakeObjects
from tests.unit.secrets.nodes import CLUSTER, KEY, make_safe, write_key

OBJECT = "shared/key.json"


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


def names(safe: Safe) -> set[str]:
    return {path.name for path in safe.secrets_dir.iterdir()}


def refusal(safe: Safe, kind: type[GridironError]) -> GridironError:
    with pytest.raises(kind) as caught:
        settle_key(safe)
    return caught.value


def test_the_first_node_makes_the_key_and_others_need_it(tmp_path: Path, bucket: FakeObjects) -> None:
    one = make_safe(tmp_path / "n1", bucket, None)
    for _ in range(2):
        settle_key(one)
    key = fetch_key(one.secrets_dir)
    assert names(one) == {KEY_FILE, COMPARED_FILE}
    two = make_safe(tmp_path / "n2", bucket, None)
    path = str(two.secrets_dir / KEY_FILE)
    assert vars(refusal(two, ClusterKeyDiffers)) == {
        "path": path,
        "cluster": CLUSTER,
        "problem": "it is missing",
    }
    assert names(two) == set()
    write_key(two.secrets_dir, key)
    settle_key(two)
    assert fetch_key(two.secrets_dir) == key


def test_a_key_that_a_node_brings_becomes_the_clusters(tmp_path: Path, bucket: FakeObjects) -> None:
    settle_key(make_safe(tmp_path / "n1", bucket))
    settle_key(make_safe(tmp_path / "n2", bucket))
    other = make_safe(tmp_path / "n3", bucket, b"o" * 32)
    error = refusal(other, ClusterKeyDiffers)
    assert str(error) == (
        f"{other.secrets_dir}/key is not the key of the cluster gridiron: it opens nothing of the cluster's. "
        "Copy that file from a node of the cluster, by a way that nobody else can read."
    )
    assert fetch_key(other.secrets_dir) == b"o" * 32
    assert KEY not in bucket.get(OBJECT, 1000).content


class Race(FakeObjects):
    """A bucket in which another node comes first, right before a node would be the first."""

    def __init__(self, other: Path) -> None:
        super().__init__()
        self._other = other

    def create(self, key: str, content: bytes) -> str:
        other, self._other = self._other, None  # type: ignore[assignment]
        if other is not None:
            settle_key(make_safe(other, self, b"o" * 32))
        return super().create(key, content)


def test_of_two_first_nodes_one_is_the_first(tmp_path: Path) -> None:
    loser = make_safe(tmp_path / "n1", Race(tmp_path / "n2"), None)
    refusal(loser, ClusterKeyDiffers)
    assert names(loser) == set()  # the key that it has made opens nothing
    own = make_safe(tmp_path / "n3", Race(tmp_path / "n4"))
    refusal(own, ClusterKeyDiffers)
    assert fetch_key(own.secrets_dir) == KEY  # what was brought is left alone


def test_without_the_bucket_a_key_that_was_compared_is_good(tmp_path: Path, bucket: FakeObjects) -> None:
    one = make_safe(tmp_path / "n1", bucket)
    settle_key(one)
    bucket.away = True
    settle_key(one)
    fresh = make_safe(tmp_path / "n2", bucket)
    assert "was not compared with the cluster's before" in str(refusal(fresh, BucketUnavailable))
    renamed = Safe(bucket, "other", one.secrets_dir)
    refusal(renamed, BucketUnavailable)
    write_key(one.secrets_dir, b"o" * 32)
    refusal(one, BucketUnavailable)
    (one.secrets_dir / KEY_FILE).unlink()
    refusal(one, BucketUnavailable)
    assert KEY_FILE not in names(one)  # none is made


def test_a_first_start_whose_answer_was_lost_goes_on_with_its_key(
    tmp_path: Path, bucket: FakeObjects
) -> None:
    one = make_safe(tmp_path / "n1", bucket, None)
    bucket.lost = 1
    refusal(one, BucketUnavailable)
    key = fetch_key(one.secrets_dir)
    settle_key(one)
    assert fetch_key(one.secrets_dir) == key


def test_no_key_is_made_where_secrets_wait_for_the_old_one(tmp_path: Path, bucket: FakeObjects) -> None:
    one = make_safe(tmp_path / "n1", bucket, None)
    (one.secrets_dir / "greeter.json").write_text("{}")
    refusal(one, ClusterKeyDiffers)
    assert names(one) == {"greeter.json"}
    assert bucket.list("") == ()


def test_what_is_damaged_is_told_and_left(tmp_path: Path, bucket: FakeObjects) -> None:
    one = make_safe(tmp_path / "n1", bucket)
    bucket.put(OBJECT, b"{}")
    refusal(one, ObjectDamaged)
    assert bucket.get(OBJECT, 10).content == b"{}"
    (one.secrets_dir / KEY_FILE).chmod(0o644)
    refusal(one, SecretKeyInvalid)


def test_who_expects_a_key_makes_none(tmp_path: Path) -> None:
    directory = tmp_path / "data" / "secrets"
    for _ in range(2):
        expect_key(directory)
    assert list(directory.iterdir()) == []
    assert directory.stat().st_mode & 0o777 == 0o700
    write_key(directory, b"short")
    with pytest.raises(SecretKeyInvalid):
        expect_key(directory)
