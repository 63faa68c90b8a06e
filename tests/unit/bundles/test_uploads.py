from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.bundles.limits import Limits
from gridiron.bundles.uploads import KEPT, Uploads
from gridiron.errors import DigestMismatch, SourceTooLarge, UploadNotFound

LIMITS = Limits(size=100, files=10, time=timedelta(seconds=10))
NOW = 1_800_000_000.0


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "kept", tmp_path / "staging", LIMITS, clock=lambda: NOW, max_kept_size=250)


def send(uploads: Uploads, *pieces: bytes, age: float = 0) -> tuple[str, bool]:
    sha256 = hashlib.sha256(b"".join(pieces)).hexdigest()
    with uploads.receive(sha256) as receiving:
        for piece in pieces:
            receiving.write(piece)
        is_new = receiving.keep()
    os.utime(uploads.find(sha256), (NOW - age, NOW - age))
    return sha256, is_new


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_was_sent_is_found_by_its_digest(uploads: Uploads, tmp_path: Path) -> None:
    sha256, is_new = send(uploads, b"an ", b"archive")
    assert is_new
    assert uploads.find(sha256).read_bytes() == b"an archive"
    assert left_in(tmp_path / "staging") == []


def test_the_same_again_is_not_new(uploads: Uploads, tmp_path: Path) -> None:
    first, _ = send(uploads, b"an archive")
    assert send(uploads, b"an archive") == (first, False)
    assert left_in(tmp_path / "kept") == [first]


def test_what_was_never_sent(uploads: Uploads) -> None:
    with pytest.raises(UploadNotFound) as caught:
        uploads.find("0" * 64)
    assert caught.value.sha256 == "0" * 64


def test_what_is_not_what_it_was_to_be_is_not_kept(uploads: Uploads, tmp_path: Path) -> None:
    with uploads.receive("0" * 64) as receiving:
        receiving.write(b"else")
        with pytest.raises(DigestMismatch) as caught:
            receiving.keep()
    assert vars(caught.value) == {"expected": "0" * 64, "actual": hashlib.sha256(b"else").hexdigest()}
    assert left_in(tmp_path / "staging") == left_in(tmp_path / "kept") == []


def test_what_breaks_off_is_not_kept(uploads: Uploads, tmp_path: Path) -> None:
    with uploads.receive("0" * 64) as receiving:
        receiving.write(b"half of")
    assert left_in(tmp_path / "staging") == left_in(tmp_path / "kept") == []


def test_what_is_too_large_is_refused_as_soon_as_that_is_known(uploads: Uploads, tmp_path: Path) -> None:
    with pytest.raises(SourceTooLarge):
        uploads.receive("0" * 64, announced=101)
    with uploads.receive("0" * 64) as receiving:
        receiving.write(b"a" * 100)
        with pytest.raises(SourceTooLarge):
            receiving.write(b"a")
    assert left_in(tmp_path / "staging") == []


def test_what_was_sent_long_ago_is_removed(uploads: Uploads, tmp_path: Path) -> None:
    send(uploads, b"old", age=KEPT.total_seconds() + 1)
    young, _ = send(uploads, b"young", age=KEPT.total_seconds() - 1)
    uploads.remove_old()
    assert left_in(tmp_path / "kept") == [young]


def test_the_oldest_goes_when_there_is_too_much(uploads: Uploads, tmp_path: Path) -> None:
    send(uploads, b"a" * 100, age=30)
    kept = [send(uploads, b"b" * 100, age=20)[0], send(uploads, b"c" * 100, age=10)[0]]
    uploads.remove_old()
    assert left_in(tmp_path / "kept") == sorted(kept)


def test_what_just_came_stays_although_it_alone_is_too_much(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path / "kept", tmp_path / "staging", LIMITS, clock=lambda: NOW, max_kept_size=1)
    send(uploads, b"one", age=1)
    newest, _ = send(uploads, b"two")
    assert left_in(tmp_path / "kept") == [newest]
    uploads.remove_old()
    assert left_in(tmp_path / "kept") == [newest]


def test_room_is_made_for_what_comes(uploads: Uploads, tmp_path: Path) -> None:
    send(uploads, b"a" * 100, age=20)
    kept = [send(uploads, b"b" * 100, age=10)[0], send(uploads, b"c" * 100)[0]]
    assert left_in(tmp_path / "kept") == sorted(kept)


def test_nothing_was_ever_sent(uploads: Uploads) -> None:
    uploads.remove_old()
