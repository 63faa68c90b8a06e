from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.paths import Names, Part, check_case, check_path, is_left_out, part_of
from gridiron.errors import BundlePathCollides, BundlePathInvalid, BundlePathNotUtf8, BundlePathTwice


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a\nb.js", "it has a control character"),
        ("a\x00.js", "it has a control character"),
        ("lib/\x7f.js", "it has a control character"),
        ("a\u2028.js", "it has a control character"),
        ("lib\\a.js", "it has a backslash"),
        ("a/" + "x" * 256, "a name in it has more than 255 bytes"),
        ("metadata.json/a.js", "Gridiron writes a file metadata.json there"),
        ("__gridiron.js", "Gridiron gives this name to a module of its own"),
    ],
)
def test_a_path_that_no_module_can_have(path: str, reason: str) -> None:
    with pytest.raises(BundlePathInvalid) as caught:
        check_path(path)
    assert vars(caught.value) == {"path": path, "reason": reason}


def test_a_path_that_is_too_long_is_told_by_its_beginning() -> None:
    with pytest.raises(BundlePathInvalid) as caught:
        check_path("ü" * 600)
    assert vars(caught.value) == {"path": "ü" * 600, "reason": "it has 1200 bytes, and may have 1024"}
    with pytest.raises(BundlePathInvalid) as caught:
        check_path("x" * 1_000_000)
    assert caught.value.path == "x" * 100 + "…"


@pytest.mark.parametrize(
    "path",
    [
        "x" * 255,
        "/".join("x" * 512),
        "index.js",
        "lib/grüße 1.txt",
        "lib/__gridiron.js",
        "a%2f?#.bin",
        "日本.js",
        "secrets.sealed",
        "lib/secrets.sealed/a.js",
    ],
)
def test_a_path_that_a_module_can_have(path: str) -> None:
    assert check_path(path) == path


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="\\"),
        max_size=60,
    )
)
def test_any_other_text_can_be_a_path(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("index.js", Part.MODULE),
        ("lib/a.mjs", Part.MODULE),
        ("metadata.json", Part.MANIFEST),
        ("lib/metadata.json", Part.MODULE),
        ("wrangler.json", Part.MANIFEST),
        ("wrangler.jsonc", Part.MANIFEST),
        ("wrangler.toml", Part.MANIFEST),
        ("lib/wrangler.toml", Part.NONE),
        ("index.js.map", Part.NONE),
        ("README.md", Part.NONE),
        ("INDEX.JS", Part.NONE),
        ("Makefile", Part.NONE),
    ],
)
def test_what_a_file_is_to_a_bundle(path: str, part: Part) -> None:
    assert part_of(path) is part


@pytest.mark.parametrize("name", [".git", ".a.js", "node_modules", "secrets.sealed"])
def test_names_that_are_left_out(name: str) -> None:
    assert is_left_out(name)


@pytest.mark.parametrize("name", ["git", "a.js", "modules", "node_modules.js"])
def test_names_that_are_not_left_out(name: str) -> None:
    assert not is_left_out(name)


@pytest.mark.parametrize(
    ("paths", "told", "other"),
    [
        (["a.js", "A.js"], "a.js", "A.js"),
        (["lib/a.js", "Lib/b.js"], "lib", "Lib"),
        (["straße.txt", "STRASSE.txt"], "straße.txt", "STRASSE.txt"),
        (["Metadata.json"], "Metadata.json", "metadata.json"),
    ],
)
def test_names_that_differ_by_case_only(paths: list[str], told: str, other: str) -> None:
    with pytest.raises(BundlePathCollides) as caught:
        check_case(paths)
    assert vars(caught.value) == {"path": told, "other": other}


def test_a_name_that_is_not_utf8() -> None:
    with pytest.raises(BundlePathNotUtf8) as caught:
        check_path("\udcff.js")
    assert caught.value.path == "\udcff.js"


def test_a_tree_has_each_name_once() -> None:
    names = Names(str.casefold)
    assert [names.add("a/b/c.js"), names.add("a/b/d.js"), names.add("a/e", is_directory=True)] == [2, 0, 0]
    assert names.add("a/b", is_directory=True) == 0  # a directory may be named again


@pytest.mark.parametrize(
    ("path", "is_directory", "told"),
    [
        ("a/b.js", False, "a/b.js"),
        ("a/b.js", True, "a/b.js"),
        ("a", False, "a"),
        ("a/b.js/c/d", False, "a/b.js"),
    ],
)
def test_a_name_that_is_taken(path: str, is_directory: bool, told: str) -> None:
    names = Names(str.casefold)
    names.add("a/b.js")
    with pytest.raises(BundlePathTwice) as caught:
        names.add(path, is_directory=is_directory)
    assert caught.value.path == told


def test_names_that_are_not_folded_may_differ_by_case_only() -> None:
    names = Names(str)
    assert [names.add("a.js"), names.add("A.js")] == [0, 0]


def test_names_that_differ_by_more_than_case() -> None:
    check_case(["a.js", "a.mjs", "lib/a.js", "lib/b.js", "libs/a.js", "lib/metadata.json"])
