from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gridiron.errors import SettingsInvalid, StorageFailed
from gridiron.workers.sockets import (
    control_socket,
    data_socket,
    ensure_own_dir,
    ensure_run_dir,
    fetch_socket,
    list_cells,
    remove_sockets,
)


def test_names() -> None:
    assert (data_socket("cell-7"), control_socket("cell-7")) == ("cell-7.sock", "cell-7.control.sock")


def test_the_managers_socket_has_a_directory_of_its_own(tmp_path: Path) -> None:
    socket = fetch_socket(tmp_path)
    assert socket == tmp_path / "manager" / "fetch.sock"
    for _ in range(2):
        ensure_own_dir(socket.parent)
        assert socket.parent.stat().st_mode & 0o7777 == 0o700
    socket.parent.chmod(0o2750)
    ensure_own_dir(socket.parent)
    assert socket.parent.stat().st_mode & 0o7777 == 0o2750
    assert list_cells(tmp_path) == []


def test_the_cells_of_a_directory(tmp_path: Path) -> None:
    for name in ("cell-2", "cell-10", "cell-1"):
        (tmp_path / control_socket(name)).touch()
        (tmp_path / data_socket(name)).touch()
    for name in ("haproxy.sock", "lock", "cell-x.control.sock", "cell-3.sock"):
        (tmp_path / name).touch()
    assert list_cells(tmp_path) == ["cell-1", "cell-2", "cell-10"]


def test_a_directory_that_is_not_there_has_no_cells(tmp_path: Path) -> None:
    assert list_cells(tmp_path / "none") == []


def test_a_directory_that_cannot_be_read_is_not_one_without_cells(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed):
        list_cells(tmp_path / "file")


def test_the_directory_is_for_its_user_only(tmp_path: Path) -> None:
    run_dir = tmp_path.parent / "run"
    run_dir.mkdir(mode=0o755, exist_ok=True)
    for _ in range(2):
        ensure_run_dir(run_dir)
    assert run_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o2750, 0o2750), (0o2700, 0o700), (0o2770, 0o700), (0o2755, 0o700), (0o750, 0o700)]
)
def test_only_a_directory_that_was_made_for_it_is_shared_with_its_group(mode: int, kept: int) -> None:
    with TemporaryDirectory() as directory:  # pytest's may be too long for sockets
        run_dir = Path(directory)
        run_dir.chmod(mode)
        ensure_run_dir(run_dir)
        assert run_dir.stat().st_mode & 0o7777 == kept


def test_a_directory_whose_sockets_would_have_too_long_a_path_is_refused(tmp_path: Path) -> None:
    run_dir = tmp_path / ("x" * 100)
    with pytest.raises(SettingsInvalid, match="run_dir"):
        ensure_run_dir(run_dir)
    assert not run_dir.exists()


def test_a_file_in_the_directorys_place_is_told(tmp_path: Path) -> None:
    (tmp_path.parent / "f").touch()
    with pytest.raises(StorageFailed, match="Making"):
        ensure_run_dir(tmp_path.parent / "f")


def test_what_an_earlier_run_left_is_removed(tmp_path: Path) -> None:
    names = ["cell-1.sock", "cell-1.control.sock", "haproxy.sock", "haproxy.sock.123.tmp"]
    for name in (*names, "lock", "other"):
        (tmp_path / name).touch()
    for _ in range(2):
        remove_sockets(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "other"]
