"""Which files of a directory are parts of a bundle, by their names alone. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from gridiron.errors import BundlePathCollides, BundlePathInvalid, BundlePathNotUtf8, BundlePathTwice
from gridiron.model import module_kind

METADATA_FILE = "metadata.json"
WRANGLER_FILES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In the order in which wrangler itself looks for them."""

MANIFEST_FILES = (METADATA_FILE, *WRANGLER_FILES)
"""Files at the root of a bundle that say something of it; the first that is there counts."""

RESERVED_MODULE = "__gridiron.js"
"""The main module that the router adds to every build."""

SEALED_FILE = "secrets.sealed"
"""The secrets of a stored build, beside its modules. By its ending it is no module itself, and workerd gives
the router no file whose name begins with a dot."""

LEFT_OUT = frozenset({"node_modules", SEALED_FILE})

MAX_PATH_BYTES = 1024
"""Of a path in a bundle: a quarter of what Linux takes, so that there is room for the path of the store."""

MAX_NAME_BYTES = 255
"""Of one part of a path: what the disks of Linux and macOS take."""

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
    size = len(path.encode("utf-8", "surrogatepass"))
    if size > MAX_PATH_BYTES:
        raise BundlePathInvalid(shorten(path), f"it has {size} bytes, and may have {MAX_PATH_BYTES}")
    if _NOT_UTF8.search(path):
        raise BundlePathNotUtf8(path)
    for pattern, reason in _REFUSED:
        if pattern.search(path):
            raise BundlePathInvalid(path, reason)
    if any(len(name.encode()) > MAX_NAME_BYTES for name in path.split("/")):
        raise BundlePathInvalid(path, f"a name in it has more than {MAX_NAME_BYTES} bytes")
    if path == RESERVED_MODULE:
        raise BundlePathInvalid(path, "Gridiron gives this name to a module of its own")
    if path.startswith(f"{METADATA_FILE}/"):
        raise BundlePathInvalid(path, f"Gridiron writes a file {METADATA_FILE} there")
    return path


def shorten(path: str) -> str:
    """Give a path, or another text, as it can stand in a sentence, however long it is."""
    return path if len(path) <= MAX_PATH_BYTES else f"{path[:100]}…"


def is_left_out(name: str) -> bool:
    """Tell whether a file or directory of this name is passed over, with all that is in it."""
    return name.startswith(".") or name in LEFT_OUT


def part_of(path: str) -> Part:
    """Tell what the file at `path` is to the bundle."""
    if path in MANIFEST_FILES:
        return Part.MANIFEST
    return Part.MODULE if module_kind(path) else Part.NONE


def check_case(paths: Iterable[str]) -> None:
    """Raise BundlePathCollides where two files, or directories of them, differ by upper and lower case only.

    They would be one file on a disk that does not tell them apart. A stored build has a `metadata.json`, and
    may have `secrets.sealed`, so these names are always taken.
    """
    names = Names(str.casefold)
    for name in (METADATA_FILE, SEALED_FILE):
        names.add(name)
    for path in sorted(paths):
        names.add(path)


@dataclass(slots=True)
class _Name:
    name: str
    below: dict[str, _Name] | None  # of a directory; None: a file


class Names:
    """The paths of a tree: none twice, and no two names in a directory that `fold` makes the same."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._top: dict[str, _Name] = {}

    def add(self, path: str, *, is_directory: bool = False) -> int:
        """Add a path, and the directories that it names; give how many of these were not there before.

        A directory may be added again. Raises BundlePathTwice, also for a file where there is a directory or
        the other way round, and BundlePathCollides.
        """
        *directories, last = path.split("/")
        new = 0
        below = self._top
        for depth, name in enumerate(directories, 1):
            found, is_new = self._enter(below, name, directories[: depth - 1], is_directory=True)
            if found.below is None:
                raise BundlePathTwice("/".join(directories[:depth]))
            below = found.below
            new += is_new
        found, is_new = self._enter(below, last, directories, is_directory=is_directory)
        if not is_new and not (is_directory and found.below is not None):
            raise BundlePathTwice(path)
        return new

    def _enter(
        self, below: dict[str, _Name], name: str, parents: list[str], *, is_directory: bool
    ) -> tuple[_Name, bool]:
        """Give what has this name in a directory, and whether it is new."""
        folded = self._fold(name)
        found = below.get(folded)
        if found is None:
            folded = name if folded == name else folded  # in memory once
            found = below[folded] = _Name(name, {} if is_directory else None)
            return found, True
        if found.name != name:
            raise BundlePathCollides("/".join([*parents, name]), "/".join([*parents, found.name]))
        return found, False
