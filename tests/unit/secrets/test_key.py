from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gridiron.errors import SecretKeyInvalid, StorageFailed
from gridiron.secrets.key import KEY_FILE, KEY_SIZE, ensure_key, fetch_key


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "secrets"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_once_and_for_its_user_alone(directory: Path) -> None:
    before = os.umask(0)
    try:
        ensure_key(directory)
    finally:
        os.umask(before)
    key = fetch_key(directory)
    assert (len(key), mode_of(directory), mode_of(directory / KEY_FILE)) == (KEY_SIZE, 0o700, 0o600)
    ensure_key(directory)
    assert fetch_key(directory) == key
    assert [path.name for path in directory.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize(("mode", "of_key"), [(0o2750, 0o640), (0o2700, 0o600), (0o755, 0o600)])
def test_a_group_may_read_it_where_the_directory_was_made_for_it(
    mode: int, of_key: int, directory: Path
) -> None:
    directory.mkdir(parents=True)
    directory.chmod(mode)
    ensure_key(directory)
    assert mode_of(directory / KEY_FILE) == of_key


def test_all_who_make_it_at_once_have_the_same(directory: Path) -> None:
    def make(_: int) -> bytes:
        ensure_key(directory)
        return fetch_key(directory)

    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(make, range(64)))) == 1
    assert [path.name for path in directory.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o644, 0o666])
def test_a_key_that_others_can_read_or_change_is_refused(directory: Path, mode: int) -> None:
    ensure_key(directory)
    (directory / KEY_FILE).chmod(mode)
    for use in (ensure_key, fetch_key):
        with pytest.raises(SecretKeyInvalid) as caught:
            use(directory)
        problem = f"its permissions are {mode:04o}, so that others can read or change it: `chmod 600` it"
        assert vars(caught.value) == {"path": str(directory / KEY_FILE), "problem": problem}


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_group_may_read_it(directory: Path, mode: int) -> None:
    ensure_key(directory)
    (directory / KEY_FILE).chmod(mode)
    assert len(fetch_key(directory)) == KEY_SIZE


@pytest.mark.parametrize(("size", "said"), [(0, "0"), (31, "31"), (33, "more than 32")])
def test_a_key_of_another_length_is_refused_and_kept(directory: Path, size: int, said: str) -> None:
    ensure_key(directory)
    (directory / KEY_FILE).write_bytes(b"k" * size)
    with pytest.raises(SecretKeyInvalid, match=f"it has {said} bytes instead of 32: restore it"):
        ensure_key(directory)
    assert (directory / KEY_FILE).read_bytes() == b"k" * size


def test_none_is_made_where_secrets_wait_for_the_old_one(directory: Path) -> None:
    ensure_key(directory)
    (directory / KEY_FILE).unlink()
    (directory / "greeter.json").write_text("{}")
    ensure_key(directory)
    assert not (directory / KEY_FILE).exists()
    with pytest.raises(StorageFailed, match="No such file"):
        fetch_key(directory)


def test_a_place_where_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StorageFailed, match=r"Making .*data/secrets/key failed: Not a directory"):
        ensure_key(tmp_path / "data" / "secrets")
