from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridiron.bundles.archive import unpack
from gridiron.bundles.limits import Limits, Meter
from gridiron.bundles.paths import LEFT_OUT, Names
from gridiron.errors import GridironError, SourceTooLarge
from tests.unit.bundles.archives import END, ZipEntry, pax, tar_entry, tar_header, targz, zip_archive

LIMITS = Limits(size=4 * 1024 * 1024, files=100, time=timedelta(minutes=1))
FILES = {
    "index.js": b"export default {};\n",
    "lib/deep/core.wasm": bytes(range(256)) * 1000,
    "grüße/日本.txt": "grüße\n".encode(),
    "README.md": b"",
}

Pack = Callable[[Mapping[str, bytes]], bytes]


def pack_tar(files: Mapping[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=format_, compresslevel=1) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mtime = len(content), 1.5  # the latter takes an extended header of pax
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def pack_gnu_tar(files: Mapping[str, bytes]) -> bytes:
    return pack_tar(files, tarfile.GNU_FORMAT)


def pack_zip(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content, method)
    return packed.getvalue()


def pack_stored_zip(files: Mapping[str, bytes]) -> bytes:
    return pack_zip(files, zipfile.ZIP_STORED)


def pack_streamed_zip(files: Mapping[str, bytes]) -> bytes:
    """Pack as into a pipe: sizes and checksums come after the content."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.content = b""

        def writable(self) -> bool:
            return True

        def write(self, piece: object) -> int:
            self.content += bytes(piece)  # type: ignore[call-overload]
            return len(piece)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return pipe.content


PACKS = [pack_tar, pack_gnu_tar, pack_zip, pack_stored_zip, pack_streamed_zip]


def unpacked(archive: bytes, root: Path, limits: Limits = LIMITS) -> dict[str, bytes]:
    (root / "archive").write_bytes(archive)
    unpack(root / "archive", root / "out", Meter(limits))
    return content(root / "out")


def content(root: Path) -> dict[str, bytes]:
    """Give every file below a directory; a link or an empty directory would be a key of its own."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if not path.is_dir() or path.is_symlink():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{name}/"] = b""
    return found


@pytest.mark.parametrize("pack", PACKS)
def test_what_was_packed_comes_out(pack: Pack, tmp_path: Path) -> None:
    assert unpacked(pack(FILES), tmp_path) == FILES


@pytest.mark.parametrize("pack", PACKS)
def test_files_are_plain_whatever_the_archive_says(pack: Pack, tmp_path: Path) -> None:
    unpacked(pack(FILES), tmp_path)
    modes = {stat.filemode(path.stat().st_mode) for path in (tmp_path / "out").rglob("*")}
    assert modes == {"-rw-r--r--", "drwxr-xr-x"}


def test_a_mode_of_the_archive_makes_no_difference(tmp_path: Path) -> None:
    unpacked(zip_archive(ZipEntry(b"index.js", mode=0o104777)), tmp_path)
    assert stat.filemode((tmp_path / "out" / "index.js").stat().st_mode) == "-rw-r--r--"


PASSED_OVER = {
    ".git/config": b"x",
    "lib/.hidden.js": b"x",
    "node_modules/a/index.js": b"x",
    "lib/node_modules/a/Index.js": b"x",
    "lib/node_modules/a/index.js": b"x",
    ".DS_Store": b"x",
    "__MACOSX/._index.js": b"x",
}


@pytest.mark.parametrize("pack", PACKS)
def test_what_no_bundle_has_is_not_written(pack: Pack, tmp_path: Path) -> None:
    assert unpacked(pack({**FILES, **PASSED_OVER}), tmp_path) == FILES


# -- paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (b"./index.js", "index.js"),
        (b"././lib//./a.js", "lib/a.js"),
        (b"lib/C:.js", "lib/C:.js"),
        (b"a../b.js", "a../b.js"),
        (b"a%2e%2e/b.js", "a%2e%2e/b.js"),
        (b"~/a.js", "~/a.js"),
        (b"-rf.js", "-rf.js"),
        (b" .js", " .js"),
    ],
)
def test_paths(path: bytes, written: str, tmp_path: Path) -> None:
    other = b"other.txt"
    assert unpacked(targz(tar_entry(path), tar_entry(other)), tmp_path) == {written: b"", "other.txt": b""}


@pytest.mark.parametrize(
    "entry",
    [
        tar_header(b"b.js", prefix=b"lib/long"),
        tar_entry(b"x", b"lib/long/b.js\0", b"L") + tar_header(b"short"),
        pax({b"path": b"lib/long/b.js"}) + tar_header(b"short"),
        pax({b"path": b"lib/long/b.js"}) + tar_entry(b"x", b"other\0", b"L") + tar_header(b"short"),
        tar_entry(b"x", b"unused\0", b"K") + tar_header(b"lib/long/b.js"),
        pax({b"comment": b"9f3c"}, b"g") + tar_header(b"lib/long/b.js"),
        pax({b"path": b"", b"size": b""}) + tar_header(b"lib/long/b.js"),
        tar_header(b"lib/long/b.js", kind=b"\0", magic=b""),
        tar_header(b"lib/long/b.js", kind=b"7"),
        tar_header(b"lib/long/b.js", magic=b"ustar  \0", prefix=b"\x01\x02"),  # times, as GNU puts them
    ],
)
def test_how_a_tar_names_a_path(entry: bytes, tmp_path: Path) -> None:
    assert unpacked(targz(tar_entry(b"index.js"), entry), tmp_path) == {"index.js": b"", "lib/long/b.js": b""}


@pytest.mark.parametrize(
    "entry",
    [
        pax({b"size": b"3"}) + tar_header(b"index.js", 0),
        tar_header(b"index.js", b"\x80" + bytes(10) + b"\x03"),
        tar_header(b"index.js", b"          3\0"),
        tar_header(b"index.js", b"000000000003"),
    ],
)
def test_how_a_tar_says_a_size(entry: bytes, tmp_path: Path) -> None:
    assert unpacked(targz(entry, b"abc".ljust(512, b"\0")), tmp_path) == {"index.js": b"abc"}


def test_a_directory_may_stand_in_an_archive_more_than_once(tmp_path: Path) -> None:
    directory = tar_entry(b"lib/", kind=b"5")
    entries = [tar_entry(b"./", kind=b"5"), directory, tar_entry(b"lib/a.js"), directory, tar_entry(b"b.js")]
    assert unpacked(targz(*entries), tmp_path) == {"lib/a.js": b"", "b.js": b""}


# -- one directory ---------------------------------------------------------------------------------------

PACKAGE = {f"package/{path}": content for path, content in FILES.items()}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize(
    "beside", [{}, PASSED_OVER, {"package/package/index.js": b"", "package/.git/a": b""}]
)
def test_an_archive_of_one_directory_is_that_directory(
    beside: dict[str, bytes], pack: Pack, tmp_path: Path
) -> None:
    inner = {"package/index.js": b""} if "package/package/index.js" in beside else {}
    files = {**PACKAGE, **{path: content for path, content in beside.items() if not path.startswith("lib/")}}
    assert unpacked(pack(files), tmp_path) == {**FILES, **inner}


@pytest.mark.parametrize("beside", ["README.md", "other/a.js", "metadata.json"])
def test_an_archive_with_something_beside_the_directory_is_taken_as_it_is(
    beside: str, tmp_path: Path
) -> None:
    assert unpacked(pack_tar({**PACKAGE, beside: b""}), tmp_path) == {**PACKAGE, beside: b""}


def test_of_directories_in_each_other_the_outermost_is_taken_away(tmp_path: Path) -> None:
    assert unpacked(pack_tar({"a/b/c/index.js": b""}), tmp_path) == {"b/c/index.js": b""}


def test_a_directory_beside_it_that_is_empty_makes_no_difference(tmp_path: Path) -> None:
    entries = [tar_entry(b"empty/", kind=b"5"), tar_entry(b"package/empty", b"x")]
    assert unpacked(targz(*entries), tmp_path) == {"empty": b"x"}


def test_the_longest_name_that_a_directory_can_have(tmp_path: Path) -> None:
    name = "x" * 255
    assert unpacked(pack_tar({f"{name}/{name}/{name}": b""}), tmp_path) == {f"{name}/{name}": b""}


# -- gzip and limits -------------------------------------------------------------------------------------


def test_gzip_of_several_members_and_with_zeros_behind(tmp_path: Path) -> None:
    whole = tar_entry(b"index.js", b"x" * 5000) + END
    members = b"".join(gzip.compress(whole[place : place + 700]) for place in range(0, len(whole), 700))
    assert unpacked(members + bytes(40_000), tmp_path) == {"index.js": b"x" * 5000}


def test_as_much_as_a_source_may_have_and_a_byte_more(tmp_path: Path) -> None:
    archive = zip_archive(ZipEntry(b"index.js", b"x" * 1000), ZipEntry(b".git/a", b"x" * 1000))
    fits = Limits(size=2000, files=3, time=timedelta(minutes=1))  # .git counts, which only a path names
    assert unpacked(archive, tmp_path, fits) == {"index.js": b"x" * 1000}
    (tmp_path / "again").mkdir()
    with pytest.raises(SourceTooLarge):
        unpacked(archive, tmp_path / "again", Limits(size=1999, files=3, time=timedelta(minutes=1)))


def test_a_tar_counts_with_its_headers(tmp_path: Path) -> None:
    archive = targz(tar_entry(b"index.js", b"x"))
    assert unpacked(archive, tmp_path, Limits(2048, 1, timedelta(minutes=1))) == {"index.js": b"x"}
    (tmp_path / "again").mkdir()
    with pytest.raises(SourceTooLarge):
        unpacked(archive, tmp_path / "again", Limits(2047, 1, timedelta(minutes=1)))


def test_what_is_unpacked_is_reported(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(pack_zip(FILES))
    reports: list[tuple[int, int | None]] = []
    unpack(
        tmp_path / "archive",
        tmp_path / "out",
        Meter(LIMITS, lambda done, total: reports.append((done, total))),
    )
    assert reports[0] == (0, None)
    assert reports[-1] == (sum(map(len, FILES.values())), None)


# -- anything --------------------------------------------------------------------------------------------

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="/\\:"),
    min_size=1,
    max_size=20,
).filter(lambda name: not name.startswith(".") and name not in LEFT_OUT)
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=3000), max_size=6
)


def is_tree(files: Mapping[str, bytes]) -> bool:
    names = Names(str.casefold)
    try:
        for path in files:
            names.add(path)
    except GridironError:
        return False
    return True


@settings(deadline=None, max_examples=100)
@given(files=TREES.filter(is_tree), pack=st.sampled_from(PACKS))
def test_any_tree_comes_out_as_it_was_packed(files: dict[str, bytes], pack: Pack) -> None:
    files = {"root.js": b"", **{f"in/{path}": content for path, content in files.items()}}
    with tempfile.TemporaryDirectory() as directory:
        assert unpacked(pack(files), Path(directory)) == files


def check_any(archive: bytes) -> None:
    """Unpack, and see that nothing stands outside, and that nothing but a GridironError comes."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "a").mkdir()
        try:
            written = unpacked(archive, root / "a")
        except GridironError as error:
            str(error).encode()
        else:
            assert written
        assert {path.name for path in root.iterdir()} == {"a"}
        assert {path.name for path in (root / "a").iterdir()} <= {"archive", "out"}
        assert not any(path.is_symlink() for path in root.rglob("*"))


VALID = [pack(FILES) for pack in PACKS]
TAR = gzip.decompress(pack_tar({**FILES, "x" * 120 + ".js": b"x"}))
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 4), st.binary(max_size=8)), min_size=1, max_size=5
)


def changed(archive: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, removed, added in changes:
        place = at % (len(archive) + 1)
        archive = archive[:place] + added + archive[place + removed :]
    return archive


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(VALID), CHANGES)
def test_any_change_of_an_archive_is_unpacked_or_refused(
    archive: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    check_any(changed(archive, changes))


@settings(deadline=None, max_examples=150)
@given(CHANGES)
def test_any_change_of_a_tar_within_gzip_is_unpacked_or_refused(
    changes: list[tuple[int, int, bytes]],
) -> None:
    check_any(gzip.compress(changed(TAR, changes), 1))


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([b"", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"PK\3\4", b"PK\5\6"]), st.binary()
)
def test_any_bytes_are_unpacked_or_refused(beginning: bytes, rest: bytes) -> None:
    check_any(beginning + rest)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.builds(
            tar_header,
            name=st.binary(max_size=100),
            size=st.integers(0, 2000) | st.binary(min_size=12, max_size=12),
            kind=st.sampled_from([b"0", b"5", b"x", b"g", b"L", b"K", b"\0"]),
            prefix=st.binary(max_size=155),
        )
        | st.binary(max_size=1024),
        max_size=5,
    )
)
def test_any_headers_of_a_tar_are_unpacked_or_refused(parts: list[bytes]) -> None:
    check_any(targz(tar_entry(b"index.js"), *parts))


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.builds(
            ZipEntry,
            name=st.binary(max_size=30),
            content=st.binary(max_size=100),
            flags=st.integers(0, 0xFFFF) | st.sampled_from([0, 8, 0x800]),
            method=st.sampled_from([0, 8]),
            mode=st.integers(0, 0xFFFF) | st.just(0o100644),
            size=st.none() | st.integers(0, 0xFFFFFFFF),
            offset=st.none() | st.integers(0, 0xFFFFFFFF),
            extra=st.binary(max_size=20),
        ),
        max_size=4,
    ),
    st.binary(max_size=40),
    st.none() | st.integers(0, 0xFFFF),
)
def test_any_entries_of_a_zip_are_unpacked_or_refused(
    entries: list[ZipEntry], comment: bytes, number: int | None
) -> None:
    check_any(zip_archive(ZipEntry(b"index.js"), *entries, comment=comment, count=number))
