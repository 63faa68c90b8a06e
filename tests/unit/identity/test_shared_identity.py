"""The keys of nodes of one cluster. Restate does not run: `take_up` is a start of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gridiron.errors import BucketUnavailable, ClusterKeyDiffers, IdentityGiven, KeyInvalid
from gridiron.identity.shared import SharedKey
from gridiron.identity.store import SETTLE, IdentityStore
from gridiron.secrets.key import KEY_FILE
from gridiron.testing.objects import FakeObjects
from tests.unit.secrets.nodes import KEY, make_safe, write_key

OBJECT = "shared/identity.json"


class Node:
    def __init__(self, directory: Path, bucket: FakeObjects, key: bytes | None = KEY) -> None:
        self.directory = directory
        self.safe = make_safe(directory, bucket, key)
        self.waited: list[float] = []
        identity = directory / "identity"
        self.store = IdentityStore(identity, wait=self.waited.append, shared=SharedKey(self.safe, identity))

    def start(self) -> str:
        """Start Restate; give the key that it signs with, which is the only one that is accepted."""
        self.store.take_up()
        identity = self.store.fetch()
        assert identity.signing is not None
        assert identity.is_settled_on(identity.signing)
        return identity.signing

    @property
    def accepted(self) -> list[str]:
        return [key.kid for key in self.store.fetch().accepted]


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n1", bucket)


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n2", bucket)


def test_all_nodes_sign_with_the_key_of_the_first(one: Node, two: Node, bucket: FakeObjects) -> None:
    kid = one.start()
    assert two.start() == kid
    assert (one.start(), two.start()) == (kid, kid)
    assert two.store.signing_key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in bucket.get(OBJECT, 10_000).content
    assert two.waited == []  # its cells went by nothing before


def test_a_key_that_a_node_has_becomes_the_clusters(one: Node, two: Node) -> None:
    alone = IdentityStore(one.directory / "identity")
    alone.take_up()
    kid = alone.fetch().signing
    assert (one.start(), two.start()) == (kid, kid)


def test_a_node_that_had_another_key_changes_when_restate_starts(one: Node, two: Node) -> None:
    IdentityStore(two.directory / "identity").take_up()
    kid = one.start()
    assert two.start() == kid
    assert two.waited == [SETTLE.total_seconds()]


def test_the_first_node_of_all_makes_the_key_of_the_cluster_too(tmp_path: Path, bucket: FakeObjects) -> None:
    first = Node(tmp_path / "n1", bucket, None)
    kid = first.start()
    key = (first.safe.secrets_dir / KEY_FILE).read_bytes()
    assert Node(tmp_path / "n2", bucket, key).start() == kid


def test_a_rotation_goes_from_node_to_node(one: Node, two: Node) -> None:
    old = one.start()
    assert two.start() == old
    new = one.store.prepare_next()
    assert one.accepted == [old, new]
    assert one.store.prepare_next() == new  # again
    assert (one.start(), two.accepted) == (new, [old])
    assert two.store.prepare_next() == new
    assert two.accepted == [old, new]
    assert (two.start(), one.start()) == (new, new)
    assert one.store.prepare_next() not in {old, new}


def test_a_node_that_was_down_during_a_rotation_takes_the_key_up_when_it_starts(one: Node, two: Node) -> None:
    assert one.start() == two.start()
    new = one.store.prepare_next()
    assert (one.start(), two.start()) == (new, new)


def test_a_rotation_that_broke_off_goes_on(one: Node, two: Node, bucket: FakeObjects) -> None:
    old = one.start()
    two.start()
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.store.prepare_next()
    assert (one.accepted, one.store.fetch().following) == ([old], None)
    assert one.store.prepare_next() == two.store.prepare_next() != old


def test_without_the_bucket_restate_starts_with_what_is_there(
    one: Node, two: Node, bucket: FakeObjects
) -> None:
    kid = one.start()
    bucket.away = True
    with capture_logs() as logs:
        assert one.start() == kid
        own = two.start()
    told = [each["code"] for each in logs if each["event"] == "identity.not_shared"]
    assert told == ["bucket_unavailable"] * 2
    assert own != kid
    with pytest.raises(BucketUnavailable):
        one.store.prepare_next()
    assert (one.accepted, one.store.fetch().following) == ([kid], None)
    bucket.away = False
    assert two.start() == kid


def test_a_node_with_another_key_of_secrets_shares_nothing(one: Node, two: Node, bucket: FakeObjects) -> None:
    write_key(two.safe.secrets_dir, b"o" * 32)
    kid = one.start()
    stored = bucket.get(OBJECT, 10_000)
    with capture_logs() as logs:
        own = two.start()
    assert [each["code"] for each in logs if "code" in each] == ["cluster_key_differs"]
    assert own != kid
    with pytest.raises(ClusterKeyDiffers):
        two.store.prepare_next()
    assert bucket.get(OBJECT, 10_000) == stored
    assert two.accepted == [own]


def test_such_a_node_is_not_the_first_either(one: Node, two: Node, bucket: FakeObjects) -> None:
    one.start()
    bucket.delete(OBJECT)
    write_key(two.safe.secrets_dir, b"o" * 32)
    two.start()
    assert [each.key for each in bucket.list("shared")] == ["shared/key.json"]


def test_what_is_no_key_is_told_and_left(one: Node) -> None:
    kid = one.start()
    document = one.safe.document("identity.json", one.directory / "copy")
    document.change(lambda _: b"no key")
    with capture_logs() as logs:
        assert one.start() == kid
    assert [each["code"] for each in logs if "code" in each] == ["key_invalid"]
    with pytest.raises(KeyInvalid, match=OBJECT):
        one.store.prepare_next()
    assert document.read().content == b"no key"


def test_a_key_that_was_given_is_nobody_elses(one: Node, bucket: FakeObjects, tmp_path: Path) -> None:
    kid = one.start()
    given = tmp_path / "given.pem"
    given.write_bytes(one.store.signing_key.read_bytes())
    given.chmod(0o600)
    store = IdentityStore(tmp_path / "n3", given)
    bucket.requests.clear()
    store.take_up()
    assert store.fetch().signing == kid
    with pytest.raises(IdentityGiven):
        store.prepare_next()
    assert bucket.requests == []
