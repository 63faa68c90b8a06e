from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gridiron.bundles.digest import digest_of
from gridiron.bundles.manifest import MAX_MANIFEST_SIZE
from gridiron.bundles.store import BundleStore, Staged
from gridiron.errors import (
    BuildNotFound,
    BundleEmpty,
    BundlesElsewhere,
    DigestMismatch,
    GridironError,
    MainModuleMissing,
    ManifestInvalid,
    SourceMissing,
    StorageFailed,
)
from gridiron.lifecycle.observation import Damaged, Inventory, Mark
from gridiron.model import Build, Compatibility, Manifest, Module, ModuleKind
from tests.files import write
from tests.values import make_build

FILES = {
    "index.js": b"export default {};\n",
    "lib/deep/core.wasm": bytes(range(256)) * 10_000,  # more than one chunk
    "data.json": b"{}",
    "README.md": b"# no part of it",
    "wrangler.toml": b'name = "greeter"\nvars = { A = "b" }\n',
}
NOT_SEEN = b'{"main": "node_modules/a.js"}'
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
MODULES = (
    Module(name="data.json", kind=ModuleKind.JSON, size=2, sha256=SHA256["data.json"]),
    Module(name="index.js", kind=ModuleKind.JS, size=19, sha256=SHA256["index.js"]),
    Module(
        name="lib/deep/core.wasm", kind=ModuleKind.WASM, size=2_560_000, sha256=SHA256["lib/deep/core.wasm"]
    ),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", FILES)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "bundles"


@pytest.fixture
def store(root: Path) -> BundleStore:
    store = BundleStore(root)
    store.prepare()
    return store


def plan(staged: Staged, timestamp: int = 1, name: str = "greeter", version: str = "1.0.0") -> Build:
    return Build(
        name=name,
        version=version,
        timestamp=timestamp,
        created_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        source="file:///somewhere",
        sha256=staged.sha256,
        main=staged.manifest.main,
        modules=staged.modules,
        compatibility=staged.manifest.compatibility,
        vars=staged.manifest.vars,
        rules=staged.manifest.rules,
    )


def add(store: BundleStore, source: Path, timestamp: int = 1, name: str = "greeter") -> Build:
    staged = store.stage(source)
    build = plan(staged, timestamp, name)
    store.publish(staged, build)
    return build


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def nothing_in(root: Path) -> bool:
    return sorted(root.rglob("*")) == [root / ".staging", root / ".store"]


def staging(root: Path) -> list[Path]:
    return sorted((root / ".staging").iterdir())


# -- staging ---------------------------------------------------------------------------------------------


def test_what_is_staged(store: BundleStore, root: Path, source: Path) -> None:
    staged = store.stage(source)
    in_digest = FILES.keys() - {"README.md"}
    assert staged == Staged(
        directory=staged.directory,
        sha256=digest_of((name, SHA256[name]) for name in in_digest),
        manifest=Manifest(name="greeter", vars={"A": "b"}),
        modules=MODULES,
        ignored=("README.md",),
        manifests={name: SHA256[name] for name in in_digest - {module.name for module in MODULES}},
    )
    assert [staged.directory] == staging(root)
    assert content(staged.directory) == {module.name: FILES[module.name] for module in MODULES}


def test_the_same_content_has_the_same_digest_wherever_it_lies(
    store: BundleStore, source: Path, tmp_path: Path
) -> None:
    first = store.stage(source)
    second = store.stage(write(tmp_path / "other", {**FILES, "README.md": b"else", ".env": b"A=b"}))
    assert first.sha256 == second.sha256
    assert first.directory != second.directory


@pytest.mark.parametrize("name", ["index.js", "wrangler.toml"])
def test_other_content_has_another_digest(name: str, store: BundleStore, source: Path) -> None:
    first = store.stage(source)
    (source / name).write_bytes(FILES[name] + b"\n")
    assert store.stage(source).sha256 != first.sha256


def test_discarding_is_safe_to_repeat(store: BundleStore, root: Path, source: Path) -> None:
    staged = store.stage(source)
    store.discard(staged)
    store.discard(staged)
    assert staging(root) == []


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, SourceMissing),
        ({"README.md": b""}, BundleEmpty),
        ({"other.js": b""}, MainModuleMissing),
        ({"index.js": b"", "metadata.json": b'{"main": "main.js"}'}, MainModuleMissing),
        ({"node_modules/a.js": b"", "a.js": b"", "metadata.json": NOT_SEEN}, MainModuleMissing),
        ({"index.js": b"", "metadata.json": b"{"}, ManifestInvalid),
        ({"index.js": b"", "wrangler.toml": b"#" * (MAX_MANIFEST_SIZE + 1)}, ManifestInvalid),
    ],
)
def test_what_cannot_be_staged_leaves_nothing(
    files: dict[str, bytes], error: type[GridironError], store: BundleStore, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(error):
        store.stage(write(tmp_path / "bad", files))
    assert nothing_in(root)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, which to a writer is the same as a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_leaves_nothing(store: BundleStore, root: Path, source: Path) -> None:
    with full_disk(1_000_000), pytest.raises(StorageFailed) as caught:
        store.stage(source)
    error = caught.value
    assert (error.action, error.reason) == ("Writing", "File too large")
    assert error.path.endswith("/lib/deep/core.wasm")
    assert staging(root) == []


# -- publishing ------------------------------------------------------------------------------------------


def test_a_published_build(store: BundleStore, root: Path, source: Path) -> None:
    staged = store.stage(source)
    build = plan(staged)
    directory = store.publish(staged, build)
    assert directory == root / "greeter-1.0.0-1"
    stored = content(directory)
    assert json.loads(stored.pop("metadata.json")) == build.model_dump(mode="json")
    assert stored.pop(".mark") == b"activating"
    assert stored == {module.name: FILES[module.name] for module in MODULES}
    assert store.list_builds() == (build,)
    assert staging(root) == []
    store.discard(staged)  # what was published stays
    store.verify(build)


def test_sealed_secrets_are_stored_as_they_are(store: BundleStore, source: Path) -> None:
    staged = store.stage(source)
    build = plan(staged)
    directory = store.publish(staged, build, b"\x00sealed")
    assert content(directory)["secrets.sealed"] == b"\x00sealed"
    assert store.fetch_sealed(build.build_id) == b"\x00sealed"
    again = store.stage_again(build)
    assert (again.modules, again.ignored) == (build.modules, ())
    assert "secrets.sealed" not in content(again.directory)  # it is of that one build
    store.discard(again)
    assert store.stage(directory).ignored == (".mark", "secrets.sealed")
    (directory / "secrets.sealed").unlink()
    with pytest.raises(StorageFailed, match=r"Reading .*secrets\.sealed failed: No such file"):
        store.fetch_sealed(build.build_id)


def test_a_build_is_never_replaced(store: BundleStore, root: Path, source: Path) -> None:
    first = add(store, source)
    staged = store.stage(source)
    with pytest.raises(StorageFailed) as caught:
        store.publish(staged, plan(staged))
    assert vars(caught.value) == {
        "action": "Storing",
        "path": str(root / "greeter-1.0.0-1"),
        "reason": "there is a build of this id already",
    }
    assert store.list_builds() == (first,)


def test_a_disk_that_is_full_at_the_last_step_leaves_no_build(
    store: BundleStore, root: Path, source: Path
) -> None:
    staged = store.stage(source)
    with full_disk(10), pytest.raises(StorageFailed):
        store.publish(staged, plan(staged))
    assert store.list_builds() == ()
    store.discard(staged)
    assert nothing_in(root)


def test_a_stored_build_can_be_staged_again(store: BundleStore, root: Path, source: Path) -> None:
    build = add(store, source)
    staged = store.stage(root / build.build_id)
    assert staged.modules == build.modules
    assert staged.manifest == Manifest(name="greeter", version="1.0.0", vars={"A": "b"})


# -- reading ---------------------------------------------------------------------------------------------


def test_builds_are_listed_by_timestamp(store: BundleStore, source: Path) -> None:
    builds = [add(store, source, timestamp, name) for timestamp, name in ((10, "b"), (9, "c"), (11, "a"))]
    assert [build.timestamp for build in store.list_builds()] == [9, 10, 11]
    assert sorted(builds, key=lambda build: build.timestamp) == list(store.list_builds())


def test_a_directory_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed) as caught:
        BundleStore(tmp_path / "none").list_builds()
    reason = "No such file or directory"
    assert vars(caught.value) == {
        "action": "Reading",
        "path": str(tmp_path / "none/.store"),
        "reason": reason,
    }


def test_what_cannot_be_read_is_told_beside_the_builds(store: BundleStore, root: Path, source: Path) -> None:
    good = add(store, source)
    add(store, source, 2)
    (root / "greeter-1.0.0-2").rename(root / "greeter-1.0.0-3")
    write(
        root,
        {
            "a-file": b"",
            "empty-1-1/index.js": b"",
            "newer-1-1/metadata.json": json.dumps({**good.model_dump(mode="json"), "more": 1}).encode(),
            "torn-1-1/metadata.json": b'{"name": "torn"',
            "partial-1-1/metadata.json": b'{"name": "partial"}',
            "Wrong-1-1/metadata.json": json.dumps({**good.model_dump(mode="json"), "name": "Wrong"}).encode(),
            ".health-x": b"",
        },
    )
    (root / "loop-1-1").mkdir()
    (root / "loop-1-1" / "metadata.json").symlink_to("metadata.json")
    inventory = store.fetch_inventory()
    reasons = {damaged.build_id: damaged.reason for damaged in inventory.damaged}
    assert inventory.builds == (good,)
    assert reasons.pop("torn-1-1").startswith("metadata.json is damaged: body: Invalid JSON")
    assert reasons.pop("partial-1-1").startswith("metadata.json is damaged: version: Field required; ")
    assert reasons == {
        "a-file": "metadata.json cannot be read: Not a directory",
        "empty-1-1": "it has no metadata.json",
        "newer-1-1": "metadata.json is of a newer Gridiron: this one does not know more",
        "greeter-1.0.0-3": "metadata.json is of greeter-1.0.0-2",
        "Wrong-1-1": "metadata.json is damaged: 'Wrong' is no name of a bundle: "
        "a-z first, then up to 62 of a-z, 0-9 and '-'.",
        "loop-1-1": "metadata.json cannot be read: Too many levels of symbolic links",
    }


def test_a_build_that_is_mended_or_damaged_later_is_read_again(
    store: BundleStore, root: Path, source: Path
) -> None:
    def inventory(builds: tuple[Build, ...] = (), damaged: tuple[Damaged, ...] = ()) -> Inventory:
        return Inventory(store.fetch_identity(), builds, damaged)

    build = add(store, source)
    store.unmark(build.build_id)
    path = root / build.build_id / "metadata.json"
    good = path.read_bytes()
    assert store.fetch_inventory() == inventory((build,))
    path.write_bytes(b"")
    os.utime(path, ns=(1, 1))
    (damaged,) = store.fetch_inventory().damaged
    assert damaged.build_id == build.build_id
    path.write_bytes(good)
    os.utime(path, ns=(2, 2))
    assert store.fetch_inventory() == inventory((build,))
    path.unlink()
    gone = Damaged(build.build_id, "it has no metadata.json")
    assert store.fetch_inventory() == inventory((), (gone,))


def test_a_build_that_did_not_change_is_not_read_again(store: BundleStore, source: Path) -> None:
    add(store, source)
    (first,), (second,) = store.list_builds(), store.list_builds()
    assert first is second


# -- removing --------------------------------------------------------------------------------------------


def test_removing_is_safe_to_repeat(store: BundleStore, root: Path, source: Path) -> None:
    gone, kept = add(store, source), add(store, source, 2)
    store.remove(gone.build_id)
    store.remove(gone.build_id)
    assert store.list_builds() == (kept,)
    assert sorted(path.name for path in root.iterdir()) == [".staging", ".store", kept.build_id]
    assert staging(root) == []


def test_a_damaged_build_can_be_removed(store: BundleStore, root: Path) -> None:
    write(root, {"torn-1-1/metadata.json": b"{"})
    store.remove("torn-1-1")
    assert store.fetch_inventory() == Inventory(store.fetch_identity(), ())


@pytest.mark.parametrize("build_id", ["", ".", "..", "../source", ".staging", "a/../../source", "a\0"])
def test_an_id_that_leads_elsewhere_is_unknown(build_id: str, store: BundleStore, source: Path) -> None:
    with pytest.raises(BuildNotFound) as caught:
        store.remove(build_id)
    assert caught.value.build_id == build_id
    assert content(source) == FILES


def test_the_start_clears_what_a_crash_left(store: BundleStore, root: Path, source: Path) -> None:
    build = add(store, source)
    store.stage(source)
    (root / build.build_id).rename(root / ".staging" / "out-1")
    store.prepare()
    assert nothing_in(root)


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed) as caught:
        BundleStore(tmp_path / "file" / "bundles").prepare()
    assert caught.value.reason == "File exists"


# -- marks -----------------------------------------------------------------------------------------------


def test_a_build_is_marked_from_the_moment_that_it_is_there(store: BundleStore, source: Path) -> None:
    build_id = add(store, source).build_id
    assert store.fetch_inventory().marks == {build_id: Mark.ACTIVATING}
    store.unmark(build_id)
    store.unmark(build_id)
    assert store.fetch_inventory().marks == {}
    for mark in (Mark.RETIRED, Mark.LEAVING, Mark.FORCED):
        store.mark(build_id, mark)
        store.mark(build_id, mark)
        assert store.fetch_inventory().marks == {build_id: mark}


@pytest.mark.parametrize("mark", [Mark.RETIRED, Mark.LEAVING, Mark.FORCED])
def test_a_mark_lasts_with_its_name(
    mark: Mark, store: BundleStore, root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = add(store, source)
    synced, fsync = [], os.fsync

    def spy(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    store.mark(build.build_id, mark)
    assert synced[-1] == root / build.build_id


def test_what_is_gone_is_not_marked(store: BundleStore, root: Path) -> None:
    store.mark("gone-1-1", Mark.RETIRED)
    store.unmark("gone-1-1")
    assert nothing_in(root)


def test_a_mark_that_is_none_says_nothing_of_the_build(store: BundleStore, root: Path, source: Path) -> None:
    build_id = add(store, source).build_id
    for content in (b"nonsense", b"\xff"):
        (root / build_id / ".mark").write_bytes(content)
        inventory = store.fetch_inventory()
        assert inventory.damaged == (Damaged(build_id, ".mark is damaged"),)
        assert inventory.builds == ()


def test_an_empty_mark_was_being_written_when_restate_was_asked(
    store: BundleStore, root: Path, source: Path
) -> None:
    build_id = add(store, source).build_id
    store.mark(build_id, Mark.REGISTERING)
    assert (root / build_id / ".mark").read_text() == "registering"
    (root / build_id / ".mark").write_bytes(b"")  # as a loss of power may leave it
    assert store.fetch_inventory().marks == {build_id: Mark.REGISTERING}


@pytest.mark.parametrize("mark", [Mark.ACTIVATING, Mark.REGISTERING, Mark.LEAVING, Mark.FORCED])
def test_the_builds_of_a_name_are_not_those_that_come_or_go(
    mark: Mark, store: BundleStore, source: Path
) -> None:
    build = add(store, source)
    store.mark(build.build_id, mark)
    assert store.fetch_inventory_of("greeter").list_kept("greeter") == ()
    store.mark(build.build_id, Mark.RETIRED)
    assert store.fetch_inventory_of("greeter").list_kept("greeter") == (build,)


def test_a_mark_is_no_part_of_the_content(store: BundleStore, root: Path, source: Path) -> None:
    build = add(store, source)
    assert store.stage(root / build.build_id).modules == build.modules


# -- identity --------------------------------------------------------------------------------------------


def test_a_directory_keeps_its_identity(store: BundleStore, root: Path) -> None:
    identity = store.fetch_identity()
    assert BundleStore(root).prepare() == BundleStore(root).prepare(identity) == identity


def test_another_directory_than_before_is_refused_and_nothing_is_made_in_it(
    store: BundleStore, tmp_path: Path
) -> None:
    for other in (tmp_path / "not-mounted", tmp_path / "other"):
        other.mkdir()
    BundleStore(tmp_path / "other").prepare()
    for name in ("not-mounted", "other", "not-there"):
        with pytest.raises(BundlesElsewhere) as caught:
            BundleStore(tmp_path / name).prepare(store.fetch_identity())
        assert caught.value.path == str(tmp_path / name)
    assert list((tmp_path / "not-mounted").iterdir()) == []
    assert not (tmp_path / "not-there").exists()


def test_a_disk_that_disappears_is_not_an_empty_one(store: BundleStore, root: Path, source: Path) -> None:
    add(store, source)
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    with pytest.raises(StorageFailed) as caught:
        store.fetch_inventory()
    assert caught.value.path == str(root / ".store")


# -- staging again ---------------------------------------------------------------------------------------


def test_the_content_of_a_build_is_staged_again_only_while_it_is_what_was_stored(
    store: BundleStore, root: Path, source: Path
) -> None:
    build = add(store, source)
    staged = store.stage_again(build)
    assert staged.modules == build.modules
    store.discard(staged)
    (root / build.build_id / "index.js").write_bytes(b"export default [];\n")
    with pytest.raises(DigestMismatch):
        store.stage_again(build)
    assert staging(root) == []
    store.remove(build.build_id)
    with pytest.raises(BuildNotFound):
        store.stage_again(build)


# -- verifying -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (b"export default {};\n\n", "it has 20 bytes, and had 19 when it was stored"),
        (b"export default [];\n", f"its sha256 is {{actual}}, and was {SHA256['index.js']}"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_longer_as_it_was(
    damage: bytes | None, reason: str, store: BundleStore, root: Path, source: Path
) -> None:
    build = add(store, source)
    path = root / build.build_id / "index.js"
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(StorageFailed) as caught:
        store.verify(build)
    actual = hashlib.sha256(damage or b"").hexdigest()
    expected = reason.replace("{actual}", actual)
    assert vars(caught.value) == {"action": "Verifying", "path": str(path), "reason": expected}


def test_builds_keep_their_compatibility(store: BundleStore, tmp_path: Path) -> None:
    manifest = b'{"compatibility": {"date": "2025-01-31", "flags": ["nodejs_compat"]}}'
    build = add(store, write(tmp_path / "dated", {"index.js": b"", "metadata.json": manifest}))
    assert build.compatibility == Compatibility(date=dt.date(2025, 1, 31), flags=("nodejs_compat",))
    assert store.list_builds() == (build,)


def test_the_builds_of_a_name_are_not_those_of_a_name_that_begins_alike(tmp_path: Path) -> None:
    store = BundleStore(tmp_path / "bundles")
    store.prepare()
    for name in ("a", "a-b", "ab"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "index.js").write_text("export default {}")
        store.publish(store.stage(directory), build := make_build("1", 1, name))
        store.unmark(build.build_id)
    assert [build.name for build in store.fetch_inventory_of("a").list_kept("a")] == ["a"]
    assert [build.name for build in store.list_builds()] == ["a", "a-b", "ab"]
    assert store.fetch_inventory_of("b").list_kept("b") == ()
