from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from gridiron.access.note import Note, fetch_note, leave_note, take_note_back
from gridiron.cli.credentials import Readers, Way, find_way, is_local
from gridiron.cli.listeners import parse_ends, parse_listeners
from gridiron.errors import TokenNotSent, TokenUnusable
from gridiron.settings import Settings, load_settings, user_data_dir, variable_name


def token(letter: str) -> str:
    return f"gridiron_{letter * 8}_{letter * 64}"


ADMIN, GIVEN, OTHER = token("a"), token("b"), token("c")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        *map(variable_name, Settings.model_fields),
        "GRIDIRON_CONFIG",
        "GRIDIRON_TOKEN",
        "GRIDIRON_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def write_token(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return path


def way(url: str, token: str, file: Path) -> Way:
    """Say how the owner of a token's file gets in by it."""
    return Way(url, token, readers=Readers(str(file), frozenset({os.geteuid(), 0})))


def find(*, named: bool = False, **flags: object) -> Way:
    return find_way(load_settings(**flags), named=named)


def test_the_admins_token_is_found_in_the_data_directory(tmp_path: Path) -> None:
    assert find(data_dir=tmp_path / "d") == Way("http://localhost:8081")
    file = write_token(tmp_path / "d/manager/admin.token", ADMIN)
    assert find(data_dir=tmp_path / "d") == way("http://localhost:8081", ADMIN, file)


def test_a_note_says_where_the_token_of_a_port_is(tmp_path: Path) -> None:
    other = write_token(
        tmp_path / "home/gridiron/data/manager/admin.token", OTHER
    )  # of the node without an offset
    file = write_token(tmp_path / "else/admin.token", ADMIN)
    leave_note(user_data_dir(), 8181, Note(url="http://localhost:8181", token_file=file, certificate=None))
    assert find(port_offset=100) == way("http://localhost:8181", ADMIN, file)
    assert find(manager_url="http://127.0.0.1:8181", named=True) == way("http://127.0.0.1:8181", ADMIN, file)
    assert find() == way("http://localhost:8081", OTHER, other)
    file.unlink()
    assert find(port_offset=100).token == OTHER  # the note is of a node that is gone


def test_a_note_is_taken_back_by_who_left_it(tmp_path: Path) -> None:
    mine, other = (
        Note(url="http://localhost:1", token_file=tmp_path / name, certificate=None) for name in "ab"
    )
    leave_note(tmp_path, 1, mine)
    take_note_back(tmp_path, 1, other)
    assert fetch_note(tmp_path, 1) == mine
    take_note_back(tmp_path, 1, mine)
    assert fetch_note(tmp_path, 1) is None
    (tmp_path / "nodes/1").write_text("{")
    assert fetch_note(tmp_path, 1) is None
    leave_note(Path("/proc/nowhere"), 1, mine)  # is no failure


def test_no_token_of_this_machine_leaves_it(tmp_path: Path) -> None:
    write_token(tmp_path / "home/gridiron/data/manager/admin.token", ADMIN)
    assert find(manager_url="https://node.example", named=True) == Way("https://node.example")
    assert find(manager_url="http://localhost.example", named=True).token is None


def test_a_token_that_is_given_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_token(tmp_path / "home/gridiron/data/manager/admin.token", ADMIN)
    monkeypatch.setenv("GRIDIRON_TOKEN_FILE", str(write_token(tmp_path / "ci.token", GIVEN)))
    assert find().token == GIVEN
    assert find(manager_url="https://node.example", named=True) == Way("https://node.example", GIVEN)
    monkeypatch.setenv("GRIDIRON_TOKEN", f" {OTHER}\n")
    assert find().token == OTHER


def test_a_token_does_not_go_to_where_only_a_file_leads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRIDIRON_TOKEN", GIVEN)
    (tmp_path / "gridiron.toml").write_text('manager_url = "https://evil.example"\n')
    with pytest.raises(TokenNotSent, match=r"https://evil\.example"):
        find()
    monkeypatch.setenv("GRIDIRON_CONFIG", str(tmp_path / "gridiron.toml"))
    assert find().token == GIVEN
    monkeypatch.delenv("GRIDIRON_CONFIG")
    monkeypatch.setenv("GRIDIRON_MANAGER_URL", "https://node.example")
    assert find() == Way("https://node.example", GIVEN)


@pytest.mark.parametrize("file", ['manager_url = "http://127.0.0.1:6666"', "port_offset = 100", ""])
def test_a_given_token_goes_to_the_users_own_programs_where_only_a_file_says_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str
) -> None:
    monkeypatch.setenv("GRIDIRON_TOKEN", GIVEN)
    (tmp_path / "gridiron.toml").write_text(file)
    assert find().readers == Readers("GRIDIRON_TOKEN", frozenset({os.geteuid(), 0}))
    monkeypatch.setenv("GRIDIRON_MANAGER_URL", "http://127.0.0.1:8081")
    assert find() == Way("http://127.0.0.1:8081", GIVEN)


@pytest.mark.parametrize("url", ["https://node.example", "https://localhost:8081"])
def test_what_to_trust_at_a_url_that_is_named_is_not_for_a_file_to_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.setenv("GRIDIRON_TOKEN", GIVEN)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    file = tmp_path / "gridiron.toml"
    file.write_text(f'tls_ca = "{tmp_path}/ca.pem"\ntls_cert = "{tmp_path}/ca.pem"\ntls_key = "/k"\n')
    assert find(manager_url=url, named=True).context is None
    assert find().context is not None  # it says where, too, and only the user's own programs get the token
    monkeypatch.setenv("GRIDIRON_CONFIG", str(file))
    assert find(manager_url=url, named=True).context is not None
    monkeypatch.delenv("GRIDIRON_CONFIG")
    monkeypatch.setenv("GRIDIRON_TLS_CA", str(tmp_path / "ca.pem"))
    assert find(manager_url=url, named=True).context is not None


TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001        0 1 1 0 100
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1002        0 1 1 0 100
   2: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1003        0 1 1 0 100
   3: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1004        0 1 1 0 100
   4: 0701A8C0:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1005        0 1 1 0 100
   5: 00000000000000000000000001000000:1F91 0:0 0A 0:0 0:0 0  1006        0 1 1 0 100
   6: 00000000000000000000000000000000:1F91 0:0 0A 0:0 0:0 0  1007        0 1 1 0 100
   7: 0000000000000000FFFF00000100007F:1F91 0:0 0A 0:0 0:0 0  1008        0 1 1 0 100
   8: B80D0120000000000000000001000000:1F91 0:0 0A 0:0 0:0 0  1009        0 1 1 0 100
"""


def test_who_could_take_a_connection_to_a_port() -> None:
    assert parse_listeners(TABLE, 8081) == {1001, 1002, 1006, 1007, 1008}
    assert parse_listeners(TABLE, 8083) == set()


def test_who_has_the_servers_end_of_a_connection() -> None:
    assert parse_ends(TABLE, 8081, 50_000) == {1003}
    assert parse_ends(TABLE, 8081, 0) == set()


@pytest.mark.parametrize("text", ["", "hunter2", f"{GIVEN}\r\nx-evil: 1", f"Bearer {GIVEN}"])
def test_what_is_no_token_is_told_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    monkeypatch.setenv("GRIDIRON_TOKEN", text)
    with pytest.raises(TokenUnusable, match=r"^GRIDIRON_TOKEN holds no token") as told:
        find()
    assert not text or text not in str(told.value)
    monkeypatch.delenv("GRIDIRON_TOKEN")
    monkeypatch.setenv("GRIDIRON_TOKEN_FILE", str(write_token(tmp_path / "t", text)))
    with pytest.raises(TokenUnusable):
        find()
    monkeypatch.setenv("GRIDIRON_TOKEN_FILE", str(tmp_path / "missing"))
    with pytest.raises(TokenUnusable, match="No such file"):
        find()


def test_a_token_is_in_no_repr() -> None:
    assert GIVEN not in repr(Way("http://localhost", GIVEN))


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8081", True),
        ("http://LOCALHOST:8081", True),
        ("http://127.0.0.2", True),
        ("http://[::1]:8081", True),
        ("http://10.0.0.1", False),
        ("http://node.example", False),
        ("http://localhost@node.example", False),
        ("nonsense", False),
    ],
)
def test_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local
