"""The digest of a bundle: one sha256 over all its files, which `sha256sum` can check (docs/bundles.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def hash_file(path: Path) -> str:
    """Give the sha256 of a file as lower-case hexadecimal, without reading it into memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(entries: Iterable[tuple[str, str]]) -> str:
    """Give the digest of a bundle from the path and the sha256 of each of its files, in any order.

    It is the sha256 of the lines that `sha256sum` prints for them, sorted by the bytes of the path in UTF-8.
    Paths are relative to the bundle with forward slashes, and hold no character that `sha256sum` would escape
    (backslash, line end), as `gridiron.bundles.paths.check_path` sees to.
    """
    ordered = sorted((path.encode(), sha256) for path, sha256 in entries)
    lines = (sha256.encode() + b"  " + path + b"\n" for path, sha256 in ordered)
    return hashlib.sha256(b"".join(lines)).hexdigest()
