from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridiron.bundles.modules import FoundBundle, choose_modules, find_bundle
from gridiron.bundles.scan import (
    Scan,
    ScannedFile,
    open_file,
    open_root,
    read_chunks,
    resolve_source,
    scan_source,
)
from gridiron.bundles.staging import stage_bundle
from gridiron.errors import (
    BundleHasDevice,
    BundleHasLink,
    BundlePathCollides,
    BundleTooLarge,
    GridironError,
    MainModuleMissing,
    SourceHasTooManyFiles,
    SourceUnreadable,
)
from gridiron.model import MAX_MODULES_SIZE, Manifest, ModuleKind, Rule


def write(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.fsencode(path))
    return root


def scan(root: Path, max_files: int = 1000) -> Scan:
    with open_root(resolve_source(root)) as opened:
        return scan_source(opened, max_files)


def find(root: Path) -> FoundBundle:
    with open_root(resolve_source(root)) as opened:
        return find_bundle(opened)


def test_a_scan_has_files_manifest_files_and_what_is_ignored(tmp_path: Path) -> None:
    files = ["a.html", "data/x.bin", "index.js", "lib/a.mjs", "lib/metadata.json", "README.md", "lib/b.ts"]
    manifest_files = ["wrangler.toml", "metadata.json", "wrangler.jsonc", "wrangler.json"]
    ignored = [".env", "lib/.hidden.js"]
    write(tmp_path, *files, *manifest_files, *ignored, ".git/a.js", "node_modules/a/index.js")
    (tmp_path / "node_modules" / "link").symlink_to("/")
    assert scan(tmp_path) == Scan(
        files=tuple(ScannedFile(path, len(path)) for path in sorted(files)),
        manifest_files=tuple(ScannedFile(path, len(path)) for path in sorted(manifest_files)),
        ignored=tuple(sorted([*ignored, ".git/", "node_modules/"])),
    )


def test_a_root_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "real", "index.js")
    (tmp_path / "link").symlink_to("real")
    assert scan(tmp_path / "link").files == (ScannedFile("index.js", 8),)


def test_the_rules_of_a_manifest_choose_modules(tmp_path: Path) -> None:
    modules = {
        "core.wasm": ModuleKind.WASM,
        "index.js": ModuleKind.JS,
        "lib/a.mjs": ModuleKind.JS,
        "lib/legacy.js": ModuleKind.CJS,
        "query.gql": ModuleKind.TEXT,
        "view.html": ModuleKind.DATA,
    }
    rules = (
        Rule(type=ModuleKind.TEXT, globs=("*.gql", "*.toml")),
        Rule(type=ModuleKind.CJS, globs=("**/*.js",)),
        Rule(type=ModuleKind.DATA, globs=("*.html",)),
        Rule(type=ModuleKind.TEXT, globs=("*.html",)),
    )
    content = Manifest(rules=rules).model_dump_json().encode()
    write(tmp_path, *modules, "README.md", "lib/a.ts", ".env", "wrangler.toml")
    (tmp_path / "metadata.json").write_bytes(content)
    found = find(tmp_path)
    assert found.manifest == Manifest(rules=rules)
    assert found.manifest_files == {"metadata.json": content, "wrangler.toml": b"wrangler.toml"}
    assert {module.file.path: module.kind for module in found.modules} == modules
    assert found.ignored == (".env", "README.md", "lib/a.ts")


def test_what_a_rule_makes_a_module_counts_as_one(tmp_path: Path) -> None:
    rules = (Rule(type=ModuleKind.DATA, globs=("*.dat", "*.DAT")),)
    large = (ScannedFile("a.dat", MAX_MODULES_SIZE), ScannedFile("index.js", 1))
    with pytest.raises(BundleTooLarge):
        choose_modules(large, Manifest(rules=rules))
    assert [module.file for module in choose_modules(large, Manifest())] == [ScannedFile("index.js", 1)]

    write(tmp_path, "index.js", "a.dat", "a.DAT")
    assert find(tmp_path).ignored == ("a.DAT", "a.dat")
    (tmp_path / "metadata.json").write_text(Manifest(rules=rules).model_dump_json())
    with pytest.raises(BundlePathCollides):
        find(tmp_path)


def test_a_main_module_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MainModuleMissing) as caught:
        find(write(tmp_path, "a.js"))
    assert vars(caught.value) == {"main": "index.js"}


def missing(root: Path) -> Path:
    return root / "none"


def below_a_file(root: Path) -> Path:
    return write(root, "a") / "a" / "b"


def dangling(root: Path) -> Path:
    (root / "link").symlink_to("none")
    return root / "link"


def a_file(root: Path) -> Path:
    return write(root, "index.js") / "index.js"


def too_long(root: Path) -> Path:
    return root / ("x" * 300)


def a_loop(root: Path) -> Path:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    return root / "a"


def empty(root: Path) -> Path:
    return root


def no_module(root: Path) -> Path:
    (root / "metadata.json").write_text("{}")
    return write(root, "README.md", ".index.js", "node_modules/index.js")


def a_link(root: Path) -> Path:
    (write(root, "index.js") / "other.js").symlink_to("/etc/passwd")
    return root


def a_link_that_is_no_module(root: Path) -> Path:
    (write(root, "index.js") / "README").symlink_to("index.js")
    return root


def a_linked_directory(root: Path) -> Path:
    (write(root, "index.js", "lib/a.js") / "lib" / "more").symlink_to(".")
    return root


def a_pipe(root: Path) -> Path:
    os.mkfifo(write(root, "index.js") / "pipe.js")
    return root


def a_socket(root: Path) -> Path:
    # bound by a relative name, for a socket's path may not be long
    before = Path.cwd()
    os.chdir(write(root, "index.js"))
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket.js")
    finally:
        os.chdir(before)
    return root


def a_file_where_gridiron_writes_one(root: Path) -> Path:
    return write(root, "index.js", "metadata.json/a.js")


def a_long_path(root: Path) -> Path:
    return write(root, "index.js", "/".join(["x" * 250] * 5))


def a_reserved_name(root: Path) -> Path:
    return write(root, "index.js", "__gridiron.js")


def a_control_character(root: Path) -> Path:
    return write(root, "index.js", "a\nb.md")


def no_utf8(root: Path) -> Path:
    return write(root, "index.js", os.fsdecode(b"\xff.js"))


def no_utf8_in_an_ignored_name(root: Path) -> Path:
    return write(root, "index.js", os.fsdecode(b".\xff"))


def a_backslash(root: Path) -> Path:
    return write(root, "index.js", "lib\\a.js")


def two_cases(root: Path) -> Path:
    write(root, "index.js", "Index.js")
    if len(list(root.iterdir())) == 1:
        pytest.skip("this disk does not tell upper from lower case")
    return root


def too_large(root: Path) -> Path:
    write(root, "index.js")
    for name in ("a.bin", "b.bin"):
        with (root / name).open("wb") as file:
            file.truncate(MAX_MODULES_SIZE // 2)
    return root


@pytest.mark.parametrize(
    ("make", "code", "path"),
    [
        (missing, "source_missing", "{root}/none"),
        (below_a_file, "source_missing", "{root}/a/b"),
        (dangling, "source_missing", "{root}/link"),
        (a_file, "source_not_a_directory", "{root}/index.js"),
        (too_long, "source_unreadable", "{root}/" + "x" * 300),
        (a_loop, "source_unreadable", "{root}/a"),
        (empty, "bundle_empty", "{root}"),
        (no_module, "bundle_empty", "{root}"),
        (a_link, "bundle_has_link", "other.js"),
        (a_link_that_is_no_module, "bundle_has_link", "README"),
        (a_linked_directory, "bundle_has_link", "lib/more"),
        (a_pipe, "bundle_has_device", "pipe.js"),
        (a_socket, "bundle_has_device", "socket.js"),
        (a_file_where_gridiron_writes_one, "bundle_path_invalid", "metadata.json/a.js"),
        (a_long_path, "bundle_path_invalid", ("x" * 100) + "…"),
        (a_reserved_name, "bundle_path_invalid", "__gridiron.js"),
        (a_control_character, "bundle_path_invalid", "a\nb.md"),
        (no_utf8, "bundle_path_not_utf8", "\udcff.js"),
        (no_utf8_in_an_ignored_name, "bundle_path_not_utf8", ".\udcff"),
        (a_backslash, "bundle_path_invalid", "lib\\a.js"),
        (two_cases, "bundle_path_collides", "index.js"),
        (too_large, "bundle_too_large", None),
    ],
)
def test_a_directory_that_is_no_bundle(
    make: Callable[[Path], Path], code: str, path: str | None, tmp_path: Path
) -> None:
    with pytest.raises(GridironError) as caught:
        find(make(tmp_path))
    told = vars(caught.value).get("path")
    assert (caught.value.code, told) == (code, path and path.replace("{root}", str(tmp_path)))
    str(caught.value).encode()  # a sentence can always be written


def test_modules_may_be_as_large_as_workerd_loads(tmp_path: Path) -> None:
    with (tmp_path / "a.bin").open("wb") as file:
        file.truncate(MAX_MODULES_SIZE)
    write(tmp_path, "README.md", "metadata.json")
    modules = choose_modules(scan(tmp_path).files, Manifest())
    assert [module.file for module in modules] == [ScannedFile("a.bin", MAX_MODULES_SIZE)]


@pytest.mark.parametrize("name", ["lib", "lib/a.js"])
def test_what_may_not_be_read(name: str, tmp_path: Path) -> None:
    write(tmp_path, "index.js", "lib/a.js")
    (tmp_path / name).chmod(0)
    if os.access(tmp_path / name, os.R_OK):
        pytest.skip("this user may read everything")
    try:
        with pytest.raises(SourceUnreadable) as caught:
            stage_bundle(tmp_path, tmp_path / "out")
    finally:
        (tmp_path / name).chmod(0o700)
    assert (caught.value.path.rstrip("/"), caught.value.reason) == (name, "Permission denied")


NAMES = st.one_of(
    st.sampled_from(["index.js", ".git", "node_modules", "metadata.json", "__gridiron.js", "A.js", "a.js"]),
    st.binary(min_size=1, max_size=12).map(os.fsdecode),
    st.text(max_size=8).map("{}.js".format),
).filter(lambda name: not set(name) & {"/", "\0"} and name not in {"", ".", ".."})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=6))
def test_any_names_make_a_bundle_or_an_error_with_a_code(paths: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path in paths:
            try:
                write(root, "/".join(path))
            except (
                OSError,
                UnicodeEncodeError,
            ):  # a file and a directory of one name; a name that none can have
                continue
        try:
            found = find(root)
        except GridironError as error:
            str(error).encode()
        else:
            "\n".join([*(module.file.path for module in found.modules), *found.ignored]).encode()


# -- what changes after the scan -------------------------------------------------------------------------


def read(root: Path, file: ScannedFile) -> bytes:
    with open_root(root) as opened, open_file(opened, file.path) as content:
        return b"".join(read_chunks(content, file))


def test_a_file_is_read_as_it_was_scanned(tmp_path: Path) -> None:
    write(tmp_path, "lib/a.js")
    assert read(tmp_path, ScannedFile("lib/a.js", 8)) == b"lib/a.js"


@pytest.mark.parametrize("size", [0, 7, 9])
def test_a_file_that_has_another_size_by_now(size: int, tmp_path: Path) -> None:
    write(tmp_path, "lib/a.js")
    with pytest.raises(SourceUnreadable) as caught:
        read(tmp_path, ScannedFile("lib/a.js", size))
    assert vars(caught.value) == {"path": "lib/a.js", "reason": "it changed while it was read"}


def test_a_file_that_is_gone_by_now(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable) as caught:
        read(tmp_path, ScannedFile("lib/a.js", 8))
    assert vars(caught.value) == {"path": "lib/a.js", "reason": "No such file or directory"}


def test_a_file_that_is_a_link_by_now(tmp_path: Path) -> None:
    (tmp_path / "a.js").symlink_to("/etc/passwd")
    with pytest.raises(BundleHasLink) as caught:
        read(tmp_path, ScannedFile("a.js", 8))
    assert vars(caught.value) == {"path": "a.js"}


def test_a_file_that_is_a_pipe_by_now(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.js")
    with pytest.raises(BundleHasDevice) as caught:
        read(tmp_path, ScannedFile("a.js", 8))
    assert vars(caught.value) == {"path": "a.js", "kind": "a named pipe"}


def test_a_file_that_is_a_directory_by_now(tmp_path: Path) -> None:
    (tmp_path / "a.js").mkdir()
    with pytest.raises(BundleHasDevice) as caught:
        read(tmp_path, ScannedFile("a.js", 8))
    assert vars(caught.value) == {"path": "a.js", "kind": "no plain file"}


def test_a_directory_that_is_a_link_by_now(tmp_path: Path) -> None:
    write(tmp_path, "other/a.js")
    (tmp_path / "lib").symlink_to("other")
    with pytest.raises(SourceUnreadable) as caught:
        read(tmp_path, ScannedFile("lib/a.js", 8))
    assert vars(caught.value) == {"path": "lib/a.js", "reason": "Not a directory"}


@pytest.mark.parametrize("swapped", ["allowed", "allowed/bundle"])
def test_a_link_in_place_of_a_directory_above_after_the_root_was_checked(
    swapped: str, tmp_path: Path
) -> None:
    write(tmp_path / "allowed" / "bundle", "index.js")
    write(tmp_path / "secret" / "bundle", "index.js")
    root = resolve_source(tmp_path / "allowed" / "bundle")
    (tmp_path / swapped).rename(tmp_path / "moved")
    (tmp_path / swapped).symlink_to(tmp_path / "secret" / swapped.removeprefix("allowed").strip("/"))
    with pytest.raises(SourceUnreadable) as caught, open_root(root):
        pass
    assert vars(caught.value) == {"path": str(root), "reason": "a part of its path is a link"}


def test_a_root_that_is_moved_and_replaced_while_it_is_open(tmp_path: Path) -> None:
    root = write(tmp_path / "bundle", "lib/a.js")
    (write(tmp_path / "secret", "lib/secret.js") / "lib" / "a.js").write_text("secret")
    with open_root(root) as opened:
        root.rename(tmp_path / "moved")
        root.symlink_to("secret")
        assert scan_source(opened).files == (ScannedFile("lib/a.js", 8),)
        with open_file(opened, "lib/a.js") as file:
            assert file.read() == b"lib/a.js"


# -- how many files it may have --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "paths", [["a.js", "b.js", "c.md"], ["a/b/c.js"], ["a.js", "node_modules/a/b/c", ".b"]]
)
def test_every_name_that_is_looked_at_counts(paths: list[str], tmp_path: Path) -> None:
    write(tmp_path, *paths)
    scan(tmp_path, 3)
    with pytest.raises(SourceHasTooManyFiles) as caught:
        scan(tmp_path, 2)
    assert caught.value.limit == 2
