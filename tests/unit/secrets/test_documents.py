from __future__ import annotations

from pathlib import Path

import pytest

from gridiron.errors import (
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    SecretsUnreadable,
    StorageFailed,
)
from gridiron.secrets.documents import ATTEMPTS, FileDocument, Reading, Safe, SharedDocument
from gridiron.secrets.key import KEY_FILE
from gridiron.testing.objects import FAKE_URL, FakeObjects
from tests.unit.secrets.nodes import make_safe, write_key

OBJECT = "shared/list.json"


class Node:
    """A node with a document."""

    def __init__(self, directory: Path, bucket: FakeObjects) -> None:
        self.bucket = bucket
        self.safe = make_safe(directory, bucket)
        self.copy = directory / "list.copy"
        self.document = self.restart()

    def restart(self) -> SharedDocument:
        self.document = self.safe.document("list.json", self.copy)
        return self.document

    def add(self, word: bytes) -> bytes:
        return self.document.change(lambda content: (content or b"") + word)


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n1", bucket)


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n2", bucket)


# -- one truth -------------------------------------------------------------------------------------------


def test_what_one_node_changes_every_node_reads(one: Node, two: Node) -> None:
    assert one.document.read() == Reading(None)
    assert one.add(b"a") == b"a"
    assert two.document.read() == Reading(b"a")
    assert two.add(b"b") == b"ab"
    assert one.document.read() == Reading(b"ab")
    assert one.document.place == f"{FAKE_URL}/{OBJECT}"


def test_a_change_is_made_to_what_there_is_and_not_to_what_was_known(one: Node, two: Node) -> None:
    one.add(b"a")
    two.add(b"b")
    assert one.add(b"c") == b"abc"


@pytest.mark.parametrize("there_before", [b"", b"0"])
def test_a_change_beside_another_is_planned_anew(one: Node, two: Node, there_before: bytes) -> None:
    if there_before:
        one.add(there_before)
    asked = []

    def plan(content: bytes | None) -> bytes:
        asked.append(content)
        if len(asked) == 1:
            two.add(b"a")
        return (content or b"") + b"b"

    assert one.document.change(plan) == there_before + b"ab"
    assert asked == [there_before or None, there_before + b"a"]
    assert two.document.read() == Reading(there_before + b"ab")


def test_a_change_that_others_always_come_before_is_given_up(one: Node, two: Node) -> None:
    asked = []

    def plan(_content: bytes | None) -> bytes:
        asked.append(two.add(b"a"))
        return b"never"

    with pytest.raises(ObjectChanged) as caught:
        one.document.change(plan)
    assert vars(caught.value) == {"bucket": FAKE_URL, "key": OBJECT}
    assert len(asked) == ATTEMPTS
    assert one.document.read() == Reading(b"a" * ATTEMPTS)


def test_a_change_that_changes_nothing_writes_nothing(one: Node, bucket: FakeObjects) -> None:
    one.add(b"a")
    bucket.requests.clear()
    assert one.document.change(lambda content: content or b"") == b"a"
    assert bucket.requests == [f"get {OBJECT}"]


def test_what_a_plan_raises_changes_nothing(one: Node, two: Node) -> None:
    one.add(b"a")

    def refuse(_content: bytes | None) -> bytes:
        raise StorageFailed("Planning", "it", "no")

    with pytest.raises(StorageFailed):
        one.document.change(refuse)
    assert two.document.read() == Reading(b"a")


# -- what is stored --------------------------------------------------------------------------------------


def test_neither_the_bucket_nor_the_copy_shows_the_content(one: Node, bucket: FakeObjects) -> None:
    one.add(b"hunter2")
    stored = bucket.get(OBJECT, 10_000).content
    assert b"hunter2" not in stored
    assert one.copy.read_bytes() == stored
    assert one.copy.stat().st_mode & 0o777 == 0o600


def test_an_object_opens_with_its_key_in_its_place_only(
    tmp_path: Path, one: Node, two: Node, bucket: FakeObjects
) -> None:
    one.add(b"a")
    bucket.put("shared/other.json", bucket.get(OBJECT, 10_000).content)
    write_key(two.safe.secrets_dir, b"o" * 32)
    other_cluster = Safe(bucket, "other", one.safe.secrets_dir)
    for document in (
        one.safe.document("other.json", tmp_path / "other"),
        two.document,
        other_cluster.document("list.json", tmp_path / "other"),
    ):
        with pytest.raises(SecretsUnreadable) as caught:
            document.read()
        assert caught.value.owner == document.place


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"sealed": 1}', b'{"sealed": "?"}', b'{"a": ""}'])
def test_an_object_that_holds_nothing_sealed_is_damaged(
    one: Node, bucket: FakeObjects, content: bytes
) -> None:
    bucket.put(OBJECT, content)
    for use in (one.document.read, lambda: one.add(b"a")):
        with pytest.raises(ObjectDamaged, match=OBJECT):
            use()
    assert bucket.get(OBJECT, 100).content == content


# -- without the bucket ----------------------------------------------------------------------------------


def test_without_the_bucket_a_node_reads_what_it_had(one: Node, two: Node, bucket: FakeObjects) -> None:
    one.add(b"a")
    bucket.away = True
    assert one.restart().read() == Reading(b"a", fresh=False)
    with pytest.raises(BucketUnavailable):
        one.add(b"b")
    with pytest.raises(BucketUnavailable):
        two.document.read()
    bucket.away = False
    two.add(b"b")
    assert one.document.read() == Reading(b"ab")
    bucket.away = True
    assert one.document.read() == Reading(b"ab", fresh=False)


def test_a_copy_that_does_not_open_is_none(one: Node, bucket: FakeObjects) -> None:
    one.add(b"a")
    bucket.away = True
    write_key(one.safe.secrets_dir, b"o" * 32)
    with pytest.raises(BucketUnavailable):
        one.restart().read()
    (one.safe.secrets_dir / KEY_FILE).unlink()
    with pytest.raises(BucketUnavailable):
        one.restart().read()


def test_a_document_that_was_removed_does_not_come_back_by_a_copy(one: Node, bucket: FakeObjects) -> None:
    one.add(b"a")
    bucket.delete(OBJECT)
    assert one.document.read() == Reading(None)
    assert not one.copy.exists()
    bucket.away = True
    with pytest.raises(BucketUnavailable):
        one.document.read()


def test_a_change_whose_answer_was_lost_may_have_been_made(one: Node, two: Node, bucket: FakeObjects) -> None:
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.add(b"a")
    assert two.document.read() == Reading(b"a")


def test_a_disk_that_takes_no_copy_keeps_nobody_from_the_bucket(one: Node, two: Node) -> None:
    one.copy.mkdir()
    assert one.add(b"a") == b"a"
    two.add(b"b")
    assert one.document.read() == Reading(b"ab")
    one.copy.rmdir()
    assert one.document.read() == Reading(b"ab")
    one.bucket.away = True
    assert one.restart().read() == Reading(b"ab", fresh=False)


# -- a node alone ----------------------------------------------------------------------------------------


def test_a_file_is_what_was_read_or_written_last(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    document = FileDocument(path)
    assert (document.place, document.read()) == (str(path), Reading(None))
    assert document.change(lambda content: (content or b"") + b"a") == b"a"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"by hand")
    assert document.change(lambda content: (content or b"") + b"b") == b"ab"
    assert FileDocument(path).read() == Reading(b"ab")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.mkdir()
    document = FileDocument(path)
    with pytest.raises(StorageFailed, match="Reading"):
        document.read()
    with pytest.raises(StorageFailed, match="Writing"):
        document.change(lambda _: b"a")
