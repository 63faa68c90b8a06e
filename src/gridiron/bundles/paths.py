"""Which files of a directory are parts of a bundle, by their names alone. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import PurePosixPath

from gridiron.errors import BundlePathCollides, BundlePathInvalid, BundlePathNotUtf8
from gridiron.model import module_kind

METADATA_FILE = "metadata.json"
WRANGLER_FILES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In the order in which wrangler itself looks for them."""

MANIFEST_FILES = (METADATA_FILE, *WRANGLER_FILES)
"""Files at the root of a bundle that say something of it; the first that is there counts."""

RESERVED_MODULE = "__gridiron.js"
"""The main module that the router adds to every build."""

LEFT_OUT_DIRECTORY = "node_modules"

_REFUSED = (
    (re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"), "it has a control character"),
    (re.compile(r"\\"), "it has a backslash"),
)
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")


class Part(StrEnum):
    """What a file is to a bundle."""

    MODULE = "module"
    MANIFEST = "manifest"
    NONE = "none"


def check_path(path: str) -> str:
    """Give the path of a file or directory back, or raise where no module can be named so.

    `path` is relative to the bundle, with forward slashes; bytes that are not UTF-8 are surrogates in it, as
    `os.fsdecode` leaves them. Raises BundlePathInvalid, BundlePathNotUtf8.
    """
    if _NOT_UTF8.search(path):
        raise BundlePathNotUtf8(path)
    for pattern, reason in _REFUSED:
        if pattern.search(path):
            raise BundlePathInvalid(path, reason)
    if path == RESERVED_MODULE:
        raise BundlePathInvalid(path, "Gridiron gives this name to a module of its own")
    return path


def is_left_out(name: str) -> bool:
    """Tell whether a file or directory of this name is passed over, with all that is in it."""
    return name.startswith(".") or name == LEFT_OUT_DIRECTORY


def part_of(path: str) -> Part:
    """Tell what the file at `path` is to the bundle."""
    if path in MANIFEST_FILES:
        return Part.MANIFEST
    return Part.MODULE if module_kind(path) else Part.NONE


def check_case(paths: Iterable[str]) -> None:
    """Raise BundlePathCollides where two files, or directories of them, differ by upper and lower case only.

    They would be one file on a disk that does not tell them apart. Every stored build has a `metadata.json`,
    so that name is always taken.
    """
    seen = {METADATA_FILE.casefold(): METADATA_FILE}
    for path in sorted(paths):
        for name in (path, *(str(parent) for parent in PurePosixPath(path).parents)):
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                raise BundlePathCollides(name, other)
