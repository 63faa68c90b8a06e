from __future__ import annotations

import json
from typing import Any

import pytest

from gridiron.bundles.listing import Listed, parse_modules, plan_tree
from gridiron.bundles.paths import MAX_NAME_BYTES, MAX_PATH_BYTES
from gridiron.errors import (
    BundlePathEscapes,
    BundlePathInvalid,
    BundlePathNotUtf8,
    BundlePathTwice,
    GridironError,
    ManifestInvalid,
)

DIGEST = "0a" * 32


def metadata(modules: Any) -> bytes:
    return json.dumps({"name": "a", "modules": modules}).encode()


def test_the_modules_of_a_stored_build() -> None:
    modules = [
        {"name": "index.js", "kind": "esModule", "size": 3, "sha256": DIGEST},
        {"name": "lib/grüße.txt"},
        {"name": "metadata.json"},
        {"name": ".git/config"},
        {"name": "lib/node_modules/a.js"},
    ]
    assert parse_modules(metadata(modules)) == (Listed("index.js", 3, DIGEST), Listed("lib/grüße.txt"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"name": "a"}', "it has to list the files"),
        (metadata({"index.js": {}}), "it has to list the files"),
        (metadata(["index.js"]), "'index.js' has no name"),
        (metadata([{"name": 1}]), "has no name"),
        (metadata([{"name": "a.js", "size": -1}]), "no count of bytes"),
        (metadata([{"name": "a.js", "size": True}]), "no count of bytes"),
        (metadata([{"name": "a.js", "sha256": "0A"}]), "no lower-case digest"),
        (b"<html>", "cannot be read"),
    ],
)
def test_what_lists_no_modules(content: bytes, problem: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        parse_modules(content)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/etc/passwd", BundlePathEscapes),
        ("//example.org/a.js", BundlePathEscapes),
        ("../a.js", BundlePathEscapes),
        ("a/../../b.js", BundlePathEscapes),
        (".git/../../b.js", BundlePathEscapes),
        ("a/..", BundlePathEscapes),
        ("", BundlePathInvalid),
        ("./a.js", BundlePathInvalid),
        ("a//b.js", BundlePathInvalid),
        ("a/", BundlePathInvalid),
        ("a\\b.js", BundlePathInvalid),
        ("a\nb.js", BundlePathInvalid),
        ("a\0.js", BundlePathInvalid),
        ("__gridiron.js", BundlePathInvalid),
        ("ü" * (MAX_NAME_BYTES // 2 + 1), BundlePathInvalid),
        ("a/" * (MAX_PATH_BYTES // 2) + "b", BundlePathInvalid),
        ("\ud800.js", BundlePathNotUtf8),
    ],
)
def test_a_path_that_can_be_in_no_directory(path: str, error: type[GridironError]) -> None:
    with pytest.raises(error):
        plan_tree([Listed("index.js"), Listed(path)])


@pytest.mark.parametrize("paths", [["a.js", "a.js"], ["a", "a/b.js"], ["a/b/c.js", "a"]])
def test_a_path_that_is_there_already(paths: list[str]) -> None:
    with pytest.raises(BundlePathTwice):
        plan_tree(map(Listed, paths))


def test_the_longest_names_are_taken() -> None:
    listed = Listed("/".join(["a" * MAX_NAME_BYTES] * 4))
    assert plan_tree([listed]) == (listed,)
