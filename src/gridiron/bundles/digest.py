"""The digest of a bundle: one sha256 over all its files, which `sha256sum` can check (docs/bundles.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.modules import find_bundle
from gridiron.bundles.scan import Root, ScannedFile, open_file, open_root, read_chunks
from gridiron.model import Module


@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file of a bundle, and what it holds."""

    path: str  # relative to the bundle, with forward slashes
    size: int  # bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class HashedBundle:
    """A bundle, and what it holds. Each part is sorted by path."""

    sha256: str  # the digest
    modules: tuple[HashedFile, ...]
    manifest_files: tuple[HashedFile, ...]
    ignored: tuple[str, ...]  # what is no part of a bundle; a directory ends in a slash


def hash_file(path: Path) -> str:
    """Give the sha256 of a file as lower-case hexadecimal, without reading it into memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_bundle(modules: Iterable[Module], manifests: Mapping[str, str]) -> str:
    """Give the digest of a bundle from its modules and, for each manifest file, its path and sha256."""
    return digest_of([*((module.name, module.sha256) for module in modules), *manifests.items()])


def hash_bundle(source: Path) -> HashedBundle:
    """Read all of the bundle at `source`, a real path, and give its digest.

    Raises what `open_root`, `find_bundle` and `open_file` raise.
    """
    with open_root(source) as root:
        found = find_bundle(root)
        modules = tuple(_hash(root, module.file) for module in found.modules)
    manifest_files = tuple(
        HashedFile(path, len(content), hashlib.sha256(content).hexdigest())
        for path, content in found.manifest_files.items()
    )
    sha256 = digest_of((file.path, file.sha256) for file in (*modules, *manifest_files))
    return HashedBundle(sha256, modules, manifest_files, found.ignored)


def digest_of(entries: Iterable[tuple[str, str]]) -> str:
    """Give the digest of a bundle from the path and the sha256 of each of its files, in any order.

    It is the sha256 of the lines that `sha256sum` prints for them, sorted by the bytes of the path in UTF-8.
    Paths are relative to the bundle with forward slashes, and hold no character that `sha256sum` would escape
    (backslash, line end), as `gridiron.bundles.paths.check_path` sees to.
    """
    ordered = sorted((path.encode(), sha256) for path, sha256 in entries)
    lines = (sha256.encode() + b"  " + path + b"\n" for path, sha256 in ordered)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _hash(root: Root, file: ScannedFile) -> HashedFile:
    digest = hashlib.sha256()
    with open_file(root, file.path) as opened:
        for chunk in read_chunks(opened, file):
            digest.update(chunk)
    return HashedFile(file.path, file.size, digest.hexdigest())
