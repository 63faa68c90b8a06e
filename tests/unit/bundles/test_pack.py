from __future__ import annotations

import os
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.bundles.archive import unpack
from gridiron.bundles.limits import Limits, Meter
from gridiron.bundles.pack import pack
from gridiron.bundles.staging import stage_bundle
from gridiron.errors import BundleEmpty
from tests.files import write

LIMITS = Limits(size=10_000_000, files=100, time=timedelta(minutes=1))


FILES = {
    "index.js": b"export default {}",
    "lib/grüße.txt": "grüße".encode(),
    "metadata.json": b'{"name": "demo"}',
    "README.md": b"read me",
    "node_modules/a/index.js": b"left out",
}


def test_what_is_packed_unpacks_to_the_same_bundle(tmp_path: Path) -> None:
    source, archive = write(tmp_path / "source", FILES), tmp_path / "bundle.tar.gz"
    assert pack(source, archive) == ("README.md", "node_modules/")
    unpack(archive, tmp_path / "tree", Meter(LIMITS))
    unpacked = stage_bundle(tmp_path / "tree", tmp_path / "unpacked")
    direct = stage_bundle(source, tmp_path / "direct")
    assert (unpacked.sha256, unpacked.modules) == (direct.sha256, direct.modules)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "first", FILES)
    second = write(tmp_path / "second", dict(reversed(FILES.items())))
    for path in second.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    pack(first, tmp_path / "1.tar.gz")
    pack(second, tmp_path / "2.tar.gz")
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()


def test_an_archive_has_nothing_of_the_machine_that_made_it(tmp_path: Path) -> None:
    pack(write(tmp_path / "source", FILES), tmp_path / "a.tar.gz")
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        seen = {(each.name, each.mtime, each.uid, each.uname, each.mode) for each in tar}
    names = ["index.js", "lib/grüße.txt", "metadata.json"]
    assert seen == {(name, 0, 0, "", 0o644) for name in names}


def test_what_is_no_bundle_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleEmpty):
        pack(tmp_path / "empty", tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()
