"""The archive of a build's modules: the same for the same modules, and never taken for another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gridiron.bundles.content import pack_content, unpack_content
from gridiron.bundles.store import BundleStore
from gridiron.errors import StorageFailed
from gridiron.model import Build
from tests.files import write
from tests.unit.bundles.test_store import FILES, plan


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Build, Path]:
    """A build and its archive, and what it was packed from is there, too."""
    store = BundleStore(tmp_path / "bundles")
    store.prepare()
    staged = store.stage(write(tmp_path / "source", FILES))
    build, archive = plan(staged), tmp_path / "archive"
    again = tmp_path / "again"
    assert pack_content(staged.directory, build, archive) == pack_content(staged.directory, build, again)
    assert archive.read_bytes() == again.read_bytes()
    return build, archive


def test_what_is_unpacked_is_what_was_packed(packed: tuple[Build, Path], tmp_path: Path) -> None:
    build, archive = packed
    unpacked = tmp_path / "unpacked"
    unpack_content(archive, build, unpacked)
    files = (path for path in unpacked.rglob("*") if path.is_file())
    found = {str(path.relative_to(unpacked)): path.read_bytes() for path in files}
    assert found == {module.name: FILES[module.name] for module in build.modules}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """Change the checksum at the end."""
    return content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"", lambda _: b"something else"])
def test_a_damaged_archive_is_told_as_one(
    packed: tuple[Build, Path], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    build, archive = packed
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(StorageFailed) as failed:
        unpack_content(archive, build, tmp_path / "unpacked")
    assert failed.value.action == "Unpacking"


def test_an_archive_of_other_modules_is_none_of_the_build(packed: tuple[Build, Path], tmp_path: Path) -> None:
    build, archive = packed
    fewer = build.model_copy(update={"modules": build.modules[:1]})
    with pytest.raises(StorageFailed, match="is no module of"):
        unpack_content(archive, fewer, tmp_path / "unpacked")
