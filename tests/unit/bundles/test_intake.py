from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gridiron.bundles.intake import Intake, Policy, Wanted
from gridiron.bundles.signature import KeyPair, create_key, sign
from gridiron.bundles.source import S3Source
from gridiron.bundles.store import BundleStore
from gridiron.ed25519 import parse_private_key
from gridiron.errors import (
    ArchiveInvalid,
    BundleHasLink,
    DigestMismatch,
    KeyInvalid,
    ManagerStopping,
    SignatureInvalid,
    SignatureMissing,
    SourceHasTooManyFiles,
    SourceMissing,
    SourceOutsideRoots,
    SourcePrivate,
    SourceRefused,
    SourceTooLarge,
    SourceTooSlow,
    SourceUnreadable,
    UploadNotFound,
)
from gridiron.model import Signature
from gridiron.settings import load_settings
from tests.values import make_build

SOURCE = "export default {}"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "index.js").write_text(SOURCE)
    (directory / "metadata.json").write_text('{"name": "demo"}')
    return directory


@pytest.fixture
def archive(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.make_archive(str(tmp_path / "bundle"), "gztar", tree))


def make_intake(tmp_path: Path, **settings: Any) -> Intake:
    loaded = load_settings(data_dir=tmp_path / "data", **{"source_roots": str(tmp_path), **settings})
    store = BundleStore(loaded.bundles_dir)
    store.prepare()
    return Intake(store, Policy.of(loaded))


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return make_intake(tmp_path)


def left_in_staging(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "data" / "bundles" / ".staging").iterdir())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def send(intake: Intake, archive: Path) -> str:
    sha256 = digest(archive)
    with intake.uploads.receive(sha256) as receiving:
        receiving.write(archive.read_bytes())
        receiving.keep()
    return f"bundle:{sha256}"


def test_a_directory_an_archive_and_an_upload_give_the_same_content(
    intake: Intake, tree: Path, archive: Path, tmp_path: Path
) -> None:
    directory = intake.take_in(Wanted(tree.as_uri()))
    packed = intake.take_in(Wanted(archive.as_uri()))
    sent = intake.take_in(Wanted(send(intake, archive)))
    assert directory.sha256 == packed.sha256 == sent.sha256
    assert directory.modules == packed.modules == sent.modules
    assert directory.archive_sha256 is None
    assert packed.archive_sha256 == sent.archive_sha256 == digest(archive)
    for staged in (directory, packed, sent):
        assert [path.name for path in staged.directory.iterdir()] == ["index.js"]
        assert (staged.directory / "index.js").read_text() == SOURCE
    assert left_in_staging(tmp_path) == sorted(each.directory.name for each in (directory, packed, sent)), (
        "the workplaces are gone"
    )
    assert (tree / "index.js").is_file(), "a source that is not ours stays"


def test_a_digest_that_is_asked_for_and_is_right(intake: Intake, tree: Path, archive: Path) -> None:
    content = intake.take_in(Wanted(tree.as_uri())).sha256
    assert intake.take_in(Wanted(tree.as_uri(), content)).sha256 == content
    assert intake.take_in(Wanted(archive.as_uri(), digest(archive))).sha256 == content


@pytest.mark.parametrize("kind", ["directory", "archive", "archive by its content"])
def test_a_digest_that_is_asked_for_and_is_wrong(
    intake: Intake, tree: Path, archive: Path, tmp_path: Path, kind: str
) -> None:
    content = intake.take_in(Wanted(tree.as_uri()))
    source, wrong, actual = {
        "directory": (tree.as_uri(), "0" * 64, content.sha256),
        "archive": (archive.as_uri(), "0" * 64, digest(archive)),
        "archive by its content": (archive.as_uri(), content.sha256, digest(archive)),
    }[kind]
    with pytest.raises(DigestMismatch) as caught:
        intake.take_in(Wanted(source, wrong))
    assert vars(caught.value) == {"expected": wrong, "actual": actual}
    assert left_in_staging(tmp_path) == [content.directory.name]


def test_an_archive_that_is_not_the_right_one_is_not_even_unpacked(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no archive")
    with pytest.raises(DigestMismatch):
        intake.take_in(Wanted((tmp_path / "no.zip").as_uri(), "0" * 64))
    with pytest.raises(ArchiveInvalid):
        intake.take_in(Wanted((tmp_path / "no.zip").as_uri()))
    assert left_in_staging(tmp_path) == []


def test_what_was_never_sent(intake: Intake) -> None:
    with pytest.raises(UploadNotFound):
        intake.take_in(Wanted(f"bundle:{'0' * 64}"))


def test_a_file_source_has_to_be_below_a_root(tmp_path: Path, tree: Path) -> None:
    roots = f"{tmp_path / 'other'}:{tmp_path / 'source'}"
    intake = make_intake(tmp_path, source_roots=roots)
    (tmp_path / "other").mkdir()
    shutil.copytree(tree, tmp_path / "source2")
    (tmp_path / "other" / "link").symlink_to(tmp_path / "source2")
    (tmp_path / "link").symlink_to(tree)
    assert intake.take_in(Wanted(tree.as_uri()))
    assert intake.take_in(Wanted((tmp_path / "link").as_uri())), "where it leads is what counts"
    outside = ["source2", "other/link", "other/../source2", "source2/missing", "missing"]
    for path in outside:
        with pytest.raises(SourceOutsideRoots) as caught:
            intake.take_in(Wanted(f"file://{tmp_path}/{path}"))
        assert caught.value.path == str(tmp_path / path)
    with pytest.raises(SourceMissing):
        intake.take_in(Wanted((tmp_path / "other" / "missing").as_uri()))


def test_a_node_with_no_roots_takes_nothing_from_its_disk(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(SourceOutsideRoots):
        make_intake(tmp_path, source_roots=()).take_in(Wanted(tree.as_uri()))


def test_a_source_with_too_many_files(tmp_path: Path, tree: Path, archive: Path) -> None:
    intake = make_intake(tmp_path, source_files=1)
    for path in (tree, archive):
        with pytest.raises(SourceHasTooManyFiles):
            intake.take_in(Wanted(path.as_uri()))
    assert left_in_staging(tmp_path) == []


def test_an_archive_that_is_too_large_packed_or_unpacked(tmp_path: Path) -> None:
    intake = make_intake(tmp_path, source_mib=1)
    large = tmp_path / "large"
    large.mkdir()
    (large / "index.js").write_bytes(bytes(1024 * 1024 + 1))
    with tarfile.open(tmp_path / "small.tar.gz", "w:gz") as tar:
        tar.add(large / "index.js", "index.js")
    (tmp_path / "large.tar.gz").write_bytes(bytes(1024 * 1024 + 1))
    for name in ("small.tar.gz", "large.tar.gz"):
        with pytest.raises(SourceTooLarge):
            intake.take_in(Wanted((tmp_path / name).as_uri()))
    assert left_in_staging(tmp_path) == []


def test_what_comes_in_is_reported(intake: Intake, archive: Path) -> None:
    seen: list[int] = []
    intake.take_in(Wanted(archive.as_uri()), lambda done, _total: seen.append(done))
    assert archive.stat().st_size in seen


def test_nothing_comes_in_any_more_when_the_process_is_to_end(
    intake: Intake, tree: Path, archive: Path, tmp_path: Path
) -> None:
    intake.stop()
    for path in (tree, archive):
        with pytest.raises(ManagerStopping):
            intake.take_in(Wanted(path.as_uri()))
    assert left_in_staging(tmp_path) == []


# -- signatures ------------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    """A key that is trusted."""
    made = create_key()
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "one.pub").write_bytes(made.public)
    return made


def sign_with(key: KeyPair, sha256: str) -> str:
    return sign(parse_private_key("key", key.private), sha256)


def trusting(tmp_path: Path, **more: Any) -> Intake:
    return make_intake(tmp_path, trusted_keys=tmp_path / "trusted", **more)


def test_what_a_trusted_key_signed_comes_in_and_says_so(
    tmp_path: Path, tree: Path, archive: Path, key: KeyPair
) -> None:
    intake = trusting(tmp_path, require_signature=True)
    content = make_intake(tmp_path).take_in(Wanted(tree.as_uri())).sha256
    for path, sha256 in ((tree, content), (archive, digest(archive))):
        text = sign_with(key, sha256)
        staged = intake.take_in(Wanted(path.as_uri(), signature=text))
        assert staged.signature == Signature(key_id=key.key_id, text=text)


@pytest.mark.usefixtures("key")
def test_a_node_that_wants_signatures_takes_nothing_without(
    tmp_path: Path, tree: Path, archive: Path
) -> None:
    intake = trusting(tmp_path, require_signature=True)
    for path in (tree, archive):
        with pytest.raises(SignatureMissing):
            intake.take_in(Wanted(path.as_uri()))
    assert trusting(tmp_path).take_in(Wanted(tree.as_uri())).signature is None


def test_a_signature_that_does_not_hold_is_refused_even_where_none_is_wanted(
    tmp_path: Path, tree: Path, archive: Path, key: KeyPair
) -> None:
    right, other = sign_with(key, digest(archive)), sign_with(create_key(), digest(archive))
    cases = [
        (trusting(tmp_path), archive, other),
        (trusting(tmp_path), archive, "no signature"),
        (trusting(tmp_path), tree, right),
        (make_intake(tmp_path), archive, right),
    ]
    for intake, path, text in cases:
        with pytest.raises(SignatureInvalid):
            intake.take_in(Wanted(path.as_uri(), signature=text))
    assert left_in_staging(tmp_path) == []


def test_a_stored_build_is_held_to_the_keys_of_now(tmp_path: Path, key: KeyPair) -> None:
    sha256 = "5" * 64
    signature = Signature(key_id=key.key_id, text=sign_with(key, sha256))
    signed = make_build("1", 1).model_copy(update={"sha256": sha256, "signature": signature})
    packed = signed.model_copy(update={"archive_sha256": sha256, "sha256": "6" * 64})
    for build in (signed, packed):
        trusting(tmp_path, require_signature=True).check_again(build)
    make_intake(tmp_path).check_again(make_build("1", 1))
    with pytest.raises(SignatureMissing):
        trusting(tmp_path, require_signature=True).check_again(make_build("1", 1))
    (tmp_path / "trusted" / "one.pub").write_bytes(create_key().public)
    with pytest.raises(SignatureInvalid):
        trusting(tmp_path, require_signature=True).check_again(signed)


def test_a_key_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid):
        make_intake(tmp_path, trusted_keys=tmp_path / "nowhere")


@pytest.mark.parametrize("path", ["n" * 300, "d/" * 3000])
def test_a_path_that_no_disk_has_is_the_callers_fault(intake: Intake, tmp_path: Path, path: str) -> None:
    with pytest.raises(SourceUnreadable):
        intake.take_in(Wanted((tmp_path / path).as_uri()))
    assert left_in_staging(tmp_path) == []


def test_links_that_lead_to_each_other_are_refused(intake: Intake, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises((BundleHasLink, SourceUnreadable)):  # by the version of Python
        intake.take_in(Wanted((tmp_path / "one").as_uri()))


@pytest.mark.parametrize("packed", [False, True])
def test_rules_take_no_more_time_than_a_source_may(tmp_path: Path, tree: Path, *, packed: bool) -> None:
    intake = make_intake(tmp_path, source_seconds=1)
    rules = [{"type": "text", "globs": ["*a*b*c"] * 50_000}]  # for each file some tenths of a second
    (tree / "metadata.json").write_text(json.dumps({"rules": rules}))
    for number in range(100):
        (tree / f"{number}.txt").touch()
    source = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", tree)) if packed else tree
    with pytest.raises(SourceTooSlow):
        intake.take_in(Wanted(source.as_uri()))
    assert left_in_staging(tmp_path) == []


CLUSTER = {"address": "10.99.0.1", "peers": ["10.99.0.2"], "bucket": "s3://bundles/mesh"}


@pytest.mark.parametrize("key", ["mesh", "mesh/", "mesh/builds/demo/1-1", "", "mesh/shared/tokens.json"])
def test_what_a_cluster_keeps_in_its_bucket_is_no_source(tmp_path: Path, key: str) -> None:
    intake = make_intake(tmp_path, node_name="n1", cluster=CLUSTER)
    with pytest.raises(SourcePrivate):
        intake.fetch(S3Source("bundles", key))
    assert left_in_staging(tmp_path) == []


@pytest.mark.parametrize("source", [S3Source("bundles", "meshes/demo"), S3Source("bundle", "s/mesh")])
def test_what_lies_beside_it_is_a_source(tmp_path: Path, source: S3Source) -> None:
    intake = make_intake(tmp_path, node_name="n1", cluster=CLUSTER, s3_endpoint="no server")
    with pytest.raises(SourceRefused, match="is no URL of a server"):
        intake.fetch(source)
