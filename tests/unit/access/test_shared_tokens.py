from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridiron.access.scopes import Kind, Scope
from gridiron.access.tokens import TokenStore
from gridiron.errors import (
    BucketUnavailable,
    LifetimeInvalid,
    SecretsUnreadable,
    TokenInvalid,
    TokenNotFound,
    TokensUnreadable,
)
from gridiron.testing.objects import FAKE_URL, FakeObjects
from tests.unit.secrets.nodes import make_safe, write_key

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
READ = (Scope(Kind.READ),)
OBJECT = "shared/tokens.json"


class Node:
    """A node of the cluster, as a start of its manager finds it."""

    def __init__(self, directory: Path, bucket: FakeObjects) -> None:
        self.directory = directory
        self.bucket = bucket
        self.safe = make_safe(directory, bucket)
        self.store = self.open()

    def open(self) -> TokenStore:
        return TokenStore.of_cluster(self.directory / "manager", self.safe, self.directory.name)

    def start(self) -> Node:
        self.store = self.open()
        self.store.prepare(NOW)
        return self

    @property
    def admin(self) -> str:
        return self.store.admin_file.read_text().strip()

    def create(self, name: str) -> str:
        return self.store.create(name, READ, None, NOW).text

    def lets_in(self, text: str) -> bool:
        try:
            self.store.check(text, NOW)
        except TokenInvalid:
            return False
        return True

    def names(self) -> list[str]:
        return [token.name for token in self.store.tokens]


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n1", bucket).start()


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n2", bucket).start()


def test_each_node_has_an_admins_token_of_its_own(one: Node, two: Node) -> None:
    assert two.names() == ["admin.n1", "admin.n2"]
    one.store.refresh()
    for node in (one, two):
        assert node.lets_in(one.admin)
        assert node.lets_in(two.admin)
    assert one.admin != two.admin
    before = (one.admin, two.admin)
    assert (one.start().admin, two.start().admin) == before


def test_a_token_is_good_and_revoked_on_all_nodes(one: Node, two: Node) -> None:
    text = one.create("ci")
    assert not two.lets_in(text)
    assert not two.store.knows(text)
    assert two.store.refresh()
    assert two.store.knows(text)
    assert two.lets_in(text)
    token_id = two.store.check(text, NOW).token_id or ""
    assert two.store.revoke(token_id).name == "ci"
    assert not two.lets_in(text)
    assert one.lets_in(text)  # until it looks
    with pytest.raises(TokenNotFound):
        one.store.revoke(token_id)
    one.store.refresh()
    assert not one.lets_in(text)


def test_no_change_undoes_anothers(one: Node, two: Node) -> None:
    texts = [node.create(f"{node.directory.name}-{count}") for count in range(3) for node in (one, two)]
    one.store.refresh()
    two.store.refresh()
    assert all(node.lets_in(text) for text in texts for node in (one, two))
    assert one.names() == two.names()
    made = two.store.check(texts[1], NOW).token_id or ""
    text = one.create("one more")
    two.store.revoke(made)
    one.store.refresh()
    assert one.lets_in(text)
    assert not one.lets_in(texts[1])


def test_what_is_no_new_token_needs_no_look(one: Node) -> None:
    text = one.create("ci")
    other_secret = f"{text[:-1]}{'0' if text[-1] != '0' else '1'}"
    assert [one.store.knows(each) for each in (text, other_secret, "", "x", text.upper())] == [True] * 5
    assert not one.store.knows(f"gridiron_00000000_{'0' * 64}")


def test_a_check_asks_nobody(one: Node, bucket: FakeObjects) -> None:
    text = one.create("ci")
    bucket.requests.clear()
    assert one.lets_in(text)
    assert not one.lets_in(f"gridiron_00000000_{'0' * 64}")
    assert bucket.requests == []
    one.store.refresh()
    assert bucket.requests == [f"get {OBJECT}"]


def test_a_node_whose_admins_file_is_lost_takes_no_others_away(one: Node, two: Node) -> None:
    old = one.admin
    one.store.admin_file.unlink()
    one.start()
    two.store.refresh()
    assert one.names() == ["admin.n2", "admin.n1"]
    assert [two.lets_in(text) for text in (old, one.admin, two.admin)] == [False, True, True]


def test_revoking_a_nodes_admin_takes_its_file_on_that_node_alone(one: Node, two: Node) -> None:
    one.store.refresh()
    ids = {token.name: token.id for token in one.store.tokens}
    one.store.revoke(ids["admin.n2"])
    assert one.store.admin_file.exists()
    one.store.revoke(ids["admin.n1"])
    assert not one.store.admin_file.exists()
    assert two.start().names() == ["admin.n2"]
    assert two.lets_in(two.admin)


def test_without_the_bucket_what_is_known_stays_good(one: Node, two: Node, bucket: FakeObjects) -> None:
    text = two.create("ci")
    one.store.refresh()
    bucket.away = True
    assert not one.store.refresh()
    assert one.lets_in(text)
    names = one.names()
    assert one.start().names() == names
    assert one.lets_in(text)
    assert one.lets_in(one.admin)
    with pytest.raises(BucketUnavailable):
        one.create("another")
    with pytest.raises(BucketUnavailable):
        one.store.revoke(one.store.check(text, NOW).token_id or "")
    assert one.lets_in(text)
    assert one.names() == names


def test_a_start_without_the_bucket_lets_nobody_in_that_it_should_not(
    one: Node, bucket: FakeObjects, tmp_path: Path
) -> None:
    one.store.admin_file.chmod(0o644)  # others may have read it
    bucket.away = True
    for node in (one, Node(tmp_path / "n3", bucket)):
        with pytest.raises(BucketUnavailable):
            node.start()


def test_a_token_whose_making_broke_off_is_nobodys(one: Node, two: Node, bucket: FakeObjects) -> None:
    bucket.lost = 1
    with pytest.raises(BucketUnavailable):
        one.create("ci")
    with pytest.raises(LifetimeInvalid):
        one.store.create("ci", READ, timedelta.max, NOW)
    two.store.refresh()
    assert two.names() == ["admin.n1", "admin.n2", "ci"]  # it can be seen, and revoked


@pytest.mark.parametrize("content", [b"{", b'[{"id": "a", "scopes": ["all"]}]'])
def test_a_damaged_list_changes_nothing_while_a_manager_runs(one: Node, two: Node, content: bytes) -> None:
    text = one.create("ci")
    one.safe.document("tokens.json", one.directory / "copy").change(lambda _: content)
    with pytest.raises(TokensUnreadable, match=f"{FAKE_URL}/{OBJECT} is damaged"):
        one.store.refresh()
    assert one.lets_in(text)
    with pytest.raises(TokensUnreadable):
        two.start()


def test_a_node_with_another_key_lets_nobody_in_anew(one: Node, two: Node) -> None:
    write_key(two.safe.secrets_dir, b"o" * 32)
    one.create("ci")
    with pytest.raises(SecretsUnreadable):
        two.store.refresh()
    assert two.lets_in(two.admin)


def test_a_list_that_was_removed_is_begun_anew_by_a_start(one: Node, two: Node, bucket: FakeObjects) -> None:
    old = two.admin
    bucket.delete(OBJECT)
    one.store.refresh()
    assert one.names() == []
    assert two.start().names() == ["admin.n2"]
    assert not two.lets_in(old)
