"""Which files a remote directory has, by what its server says. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gridiron.bundles.documents import parse_document
from gridiron.bundles.paths import METADATA_FILE, Names, check_path, is_left_out
from gridiron.errors import BundlePathEscapes, BundlePathInvalid, ManifestInvalid

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file that a server says it has."""

    path: str  # below the directory
    size: int | None = None  # bytes; None: not said
    sha256: str | None = None  # None: not said


def parse_modules(content: bytes) -> tuple[Listed, ...]:
    """Read which modules a directory has out of its metadata.json, which has the form of a stored build's.

    Raises ManifestInvalid, and what `plan_tree` raises.
    """
    modules = parse_document(METADATA_FILE, content).get("modules")
    if not isinstance(modules, list):
        raise ManifestInvalid(
            METADATA_FILE,
            "over http it has to list the files of its directory, as in "
            '"modules": [{"name": "index.js"}]; or give the URL of an archive',
        )
    listed = {each.path: each for each in plan_tree(_parse_module(module) for module in modules)}
    listed.pop(METADATA_FILE, None)  # it is here already
    return tuple(listed.values())


def plan_tree(files: Iterable[Listed]) -> tuple[Listed, ...]:
    """Give the files that can be part of a bundle, in their order: all but those that are passed over.

    Raises BundlePathEscapes, BundlePathInvalid, BundlePathNotUtf8, BundlePathTwice where they cannot be the
    files of a directory.
    """
    wanted = tuple(each for each in files if not _is_left_out(each.path))
    names = Names(str)  # as they are: the scan tells which differ by case only
    for each in wanted:
        _check(each.path)
        names.add(each.path)
    return wanted


def _parse_module(module: Any) -> Listed:  # noqa: ANN401 - decoded JSON is what it is
    match module:
        case {"name": str(name)}:
            size, sha256 = module.get("size"), module.get("sha256")
        case _:
            raise ManifestInvalid(METADATA_FILE, f"modules: {module!r:.100} has no name")
    if size is not None and (type(size) is not int or size < 0):
        raise ManifestInvalid(METADATA_FILE, f"modules: {name!r}: its size is no count of bytes")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise ManifestInvalid(METADATA_FILE, f"modules: {name!r}: its sha256 is no lower-case digest")
    return Listed(name, size, sha256)


def _is_left_out(path: str) -> bool:
    names = path.split("/")
    if path.startswith("/") or ".." in names:
        raise BundlePathEscapes(path)
    return any(is_left_out(name) for name in names if name != ".")


def _check(path: str) -> None:
    check_path(path)
    if any(name in {"", "."} for name in path.split("/")):
        raise BundlePathInvalid(path, "it has an empty name or a dot in it")
