from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridiron.errors import NameInvalid, SecretKeyInvalid, SecretsUnreadable, StorageFailed
from gridiron.secrets.key import KEY_FILE, KEY_SIZE, fetch_key
from gridiron.secrets.seal import snapshot_of, unseal
from gridiron.secrets.store import NO_SECRETS, Secret, SecretStore

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
BOTH = {"API_KEY": Secret("hunter2 ü\n", NOW), "B": Secret("b", LATER)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


@pytest.fixture
def store(directory: Path) -> SecretStore:
    store = SecretStore(directory)
    store.prepare()
    return store


def test_what_is_kept_comes_back(store: SecretStore, directory: Path) -> None:
    assert (store.fetch("greeter"), store.fetch_times("greeter")) == ({}, {})
    store.replace("greeter", BOTH, {})
    store.replace("counter", {"B": Secret("other", NOW)}, {})
    again = SecretStore(directory)
    assert again.fetch("greeter") == BOTH
    assert again.fetch_times("greeter") == {"API_KEY": NOW, "B": LATER}
    assert again.fetch("counter") == {"B": Secret("other", NOW)}
    store.replace("greeter", {"B": BOTH["B"]}, BOTH)
    assert again.fetch("greeter") == {"B": BOTH["B"]}


def test_a_name_with_no_secrets_has_no_file(store: SecretStore, directory: Path) -> None:
    store.replace("greeter", BOTH, {})
    for _ in range(2):
        store.replace("greeter", {}, BOTH)
    assert [path.name for path in directory.iterdir()] == [KEY_FILE]


def test_the_file_shows_names_and_times_and_no_values(store: SecretStore, directory: Path) -> None:
    store.replace("greeter", BOTH, {})
    path = directory / "greeter.json"
    assert path.stat().st_mode & 0o777 == 0o600
    content = json.loads(path.read_text())
    assert {key: (sorted(kept), kept["set_at"]) for key, kept in content.items()} == {
        "API_KEY": (["sealed", "set_at"], "2026-11-01T12:00:00Z"),
        "B": (["sealed", "set_at"], "2026-11-02T12:00:00Z"),
    }
    assert "hunter2" not in path.read_text()
    assert "hunter2" not in repr(BOTH)


def swap(path: Path) -> None:
    content = json.loads(path.read_text())
    content["API_KEY"], content["B"] = content["B"], content["API_KEY"]
    path.write_text(json.dumps(content))


def change(path: Path) -> None:
    content = json.loads(path.read_text())
    content["B"]["sealed"] = content["B"]["sealed"][:-8] + "AAAAAAA="
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("spoil", [swap, change])
def test_what_was_changed_does_not_open(
    store: SecretStore, directory: Path, spoil: Callable[[Path], None]
) -> None:
    store.replace("greeter", BOTH, {})
    spoil(directory / "greeter.json")
    with pytest.raises(SecretsUnreadable) as caught:
        store.fetch("greeter")
    assert vars(caught.value) == {"owner": "greeter", "reason": "they do not open with this node's key"}


def test_the_file_of_one_name_does_not_open_for_another(store: SecretStore, directory: Path) -> None:
    store.replace("greeter", BOTH, {})
    (directory / "greeter.json").rename(directory / "counter.json")
    with pytest.raises(SecretsUnreadable):
        store.fetch("counter")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"A": 1}', b'{"A": {"set_at": "x", "sealed": ""}}'])
def test_a_damaged_file_is_told(store: SecretStore, directory: Path, content: bytes) -> None:
    (directory / "greeter.json").write_bytes(content)
    for read in (store.fetch, store.fetch_times):
        with pytest.raises(SecretsUnreadable) as caught:
            read("greeter")
        assert caught.value.reason == f"{directory}/greeter.json is damaged"


def test_a_lost_key_is_told_and_helps_at_once_when_restored(store: SecretStore, directory: Path) -> None:
    store.replace("greeter", BOTH, {})
    path = directory / KEY_FILE
    key = path.read_bytes()
    path.unlink()
    store.prepare()  # as a start does
    assert store.fetch_times("greeter") == {"API_KEY": NOW, "B": LATER}
    reason = f"the node's key, {path}, cannot be read (No such file or directory)"
    for need in (
        lambda: store.fetch("greeter"),
        lambda: store.replace("greeter", {}, BOTH),
        lambda: store.fetch_tag("greeter", BOTH),
        lambda: store.snapshot("greeter-1-1", "greeter", BOTH),
    ):
        with pytest.raises(SecretsUnreadable) as caught:
            need()
        assert caught.value.reason == reason
    path.write_bytes(secrets.token_bytes(KEY_SIZE))
    path.chmod(0o600)
    with pytest.raises(SecretsUnreadable):
        store.fetch("greeter")
    path.write_bytes(key)
    assert store.fetch("greeter") == BOTH
    path.chmod(0o644)
    with pytest.raises(SecretKeyInvalid):
        store.fetch("greeter")


def test_a_snapshot_is_of_one_build(store: SecretStore, directory: Path) -> None:
    snapshot = store.snapshot("greeter-1-1", "greeter", BOTH)
    assert (snapshot.keys, snapshot.tag) == (("API_KEY", "B"), store.fetch_tag("greeter", BOTH))
    assert snapshot.sealed is not None
    content = unseal(fetch_key(directory), snapshot_of("greeter-1-1"), snapshot.sealed, "")
    assert json.loads(content) == {"API_KEY": "hunter2 ü\n", "B": "b"}
    store.check_snapshot("greeter-1-1", snapshot.sealed)
    with pytest.raises(SecretsUnreadable):
        store.check_snapshot("greeter-1-2", snapshot.sealed)


def test_times_make_no_other_tag(store: SecretStore) -> None:
    at_once = {key: Secret(secret.value, NOW) for key, secret in BOTH.items()}
    assert store.fetch_tag("greeter", at_once) == store.fetch_tag("greeter", BOTH)


def test_no_secrets_make_no_snapshot(store: SecretStore, directory: Path) -> None:
    (directory / KEY_FILE).unlink()
    assert store.snapshot("greeter-1-1", "greeter", {}) == NO_SECRETS
    assert store.fetch_tag("greeter", {}) is None


@pytest.mark.parametrize("name", ["../x", "", "KEY", "a/b", "a\0"])
def test_a_name_leads_nowhere_else(store: SecretStore, name: str) -> None:
    for read in (store.fetch, store.fetch_times):
        with pytest.raises(NameInvalid):
            read(name)


def test_a_disk_that_refuses_leaves_what_was_there(store: SecretStore, directory: Path) -> None:
    store.replace("greeter", {"B": BOTH["B"]}, BOTH)
    (directory / "counter.json").mkdir()
    with pytest.raises(StorageFailed, match=r"Writing .*counter\.json failed"):
        store.replace("counter", BOTH, {})
    with pytest.raises(StorageFailed, match=r"Reading .*counter\.json failed"):
        store.fetch("counter")
    assert store.fetch("greeter") == {"B": BOTH["B"]}
