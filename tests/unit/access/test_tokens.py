from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.access.scopes import Kind, Scope
from gridiron.access.tokens import Made, TokenStore, find_id, parse_lifetime
from gridiron.errors import (
    LifetimeInvalid,
    StorageFailed,
    TokenExpired,
    TokenInvalid,
    TokenNotFound,
    TokensUnreadable,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
READ = (Scope(Kind.READ),)


def open_store(directory: Path, now: datetime = NOW) -> TokenStore:
    store = TokenStore(directory)
    store.prepare(now)
    return store


def admin_text(store: TokenStore) -> str:
    return store.admin_file.read_text().strip()


def is_good(store: TokenStore, text: str) -> bool:
    try:
        store.check(text, NOW)
    except TokenInvalid:
        return False
    return True


def test_a_token_is_good_until_it_is_revoked(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = store.create("ci", (Scope(Kind.DEPLOY, "shop-*"), *READ), None, NOW)
    caller = store.check(made.text, NOW)
    assert (caller.token_id, caller.name, caller.scopes) == (
        made.token.id,
        "ci",
        (Scope(Kind.DEPLOY, "shop-*"), *READ),
    )
    assert store.revoke(made.token.id) == made.token
    assert not is_good(store, made.text)
    assert not is_good(open_store(tmp_path), made.text)
    with pytest.raises(TokenNotFound):
        store.revoke(made.token.id)


def test_a_token_is_good_until_it_expires_and_after_a_restart(tmp_path: Path) -> None:
    made = open_store(tmp_path).create("ci", READ, timedelta(hours=1), NOW)
    store = open_store(tmp_path)
    assert store.check(made.text, NOW + timedelta(minutes=59)).name == "ci"
    with pytest.raises(TokenExpired, match="2026-11-01 13:00:00 UTC"):
        store.check(made.text, NOW + timedelta(hours=1))


def test_what_is_kept_does_not_open_anything(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    made = store.create("ci", READ, None, NOW)
    kept = (tmp_path / "tokens.json").read_text()
    secret = made.text.rsplit("_", 1)[1]
    assert secret not in kept
    assert secret not in repr(made)
    assert made.token.sha256 not in repr(made)
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600
    assert store.admin_file.stat().st_mode & 0o777 == 0o600
    assert not is_good(store, made.token.sha256)
    assert not is_good(store, f"gridiron_{made.token.id}_{made.token.sha256}")


@given(st.text(max_size=100))
def test_no_other_text_is_a_token(text: str) -> None:
    assert find_id(text) is None
    assert not is_good(TokenStore(Path("/nowhere")), text)


def test_a_token_is_not_good_with_anothers_secret(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    one, other = (store.create(name, READ, None, NOW) for name in ("one", "other"))
    assert not is_good(store, f"gridiron_{one.token.id}_{other.text.rsplit('_', 1)[1]}")
    assert not is_good(store, one.text.upper())
    assert not is_good(store, f"{one.text} ")


def test_a_start_leaves_a_good_admins_token_alone(tmp_path: Path) -> None:
    first = admin_text(open_store(tmp_path))
    store = open_store(tmp_path)
    assert admin_text(store) == first
    assert store.check(first, NOW).is_admin
    assert len(store.tokens) == 1


def revoke_admin(store: TokenStore, _made: Made) -> None:
    store.revoke(store.check(admin_text(store), NOW).token_id or "")
    assert not store.admin_file.exists()


def lose_file(store: TokenStore, _made: Made) -> None:
    store.admin_file.unlink()


def open_file(store: TokenStore, _made: Made) -> None:
    store.admin_file.chmod(0o644)


def demote(store: TokenStore, made: Made) -> None:
    store.admin_file.write_text(made.text)


@pytest.mark.parametrize("lose", [revoke_admin, lose_file, open_file, demote])
def test_who_has_the_machine_gets_in_again_by_a_restart(tmp_path: Path, lose: object) -> None:
    store = open_store(tmp_path)
    old = admin_text(store)
    made = store.create("ci", READ, None, NOW)
    lose(store, made)  # type: ignore[operator]
    again = open_store(tmp_path)
    assert again.check(admin_text(again), NOW).is_admin
    assert again.check(made.text, NOW).name == "ci"
    assert not is_good(again, old)
    assert [token.name for token in again.tokens] == ["ci", "admin.token"]


def test_a_group_may_read_the_admins_token(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    old = admin_text(store)
    store.admin_file.chmod(0o640)
    assert admin_text(open_store(tmp_path)) == old


@pytest.mark.parametrize("content", ["", "{", "[{}]", '[{"id": "a", "scopes": ["all"]}]'])
def test_a_damaged_file_lets_nobody_in(tmp_path: Path, content: str) -> None:
    open_store(tmp_path)
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(TokensUnreadable):
        open_store(tmp_path)


def test_what_cannot_be_kept_is_not_good(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    store = open_store(directory)
    admin = admin_text(store)
    directory.rename(tmp_path / "away")
    directory.write_text("")
    with pytest.raises(StorageFailed):
        store.create("ci", READ, None, NOW)
    with pytest.raises(StorageFailed):
        store.revoke(store.tokens[0].id)
    assert [token.name for token in store.tokens] == ["admin.token"]
    assert is_good(store, admin)


@pytest.mark.parametrize(("text", "minutes"), [("15m", 15), ("12h", 720), ("30d", 43_200)])
def test_a_lifetime_is_read(text: str, minutes: int) -> None:
    assert parse_lifetime(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1.5h", "30", "30 d", "d", "1w", "100000d", "1d\n"])
def test_what_is_no_lifetime_is_refused(text: str) -> None:
    with pytest.raises(LifetimeInvalid):
        parse_lifetime(text)
