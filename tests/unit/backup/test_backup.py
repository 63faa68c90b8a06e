"""The directories of a node that does not run, into a backup and back; backups that must not be restored."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gridiron.backup.create import make_backup
from gridiron.backup.parts import Part
from gridiron.backup.restore import restore_backup
from gridiron.backup.snapshot import Item, open_part
from gridiron.errors import (
    BackupExists,
    BackupFailed,
    BackupInvalid,
    BackupMismatch,
    BackupOfCluster,
    DataNotEmpty,
    RestoreUnfinished,
    StorageFailed,
)
from gridiron.restate.role import exec_restate
from gridiron.settings import Settings, load_settings
from gridiron.toolchain.programs import find_toolchain
from tests.files import write

NODE = {
    "restate/n1/db/CURRENT": b"MANIFEST-000005\n",
    "restate/n1/db/000004.log": b"\0" * 3_000_000,
    "restate/n1/db/LOCK": b"",
    "bundles/.store": b"0123456789abcdef",
    "bundles/demo-1-2/.mark": b"activating",
    "bundles/demo-1-2/deep/" + "long" * 40 + ".js": b"export {};\n" * 100,
    "bundles/demo-1-2/metadata.json": b"{}",
    "secrets/key": b"k" * 32,
    "identity/private.pem": b"PEM",
    "manager/state.json": b"{}",
    "manager/audit.jsonl": b"{}\n" * 1000,
    "logs/demo-1-2/0.jsonl": b"{}\n",
    "workers/quarantine.json": b"{}",
}
LEFT_OUT = {
    "lock": b"1\n",
    "restate/restate.toml": b"",
    "bundles/.lock": b"1\n",
    "bundles/.staging/in-1/index.js": b"",
    "bundles/.uploads/abc": b"",
    "manager/lock": b"1\n",
    "workers/workerd.capnp": b"",
    "run/pool.sock": b"",
}


def settings_of(directory: Path, **more: Any) -> Settings:
    return Settings(data_dir=directory, **more)


@pytest.fixture(autouse=True)
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that are to yield to others: these tests are not to, nor what comes after them."""
    lowered: list[int] = []
    monkeypatch.setattr("gridiron.backup.create.lower_priority", lambda pid, _niceness: lowered.append(pid))
    return lowered


@pytest.fixture
def node(tmp_path: Path) -> Settings:
    directory = write(tmp_path / "node", {**NODE, **LEFT_OUT})
    (directory / "secrets" / "key").chmod(0o600)
    (directory / "secrets").chmod(0o2750)
    (directory / "bundles" / "demo-1-2" / "deep").chmod(0o500)
    os.utime(directory / "manager" / "state.json", (1_000_000_000, 1_000_000_000))
    return settings_of(directory)


@pytest.fixture
def file(node: Settings, tmp_path: Path) -> Path:
    make_backup(node, tmp_path / "node.tar.gz", lambda _done, _size: None)
    return tmp_path / "node.tar.gz"


def restore(settings: Settings, content: bytes) -> None:
    restore_backup(settings, io.BytesIO(content), "node.tar.gz", lambda _done, _size: None)


def files_of(directory: Path) -> dict[str, tuple[str, int, bytes]]:
    return {
        str(path.relative_to(directory)): (
            stat.filemode(path.stat().st_mode),
            int(path.stat().st_mtime),
            path.read_bytes(),
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_node_is_as_it_was(node: Settings, file: Path, tmp_path: Path) -> None:
    restored = settings_of(tmp_path / "restored")
    restore(restored, file.read_bytes())
    before = files_of(node.data_dir)
    assert files_of(restored.data_dir) == {path: before[path] for path in NODE}
    for directory in ("secrets", "bundles/demo-1-2/deep"):
        assert (restored.data_dir / directory).stat().st_mode == (node.data_dir / directory).stat().st_mode
    assert sorted(path.name for path in restored.data_dir.iterdir()) == [
        *("bundles", "identity", "logs", "manager", "restate", "secrets", "workers")
    ]


def test_a_backup_is_for_its_owner_alone_and_overwrites_nothing(node: Settings, file: Path) -> None:
    assert stat.filemode(file.stat().st_mode) == "-rw-------"
    before = file.read_bytes()
    with pytest.raises(BackupExists):
        make_backup(node, file, lambda _done, _size: None)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["node", "node.tar.gz"]


def test_packing_yields_to_the_node(node: Settings, tmp_path: Path, lowered: list[int]) -> None:
    make_backup(node, tmp_path / "one", lambda _done, _size: None)
    assert lowered == [os.getpid()]


def test_progress_comes_to_its_end(node: Settings, file: Path, tmp_path: Path) -> None:
    whole = sum(map(len, NODE.values()))
    for act in (
        lambda report: make_backup(node, tmp_path / "again.tar.gz", report),
        lambda report: restore_backup(
            settings_of(tmp_path / "restored"), io.BytesIO(file.read_bytes()), "", report
        ),
    ):
        seen: list[tuple[int, int]] = []
        act(lambda done, size, seen=seen: seen.append((done, size)))
        assert seen == sorted(seen)
        assert seen[-1] == (whole, whole)


def test_parts_that_lie_elsewhere_are_restored_to_where_the_settings_say(tmp_path: Path) -> None:
    write(tmp_path / "node", {"restate/n1/db/CURRENT": b"M"})
    write(tmp_path / "shelf", {".store": b"1", "demo-1-2/index.js": b"x"})
    make_backup(
        Settings(data_dir=tmp_path / "node", bundles_dir=tmp_path / "shelf"),
        tmp_path / "node.tar.gz",
        lambda _done, _size: None,
    )
    there = Settings(data_dir=tmp_path / "restored", bundles_dir=tmp_path / "other" / "shelf")
    restore(there, (tmp_path / "node.tar.gz").read_bytes())
    assert {**files_of(there.data_dir)}.keys() == {"restate/n1/db/CURRENT"}
    assert {**files_of(there.bundles_dir)}.keys() == {".store", "demo-1-2/index.js"}


def access_of(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid


def test_directories_that_are_made_get_the_mode_and_owner_that_they_had(tmp_path: Path) -> None:
    def plan(name: str) -> Settings:
        return Settings(data_dir=tmp_path / name, secrets_dir=tmp_path / f"{name}-shelf" / "secrets")

    before, after = plan("node"), plan("restored")
    write(before.data_dir, {"restate/n1/db/CURRENT": b"M", "bundles/.store": b"1"})
    write(before.secrets_dir, {"key": b"k" * 32})
    owner = (1234, 1235) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    for directory, mode in ((before.data_dir, 0o711), (before.secrets_dir, 0o2750)):
        os.chown(directory, *owner)
        directory.chmod(mode)
    make_backup(before, tmp_path / "node.tar.gz", lambda _done, _size: None)
    restore(after, (tmp_path / "node.tar.gz").read_bytes())
    assert access_of(after.data_dir) == ("drwx--x--x", *owner)
    assert access_of(after.secrets_dir) == ("drwxr-s---", *owner)
    assert files_of(after.secrets_dir).keys() == {"key"}


def test_a_data_directory_that_is_there_stays_whose_it_is(file: Path, tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir(0o750)
    restore(settings_of(tmp_path / "restored"), file.read_bytes())
    assert stat.filemode((tmp_path / "restored").stat().st_mode) == "drwxr-x---"


def test_a_data_directory_that_an_older_backup_says_nothing_of_is_for_its_user_alone(
    file: Path, tmp_path: Path
) -> None:
    restore(settings_of(tmp_path / "restored"), change(file.read_bytes(), edit_manifest(directory=None)))
    assert stat.filemode((tmp_path / "restored").stat().st_mode) == "drwx------"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_an_owner_that_is_unknown_here_is_refused_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    strange = {"mode": 0o711, "user": "nobody-here", "group": "0"}
    with pytest.raises(BackupMismatch, match="user nobody-here"):
        restore(
            settings_of(tmp_path / "restored"), change(file.read_bytes(), edit_manifest(directory=strange))
        )
    assert list((tmp_path / "restored").rglob("*")) == []


def test_empty_directories_are_no_matter(file: Path, tmp_path: Path) -> None:
    restored = settings_of(tmp_path / "restored")
    for directory in ("restate", "manager", "run"):
        (restored.data_dir / directory).mkdir(parents=True)
    restore(restored, file.read_bytes())
    assert files_of(restored.data_dir).keys() == NODE.keys()


@pytest.mark.parametrize("found", ["bundles/demo-1-2/index.js", "run/pool.sock", "notes.txt", "manager/lock"])
def test_a_directory_that_holds_a_file_is_left_alone(found: str, file: Path, tmp_path: Path) -> None:
    restored = settings_of(write(tmp_path / "restored", {found: b"mine"}))
    with pytest.raises(DataNotEmpty, match=found):
        restore(restored, file.read_bytes())
    assert files_of(restored.data_dir).keys() == {found}


def test_what_a_killed_restore_left_keeps_restate_from_starting_and_is_removed_by_the_next(
    file: Path, tmp_path: Path
) -> None:
    restored = settings_of(write(tmp_path / "restored", {".restoring/bundles/half": b"half"}))
    with pytest.raises(RestoreUnfinished):
        exec_restate(restored, find_toolchain(restored))
    restore(restored, file.read_bytes())
    assert files_of(restored.data_dir).keys() == NODE.keys()


@pytest.mark.parametrize(
    ("change", "what"),
    [({"node_name": "n2"}, "node name n1"), ({"port_offset": 100}, "workers' port 9080")],
)
def test_a_node_that_could_not_go_on_from_it_is_refused(
    change: dict[str, Any], what: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackupMismatch, match=what):
        restore(settings_of(tmp_path / "restored", **change), file.read_bytes())
    assert not (tmp_path / "restored").exists()


Members = list[tuple[tarfile.TarInfo, bytes]]


def change(content: bytes, edit: Callable[[Members], object]) -> bytes:
    """Make the archive of other members."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        members = [(each, file.read() if (file := tar.extractfile(each)) else b"") for each in tar]
    edit(members)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for header, data in members:
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return made.getvalue()


def edit_manifest(**fields: Any) -> Callable[[Members], object]:
    def edit(members: Members) -> None:
        header, data = members[0]
        members[0] = header, json.dumps({**json.loads(data), **fields}).encode()

    return edit


def insert(name: str, **fields: Any) -> Callable[[Members], object]:
    header = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(header, field, value)
    return lambda members: members.insert(2, (header, b""))


def flip(members: Members) -> None:
    header, data = members[-3]
    members[-3] = header, bytes([data[0] ^ 1]) + data[1:]


REFUSED = {
    "a link": (insert("bundles/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), BackupInvalid),
    "a hard link": (insert("bundles/link", type=tarfile.LNKTYPE, linkname="bundles/.store"), BackupInvalid),
    "a device": (insert("bundles/null", type=tarfile.CHRTYPE), BackupInvalid),
    "a way out": (insert("bundles/../../../etc/cron.d/x"), BackupInvalid),
    "an absolute path": (insert("/etc/cron.d/x"), BackupInvalid),
    "a part that is none": (insert("etc/cron.d/x"), BackupInvalid),
    "a file before its directory": (insert("identity/sub/x"), StorageFailed),
    "a file that has no sum": (insert("bundles/more.js"), BackupInvalid),
    "a file twice": (lambda members: members.insert(4, members[2]), StorageFailed),
    "a file less": (lambda members: members.pop(2), BackupInvalid),
    "no sums": (lambda members: members.pop(), BackupInvalid),
    "no manifest": (lambda members: members.pop(0), BackupInvalid),
    "other bytes in a file": (flip, BackupInvalid),
    "a newer format": (edit_manifest(format=2, more="x"), BackupMismatch),
    "a newer Restate": (edit_manifest(restate="99.0.0"), BackupMismatch),
    "a manifest that says more": (edit_manifest(more="x"), BackupInvalid),
    "a manifest of another kind": (edit_manifest(format="x"), BackupInvalid),
}


@pytest.mark.parametrize("title", REFUSED)
def test_a_changed_backup_is_refused_and_leaves_nothing(title: str, file: Path, tmp_path: Path) -> None:
    edit, error = REFUSED[title]
    restored = settings_of(tmp_path / "restored")
    with pytest.raises(error):
        restore(restored, change(file.read_bytes(), edit))
    assert list(restored.data_dir.rglob("*")) == []


def test_what_is_no_backup_or_cut_off_is_refused_and_leaves_nothing(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = [whole[: len(whole) * part // 20] for part in range(20)]
    of_tar = gzip.decompress(whole)
    cut_in_tar = [gzip.compress(of_tar[: 512 * blocks], 1) for blocks in (0, 1, 2, 3, 7, len(of_tar) // 1024)]
    damaged = [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in (0, 300, len(whole) - 5)]
    restored = settings_of(tmp_path / "restored")
    for content in (*cut, *cut_in_tar, *damaged, b"no archive", gzip.compress(b"no tar" * 1000)):
        with pytest.raises(BackupInvalid):
            restore(restored, content)
        assert list(restored.data_dir.rglob("*")) == []


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        ({"notes.txt": b""}, "there is no node in"),
        ({"restate/n1/db/CURRENT": b"M", "bundles/demo-1-2/index.js": b""}, "is its disk mounted"),
    ],
)
def test_what_is_no_whole_node_is_not_backed_up(
    there: dict[str, bytes], problem: str, tmp_path: Path
) -> None:
    directory = write(tmp_path / "data", there)
    with pytest.raises(BackupFailed, match=problem):
        make_backup(settings_of(directory), tmp_path / "file", lambda _done, _size: None)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_no_link_is_followed_and_what_is_no_file_is_skipped(node: Settings, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"shadow": b"of the machine", "deep/shadow": b"of the machine"})
    os.mkfifo(node.data_dir / "manager" / "pipe")
    (node.data_dir / "bundles" / "dangling").symlink_to(tmp_path / "nowhere")
    (node.data_dir / "bundles" / "demo-1-2" / "loop").symlink_to("loop")
    (node.data_dir / "logs" / "x").symlink_to(tmp_path / "outside" / "deep")
    (node.data_dir / "logs" / "demo-1-2" / "1.jsonl").symlink_to(tmp_path / "outside" / "shadow")
    (node.data_dir / "workers" / "quarantine.json").unlink()
    (node.data_dir / "workers" / "quarantine.json").symlink_to(tmp_path / "outside" / "shadow")
    made = make_backup(node, tmp_path / "node.tar.gz", lambda _done, _size: None)
    assert made.skipped == (
        *("bundles/dangling", "bundles/demo-1-2/loop", "manager/pipe", "logs/demo-1-2/1.jsonl", "logs/x"),
        "workers/quarantine.json",
    )
    restored = settings_of(tmp_path / "restored")
    restore(restored, (tmp_path / "node.tar.gz").read_bytes())
    assert files_of(restored.data_dir).keys() == NODE.keys() - {"workers/quarantine.json"}


@pytest.mark.parametrize("name", ["file", "directory"])
@pytest.mark.parametrize("replace", [lambda path: path.symlink_to("/etc"), os.mkfifo])
def test_what_takes_a_files_place_meanwhile_is_not_followed_either(
    name: str, replace: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path / "logs", {"a": b"", "directory/hosts": b"mine", "file": b"mine"})
    reading = open_part(Part("logs", tmp_path / "logs", of_workers=True))
    before = [item for item in (next(reading), next(reading)) if isinstance(item, Item)]
    assert [item.path for item in before] == ["logs", "logs/a"]  # all names are known by now
    shutil.rmtree(tmp_path / "logs" / "directory")
    (tmp_path / "logs" / "file").unlink()
    replace(tmp_path / "logs" / name)
    assert list(reading) == [f"logs/{name}"]


def test_the_directory_of_a_part_may_be_a_link(node: Settings, tmp_path: Path) -> None:
    node.bundles_dir.rename(tmp_path / "shelf")
    node.bundles_dir.symlink_to(tmp_path / "shelf")
    made = make_backup(node, tmp_path / "node.tar.gz", lambda _done, _size: None)
    assert (made.files, made.skipped) == (len(NODE), ())


def test_a_node_of_a_cluster_is_neither_backed_up_nor_restored(tmp_path: Path) -> None:
    cluster = {"address": "10.99.0.1", "peers": ["10.99.0.2"], "bucket": "s3://bundles/mesh"}
    settings = load_settings(data_dir=tmp_path / "data", node_name="n1", cluster=cluster)
    with pytest.raises(BackupOfCluster):
        make_backup(settings, tmp_path / "backup", lambda *_: None)
    with pytest.raises(BackupOfCluster):
        restore_backup(settings, io.BytesIO(), "backup", lambda *_: None)
    assert list(tmp_path.iterdir()) == []
