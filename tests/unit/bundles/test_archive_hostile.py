"""Archives that somebody made to do harm, or that are broken: each is refused, with a code of its own."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import resource
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from gridiron.bundles.archive import unpack
from gridiron.bundles.limits import Limits, Meter
from gridiron.errors import GridironError, SourceTooSlow, StorageFailed
from tests.unit.bundles.archives import (
    BLOCK,
    END,
    ZipEntry,
    padded,
    pax,
    tar_entry,
    tar_header,
    targz,
    zip_archive,
)

MIB = 1024 * 1024
LIMITS = Limits(size=32 * MIB, files=1000, time=timedelta(minutes=1))
INDEX = tar_entry(b"index.js", b"export default {};")
ZIP_INDEX = ZipEntry(b"index.js", b"export default {};")


def gzipped(content: bytes) -> bytes:
    """The same each second, as a test's name must be in all processes that run tests side by side."""
    return gzip.compress(content, mtime=0)


def refuse(archive: bytes, root: Path, limits: Limits = LIMITS) -> GridironError:
    """Give the error that an archive is refused with, having looked that nothing was written elsewhere."""
    (root / "archive").write_bytes(archive)
    with pytest.raises(GridironError) as caught:
        unpack(root / "archive", root / "out" / "in", Meter(limits))
    assert {path.name for path in root.iterdir()} <= {"archive", "out", "again"}
    assert [path.name for path in root.glob("out/*")] == ["in"]
    str(caught.value).encode()  # its sentence can always be written
    assert len(str(caught.value)) < 5000
    return caught.value


def reason(archive: bytes, root: Path) -> object:
    error = refuse(archive, root)
    assert error.code == "archive_invalid", error
    return vars(error)["reason"]


# -- what an entry may not be, in both formats -----------------------------------------------------------

PATHS = [
    (b"/etc/passwd", "bundle_path_escapes"),
    (b"//etc/passwd", "bundle_path_escapes"),
    (b"../a.js", "bundle_path_escapes"),
    (b"lib/../../a.js", "bundle_path_escapes"),
    (b"lib/../a.js", "bundle_path_escapes"),
    (b"..", "bundle_path_escapes"),
    (b"./..", "bundle_path_escapes"),
    (b"C:/a.js", "bundle_path_escapes"),
    (b"c:a.js", "bundle_path_escapes"),
    (b"C:\\a.js", "bundle_path_escapes"),
    (b"lib\\a.js", "bundle_path_invalid"),
    (b"..\\..\\a.js", "bundle_path_invalid"),
    (b"a\nb.js", "bundle_path_invalid"),
    (b"a\x1b[2Jb.js", "bundle_path_invalid"),
    (b"__gridiron.js", "bundle_path_invalid"),
    (b"./__gridiron.js", "bundle_path_invalid"),
    (b"metadata.json/a.js", "bundle_path_invalid"),
    (b"x" * 256, "bundle_path_invalid"),
    (b"/".join([b"x" * 200] * 6), "bundle_path_invalid"),
    (b"\xff.js", "bundle_path_not_utf8"),
    (b"\xed\xa0\x80.js", "bundle_path_not_utf8"),
    (b"index.js", "bundle_path_twice"),
    (b"./index.js", "bundle_path_twice"),
    (b"index.js//", "bundle_path_twice"),
    (b"index.js/a.js", "bundle_path_twice"),
    (b"Index.js", "bundle_path_collides"),
    (b"INDEX.JS/a.js", "bundle_path_collides"),
    (b"node_modules/../../a.js", "bundle_path_escapes"),
    (b"node_modules/\xff", "bundle_path_not_utf8"),
    (b".git/\n", "bundle_path_invalid"),
    (b".", "archive_invalid"),
    (b"", "archive_invalid"),
]


@pytest.mark.parametrize(("path", "code"), PATHS)
def test_a_path_in_a_tar(path: bytes, code: str, tmp_path: Path) -> None:
    kind = b"5" if path.endswith(b"/") else b"0"
    assert refuse(targz(INDEX, tar_pax_entry(path, kind)), tmp_path).code == code


def tar_pax_entry(path: bytes, kind: bytes = b"0", content: bytes = b"") -> bytes:
    return tar_entry(path, content, kind) if len(path) <= 100 else pax({b"path": path}) + tar_entry(b"short")


@pytest.mark.parametrize(("path", "code"), PATHS)
def test_a_path_in_a_zip(path: bytes, code: str, tmp_path: Path) -> None:
    assert refuse(zip_archive(ZIP_INDEX, ZipEntry(path)), tmp_path).code == code


def test_a_file_where_there_is_a_directory(tmp_path: Path) -> None:
    assert refuse(targz(tar_entry(b"a/b.js"), tar_entry(b"a")), tmp_path).code == "bundle_path_twice"


def test_a_path_that_is_twice_among_what_is_passed_over(tmp_path: Path) -> None:
    twice = tar_entry(b"node_modules/a")
    assert refuse(targz(INDEX, twice, twice), tmp_path).code == "bundle_path_twice"


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [
        (b"1", "bundle_has_link", None),
        (b"2", "bundle_has_link", None),
        (b"3", "bundle_has_device", "a device"),
        (b"4", "bundle_has_device", "a device"),
        (b"6", "bundle_has_device", "a named pipe"),
        (b"S", "bundle_has_device", "a sparse file"),
        (b"D", "bundle_has_device", "neither a plain file nor a directory"),
        (b"M", "bundle_has_device", "neither a plain file nor a directory"),
        (b"V", "bundle_has_device", "neither a plain file nor a directory"),
        (b"X", "bundle_has_device", "neither a plain file nor a directory"),
        (b"\xff", "bundle_has_device", "neither a plain file nor a directory"),
    ],
)
@pytest.mark.parametrize("path", ["a.js", "node_modules/.bin/a"])
def test_a_kind_in_a_tar(path: str, kind: bytes, code: str, told: str | None, tmp_path: Path) -> None:
    error = refuse(targz(INDEX, tar_entry(path.encode(), kind=kind)), tmp_path)
    assert (error.code, vars(error)["path"], vars(error).get("kind")) == (code, path, told)


@pytest.mark.parametrize(
    ("mode", "code", "told"),
    [
        (0o120777, "bundle_has_link", None),
        (0o020666, "bundle_has_device", "a device"),
        (0o060666, "bundle_has_device", "a device"),
        (0o010666, "bundle_has_device", "a named pipe"),
        (0o140666, "bundle_has_device", "a socket"),
        (0o170000, "bundle_has_device", "neither a plain file nor a directory"),
    ],
)
@pytest.mark.parametrize("path", ["a.js", "node_modules/.bin/a"])
def test_a_kind_in_a_zip(path: str, mode: int, code: str, told: str | None, tmp_path: Path) -> None:
    error = refuse(zip_archive(ZIP_INDEX, ZipEntry(path.encode(), b"/etc/passwd", mode=mode)), tmp_path)
    assert (error.code, vars(error)["path"], vars(error).get("kind")) == (code, path, told)


@pytest.mark.parametrize("key", [b"GNU.sparse.major", b"GNU.sparse.map", b"GNU.sparse.realsize"])
def test_a_sparse_file_of_pax(key: bytes, tmp_path: Path) -> None:
    assert refuse(targz(pax({key: b"1"}), INDEX), tmp_path).code == "bundle_has_device"


def test_a_name_of_a_zip_that_does_not_say_that_it_is_utf8(tmp_path: Path) -> None:
    archive = zip_archive(ZIP_INDEX, ZipEntry("grüße.txt".encode(), flags=0))
    assert refuse(archive, tmp_path).code == "bundle_path_not_utf8"


def test_what_would_be_a_link_to_write_through(tmp_path: Path) -> None:
    link = tar_header(b"lib", kind=b"2")
    assert refuse(targz(link, tar_entry(b"lib/a.js", b"x")), tmp_path).code == "bundle_has_link"


# -- what is no archive ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty"),
        (b"PK", "it is neither gzip nor zip"),
        (b"export default {};", "it is neither gzip nor zip"),
        (bz2.compress(INDEX + END), "it is packed with bzip2"),
        (lzma.compress(INDEX + END), "it is packed with xz"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "it is packed with Zstandard"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "it is a 7-Zip archive"),
        (b"Rar!\x1a\x07\x01\x00", "it is a RAR archive"),
        (INDEX + END, "it is a tar archive that is not packed with gzip"),
        (b"\n<!DOCTYPE html>\n<title>Sign in</title>", "it is an HTML page"),
        (b"<html lang=en>", "it is an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is an XML document"),
        (b'{"message": "Not Found"}', "it looks like JSON"),
        (gzipped(b""), "it is cut off"),
        (gzipped(b"export default {};"), "it is cut off"),
        (gzipped(b"export default {};\n" * 100), "what gzip packed is no tar archive"),
        (gzipped(gzipped(INDEX + END) + bytes(600)), "what gzip packed is no tar archive"),
        (targz(), "it has no file that may be part of a bundle"),
        (zip_archive(), "it has no file that may be part of a bundle"),
        (targz(tar_entry(b"lib/", kind=b"5")), "it has no file that may be part of a bundle"),
        (targz(tar_entry(b".git/config", b"x")), "it has no file that may be part of a bundle"),
    ],
)
def test_what_is_no_archive_of_a_bundle(content: bytes, told: str, tmp_path: Path) -> None:
    assert reason(content, tmp_path) == told


# -- damage ----------------------------------------------------------------------------------------------

LONG = tar_entry(b"index.js", os.urandom(100_000))
WHOLE = targz(LONG)


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (WHOLE[:-1], "it is cut off"),
        (WHOLE[:-9], "it is cut off"),
        (WHOLE[:50_000], "it is cut off"),
        (WHOLE[:5], "it is cut off"),
        (WHOLE[:-8] + b"\0\0\0\0" + WHOLE[-4:], "it is damaged, or something else follows its end"),
        (WHOLE[:-4] + b"\0\0\0\1", "it is damaged, or something else follows its end"),
        (WHOLE + b"garbage", "it is damaged, or something else follows its end"),
        (WHOLE + WHOLE, "something follows its end"),
        (gzipped(INDEX), "it is cut off"),
        (gzipped(INDEX + bytes(100)), "it is cut off"),
        (gzipped(INDEX[:BLOCK]), "it is cut off"),
        (gzipped(INDEX + END + b"garbage"), "something follows its end"),
        (gzipped(INDEX + END + INDEX + END), "something follows its end"),
        (targz(INDEX, b"garbage".ljust(BLOCK, b"!")), "it is damaged"),
        (targz(INDEX, INDEX.replace(b"index.js", b"other.js", 1)), "it is damaged"),
        (targz(INDEX, pax({b"path": b"a.js"})), "it is cut off"),
        (targz(tar_header(b"lib/", 5, b"5"), padded(b"12345"), INDEX), "a directory in it has content"),
        (targz(tar_header(b"lib/", 5, b"0"), padded(b"12345"), INDEX), "a directory in it has content"),
        (targz(tar_header(b"a.js", b"\xff" * 12)), "what gzip packed is no tar archive"),
        (targz(tar_header(b"a.js", b"-1234567890\0")), "what gzip packed is no tar archive"),
        (targz(tar_header(b"a.js", b"0x123456789\0")), "what gzip packed is no tar archive"),
        (targz(tar_entry(b"x", b"99 path=a\n", b"x"), INDEX), "an extended header in it is damaged"),
        (targz(tar_entry(b"x", b"0 path=a\n", b"x"), INDEX), "an extended header in it is damaged"),
        (targz(tar_entry(b"x", b"-1 path=a\n", b"x"), INDEX), "an extended header in it is damaged"),
        (targz(tar_entry(b"x", b"\xb2 path=a\n", b"x"), INDEX), "an extended header in it is damaged"),
        (
            targz(tar_entry(b"x", b"9" * 5000 + b" path=a\n", b"x"), INDEX),
            "an extended header in it is damaged",
        ),
        (targz(tar_entry(b"x", b"7 path\n", b"x"), INDEX), "an extended header in it is damaged"),
        (targz(tar_entry(b"x", b"path", b"x"), INDEX), "an extended header in it is damaged"),
        (targz(pax({b"size": b"-1"}), INDEX), "an extended header in it is damaged"),
        (targz(pax({b"size": b"1_0"}), INDEX), "an extended header in it is damaged"),
        (targz(pax({b"size": b"9" * 5000}), INDEX), "an extended header in it is damaged"),
        (
            targz(pax({b"path": b"a"}, b"g"), INDEX),
            "a header in it gives all entries one path or size",
        ),
    ],
)
def test_a_tar_that_is_damaged(archive: bytes, told: str, tmp_path: Path) -> None:
    assert reason(archive, tmp_path) == told


ZIP = zip_archive(ZIP_INDEX)
ENTRY = ZIP_INDEX.data


def with_offset(offset: int) -> bytes:
    place = ZIP.index(b"PK\1\2") + 42
    return ZIP[:place] + struct.pack("<L", offset) + ZIP[place + 4 :]


def change(entry: ZipEntry, **fields: object) -> ZipEntry:
    return ZipEntry(**{name: getattr(entry, name) for name in entry.__slots__} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (ZIP[:-1], "it is cut off, or something else follows its end"),
        (ZIP[:40], "it is cut off, or something else follows its end"),
        (ZIP + b"garbage", "it is cut off, or something else follows its end"),
        (ZIP + ZIP, "its end does not say where its list of entries is"),
        (ZIP[:4] + b"more" + ZIP[4:], "its end does not say where its list of entries is"),
        (zip_archive(ZIP_INDEX, disk=1), "its end does not say where its list of entries is"),
        (zip_archive(ZIP_INDEX, count=0), "its list of entries is longer than it says"),
        (zip_archive(ZIP_INDEX, count=2), "its list of entries is damaged"),
        (zip_archive(change(ZIP_INDEX, crc=1)), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, size=1)), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, size=99)), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, packed=ENTRY[:-1])), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, packed=ENTRY + b"x")), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, packed=b"\xff\xff")), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, packed=b"")), "an entry in it is damaged"),
        (zip_archive(change(ZIP_INDEX, method=0, packed=b"short")), "an entry in it is damaged"),
        (
            zip_archive(change(ZIP_INDEX, local_name=b"other.js")),
            "an entry in it is not what the list of entries says",
        ),
        (zip_archive(ZIP_INDEX, ZipEntry(b"a.js", offset=3)), "its entries overlap"),
        (zip_archive(ZIP_INDEX, ZipEntry(b"a.js", offset=0)), "its entries overlap"),
        (with_offset(3), "an entry in it is not what the list of entries says"),
        (with_offset(ZIP.index(b"PK\1\2")), "an entry in it is not what the list of entries says"),
        (with_offset(0x7FFFFFFF), "it is cut off"),
        (zip_archive(ZipEntry(b"lib/", b"content"), ZIP_INDEX), "a directory in it has content"),
        (zip_archive(change(ZIP_INDEX, flags=0x801)), "it is encrypted"),
        (zip_archive(change(ZIP_INDEX, flags=0x841)), "it is encrypted"),
        (zip_archive(change(ZIP_INDEX, flags=0x2800)), "it is encrypted"),
        (zip_archive(change(ZIP_INDEX, method=12)), "it is packed with bzip2, not with deflate"),
        (zip_archive(change(ZIP_INDEX, method=93)), "it is packed with Zstandard, not with deflate"),
        (zip_archive(change(ZIP_INDEX, method=99)), "it is packed with method 99, not with deflate"),
        (zip_archive(change(ZIP_INDEX, size=0xFFFFFFFF)), None),
        (with_offset(0xFFFFFFFF), None),
        (zip_archive(change(ZIP_INDEX, size=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 2**60))), None),
    ],
)
def test_a_zip_that_is_damaged_or_of_a_kind_that_is_not_taken(
    archive: bytes, told: str | None, tmp_path: Path
) -> None:
    zip64 = "it is a zip64, as for 65535 entries or 4 GiB, which only .tar.gz may have"
    assert reason(archive, tmp_path) == (told or zip64)


# -- bombs -----------------------------------------------------------------------------------------------


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Hold what is done here below 8 MiB of memory."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


def bomb(archive: bytes, root: Path, limits: Limits = LIMITS) -> str:
    with bounded_memory():
        return refuse(archive, root, limits).code


def gzip_zeros(size: int, before: bytes = b"") -> bytes:
    """Pack `before` and then so many zeros, without having them in memory."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [pack.compress(before)]
    packed += (pack.compress(bytes(MIB)) for _ in range(size // MIB))
    return b"".join([*packed, pack.flush()])


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(tar_header(b"a.bin", 1024 * MIB), id="a file that says how large it is"),
        pytest.param(tar_header(b".git/a", 1024 * MIB), id="a file that is passed over"),
        pytest.param(tar_header(b"a", b"\x80" + b"\xff" * 11), id="a file as large as base 256 can say"),
        pytest.param(pax({b"size": b"9" * 20}) + tar_header(b"a"), id="a file as large as pax can say"),
        pytest.param(INDEX + END, id="zeros after the end"),
        pytest.param(b"", id="nothing but zeros"),
        pytest.param(tar_header(b"a.bin", 20 * MIB), id="a file that fits, and what follows"),
    ],
)
def test_a_tar_that_unpacks_to_too_much(before: bytes, tmp_path: Path) -> None:
    assert bomb(gzip_zeros(64 * MIB, before), tmp_path) == "source_too_large"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [MIB, 8 * 1024 * MIB - 1])
def test_an_extended_header_of_any_size(kind: bytes, size: int, tmp_path: Path) -> None:
    assert bomb(gzip_zeros(64 * MIB, tar_header(b"x", size, kind)), tmp_path) == "archive_invalid"


@pytest.mark.parametrize(
    "extended",
    [
        pytest.param(tar_entry(b"x", b"", b"L"), id="long names"),
        pytest.param(pax({b"comment": b"x" * 400}), id="pax"),
        pytest.param(pax({b"comment": b"x" * 400}, b"g"), id="global pax"),
    ],
)
def test_extended_headers_without_end(extended: bytes, tmp_path: Path) -> None:
    assert bomb(targz(*[extended] * 3000, INDEX), tmp_path) == "archive_invalid"


def test_an_extended_header_with_as_many_records_as_fit(tmp_path: Path) -> None:
    records = tar_entry(b"x", b"10 path=a\n" * 100_000, b"x")
    assert bomb(targz(records, INDEX, records, INDEX), tmp_path) == "bundle_path_twice"


@pytest.mark.parametrize(
    "name", [b"./", b"lib/", b".git/%d", b"%d.js", b"%d/a/b/c/d/e/f.js", b"node_modules/%d"]
)
def test_a_tar_of_more_entries_than_a_source_may_have(name: bytes, tmp_path: Path) -> None:
    kind = b"5" if name.endswith(b"/") else b"0"
    entries = [tar_entry(name % number if b"%" in name else name, b"", kind) for number in range(1001)]
    assert bomb(targz(*entries), tmp_path) == "source_has_too_many_files"


def test_directories_that_only_paths_name_count(tmp_path: Path) -> None:
    entries = [tar_entry(b"%d/" % number + b"/".join([b"d"] * 40) + b"/a.js") for number in range(100)]
    assert bomb(targz(*entries), tmp_path) == "source_has_too_many_files"


def test_long_names_take_little_memory(tmp_path: Path) -> None:
    limits = Limits(size=64 * MIB, files=10_000, time=timedelta(minutes=1))
    names = (b".git/%05d" % number + b"x" * 240 + b"/a.js" for number in range(5000))
    entries = [tar_entry(b"x", name + b"\0", b"L") + tar_entry(b"short") for name in names]
    assert bomb(targz(*entries), tmp_path, limits) == "source_has_too_many_files"


def test_members_of_gzip_without_content(tmp_path: Path) -> None:
    assert bomb(gzip.compress(b"") * 20_000, tmp_path) == "archive_invalid"


def test_a_zip_that_says_how_large_it_is(tmp_path: Path) -> None:
    entry = ZipEntry(b"a.bin", packed=gzip_zeros(64 * MIB)[10:-8], size=64 * MIB)
    assert bomb(zip_archive(entry), tmp_path) == "source_too_large"
    assert list((tmp_path / "out" / "in").iterdir()) == []


def test_a_zip_that_says_less_than_there_is(tmp_path: Path) -> None:
    entry = ZipEntry(b"a.bin", packed=gzip_zeros(64 * MIB)[10:-8], size=MIB)
    assert bomb(zip_archive(entry), tmp_path) == "archive_invalid"


@pytest.mark.parametrize("path", [b"%d.bin", b".git/%d"])
def test_a_zip_of_files_that_are_too_much_together(path: bytes, tmp_path: Path) -> None:
    content = bytes(5 * MIB)
    entries = [ZipEntry(path % number, content) for number in range(7)]
    assert bomb(zip_archive(*entries), tmp_path) == "source_too_large"


def test_a_zip_whose_entries_are_the_same_bytes(tmp_path: Path) -> None:
    whole = ZipEntry(b"a.bin", bytes(MIB))
    entries = [whole, *(ZipEntry(b"%d.bin" % number, bytes(MIB), offset=0) for number in range(900))]
    assert bomb(zip_archive(*entries), tmp_path) == "archive_invalid"


@pytest.mark.parametrize(
    "name", [b"./", b"lib/", b".git/%d", b"%d.js", b"%d/a/b/c/d/e/f.js", b"node_modules/%d"]
)
def test_a_zip_of_more_entries_than_a_source_may_have(name: bytes, tmp_path: Path) -> None:
    entries = [ZipEntry(name % number if b"%" in name else name) for number in range(1001)]
    assert bomb(zip_archive(*entries), tmp_path) == "source_has_too_many_files"


def test_a_zip_of_more_entries_than_it_can_say(tmp_path: Path) -> None:
    archive = zip_archive(ZIP_INDEX, count=0xFFFF)
    assert bomb(archive, tmp_path) == "source_has_too_many_files"
    (tmp_path / "again").mkdir()
    unlimited = Limits(size=MIB, files=1_000_000, time=timedelta(minutes=1))
    assert bomb(archive, tmp_path / "again", unlimited) == "archive_invalid"


def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    inner = gzip_zeros(64 * MIB)
    (tmp_path / "archive").write_bytes(targz(tar_entry(b"inner.bin", inner)))
    unpack(tmp_path / "archive", tmp_path / "out", Meter(LIMITS))
    assert (tmp_path / "out" / "inner.bin").read_bytes() == inner


# -- what is no fault of the archive ---------------------------------------------------------------------


@pytest.mark.parametrize("archive", [WHOLE, zip_archive(ZipEntry(b"a.bin", os.urandom(200_000)))])
def test_an_archive_that_takes_too_long(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(archive)
    ticks = count()
    limits = Limits(size=MIB, files=10, time=timedelta(seconds=4))
    with pytest.raises(SourceTooSlow):
        unpack(tmp_path / "archive", tmp_path / "out", Meter(limits, clock=lambda: next(ticks)))


def test_a_zip_that_takes_long_and_unpacks_to_nothing(tmp_path: Path) -> None:
    blocks = b"\0\0\0\xff\xff" * 100_000 + zlib.compress(b"", 9)[2:-4]  # stored blocks of no bytes
    (tmp_path / "archive").write_bytes(zip_archive(ZipEntry(b"a.bin", packed=blocks)))
    ticks = count()
    limits = Limits(size=MIB, files=10, time=timedelta(seconds=5))
    with pytest.raises(SourceTooSlow):
        unpack(tmp_path / "archive", tmp_path / "out", Meter(limits, clock=lambda: next(ticks)))


@pytest.mark.parametrize("archive", [targz(INDEX), ZIP])
def test_a_directory_that_is_not_empty(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(archive)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.js").symlink_to("../elsewhere")
    with pytest.raises(StorageFailed) as caught:
        unpack(tmp_path / "archive", tmp_path / "out", Meter(LIMITS))
    assert caught.value.reason == "it is not empty"
    assert not (tmp_path / "elsewhere").exists()


def test_an_archive_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed) as caught:
        unpack(tmp_path / "archive", tmp_path / "out", Meter(LIMITS))
    assert vars(caught.value) == {
        "action": "Reading",
        "path": str(tmp_path / "archive"),
        "reason": "No such file or directory",
    }


@pytest.mark.parametrize("archive", [targz(LONG), zip_archive(ZipEntry(b"a/b.bin", os.urandom(200_000)))])
def test_a_disk_that_is_full(archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(archive)
    with small_files(), pytest.raises(StorageFailed) as caught:
        unpack(tmp_path / "archive", tmp_path / "out", Meter(LIMITS))
    assert (caught.value.action, caught.value.reason) == ("Writing", "File too large")


@contextmanager
def small_files() -> Iterator[None]:
    """Let no file grow over 8 KiB, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
