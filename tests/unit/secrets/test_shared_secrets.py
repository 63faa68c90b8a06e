from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gridiron.errors import (
    BucketUnavailable,
    ClusterKeyDiffers,
    NameInvalid,
    ObjectChanged,
    SecretsUnreadable,
)
from gridiron.secrets.keep import SharedKeep
from gridiron.secrets.key import KEY_FILE
from gridiron.secrets.store import Secret, SecretStore
from gridiron.testing.objects import FAKE_URL, FakeObjects
from tests.unit.secrets.nodes import make_safe

NOW = datetime(2026, 11, 1, 12, 30, 1, 123456, tzinfo=UTC)
A, B, C = ({key: Secret(f"hunter2 {key}", NOW)} for key in "ABC")
OBJECT = "shared/secrets/greeter.json"


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


def make_store(directory: Path, bucket: FakeObjects) -> SecretStore:
    safe = make_safe(directory, bucket)
    store = SecretStore(safe.secrets_dir, SharedKeep(safe))
    store.prepare()
    return store


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> SecretStore:
    return make_store(tmp_path / "n1", bucket)


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> SecretStore:
    return make_store(tmp_path / "n2", bucket)


def test_what_one_node_keeps_every_node_has(one: SecretStore, two: SecretStore, tmp_path: Path) -> None:
    assert (two.fetch("greeter"), two.fetch_times("greeter")) == ({}, {})
    one.replace("greeter", {**A, **B}, {})
    assert two.fetch("greeter") == {**A, **B}
    assert two.fetch_times("greeter") == {"A": NOW, "B": NOW}
    two.replace("greeter", B, {**A, **B})
    assert one.fetch("greeter") == B
    two.replace("greeter", {}, B)
    assert one.fetch("greeter") == {}
    two.replace("greeter", A, {})
    assert one.fetch("greeter") == A
    assert not (tmp_path / "n1" / "secrets" / "greeter.json").exists()


def test_a_snapshot_of_one_node_opens_on_another(one: SecretStore, two: SecretStore) -> None:
    snapshot = one.snapshot("greeter-1-1", "greeter", A)
    assert snapshot.sealed is not None
    two.check_snapshot("greeter-1-1", snapshot.sealed)
    assert two.fetch_tag("greeter", A) == snapshot.tag


def test_the_bucket_shows_names_and_times_and_no_values(one: SecretStore, bucket: FakeObjects) -> None:
    one.replace("greeter", A, {})
    stored = bucket.get(OBJECT, 1000).content
    assert {key: each["set_at"] for key, each in json.loads(stored).items()} == {
        "A": "2026-11-01T12:30:01.123456Z"
    }
    assert b"hunter2" not in stored


def test_what_another_node_has_set_meanwhile_is_not_lost(one: SecretStore, two: SecretStore) -> None:
    one.replace("greeter", A, {})
    two.replace("greeter", {**A, **B}, A)
    for before in (A, {}):
        with pytest.raises(ObjectChanged) as caught:
            one.replace("greeter", {**A, **C}, before)
        assert vars(caught.value) == {"bucket": FAKE_URL, "key": OBJECT}
    with pytest.raises(ObjectChanged):
        one.replace("greeter", {}, A)
    assert one.fetch("greeter") == {**A, **B}


def test_the_same_value_set_at_another_time_is_another_change(one: SecretStore, two: SecretStore) -> None:
    later = {"A": Secret(A["A"].value, NOW.replace(year=2027))}
    one.replace("greeter", later, {})
    with pytest.raises(ObjectChanged):
        two.replace("greeter", B, A)
    assert one.fetch("greeter") == later


def test_a_change_can_be_repeated_and_taken_back(one: SecretStore, bucket: FakeObjects) -> None:
    one.replace("greeter", A, {})
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.replace("greeter", B, A)
    assert one.fetch("greeter") == B
    one.replace("greeter", B, A)  # it was made: again
    one.replace("greeter", A, B)  # … or taken back
    one.replace("greeter", A, B)
    assert one.fetch("greeter") == A


class Race(FakeObjects):
    """A bucket in which another node writes right before a node does."""

    def create(self, key: str, content: bytes) -> str:
        if key == OBJECT:
            super().create(key, b"{}\n")
        return super().create(key, content)

    def replace(self, key: str, content: bytes, etag: str) -> str:
        super().put(key, b'{"OTHER": "first"}')
        return super().replace(key, content, etag)


def test_a_change_in_the_same_moment_is_not_lost_either(tmp_path: Path) -> None:
    bucket = Race()
    one = make_store(tmp_path / "n1", bucket)
    with pytest.raises(ObjectChanged):
        one.replace("greeter", A, {})
    assert bucket.get(OBJECT, 100).content == b"{}\n"
    with pytest.raises(ObjectChanged):
        one.replace("greeter", A, {})
    assert bucket.get(OBJECT, 100).content == b'{"OTHER": "first"}'


def test_nothing_is_told_without_the_bucket(one: SecretStore, bucket: FakeObjects) -> None:
    one.replace("greeter", A, {})
    bucket.away = True
    for use in (
        lambda: one.fetch("greeter"),
        lambda: one.fetch_times("greeter"),
        lambda: one.replace("greeter", B, A),
    ):
        with pytest.raises(BucketUnavailable):
            use()
    one.prepare()  # as a start does


def test_a_damaged_object_is_told_and_left(one: SecretStore, bucket: FakeObjects) -> None:
    bucket.put(OBJECT, b"[]")
    for use in (
        lambda: one.fetch("greeter"),
        lambda: one.fetch_times("greeter"),
        lambda: one.replace("greeter", A, {}),
    ):
        with pytest.raises(SecretsUnreadable) as caught:
            use()
        assert caught.value.reason == f"{FAKE_URL}/{OBJECT} is damaged"
    assert bucket.get(OBJECT, 100).content == b"[]"


def test_a_node_without_the_key_does_not_start(one: SecretStore, tmp_path: Path, bucket: FakeObjects) -> None:
    one.replace("greeter", A, {})
    safe = make_safe(tmp_path / "n3", bucket, None)
    with pytest.raises(ClusterKeyDiffers):
        SecretStore(safe.secrets_dir, SharedKeep(safe)).prepare()
    assert not (safe.secrets_dir / KEY_FILE).exists()


@pytest.mark.parametrize("name", ["../x", "", "KEY", "a/b", "a\0"])
def test_a_name_leads_nowhere_else(one: SecretStore, name: str) -> None:
    for use in (
        lambda: one.fetch(name),
        lambda: one.fetch_times(name),
        lambda: one.replace(name, A, {}),
    ):
        with pytest.raises(NameInvalid):
            use()
