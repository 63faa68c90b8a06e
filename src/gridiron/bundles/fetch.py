"""Fetch a source from where it is to the disk of this node."""

from __future__ import annotations

from pathlib import Path

from gridiron.bundles import web
from gridiron.bundles.access import Access
from gridiron.bundles.bucket import open_bucket
from gridiron.bundles.disk import storing
from gridiron.bundles.limits import Meter
from gridiron.bundles.source import HttpSource, S3Source

ARCHIVE = "archive"
TREE = "tree"


def fetch(source: HttpSource | S3Source, directory: Path, access: Access, meter: Meter) -> Path:
    """Give the path, below `directory`, of the archive or of the directory tree that was fetched.

    `directory` is there and empty; it is the caller's to remove, also after a failure. Nothing that was
    fetched has been looked into. It blocks for as long as the meter lets it, and holds no file in memory.
    Raises SourceRefused, SourceUnreachable, SourceTooLarge, SourceHasTooManyFiles, SourceTooSlow,
    StorageFailed; for http also SourceInsecure, SourceAddressRefused, SourceRedirectsTooOften; for a
    directory also ManifestInvalid and the errors of paths.
    """
    archive, tree = directory / ARCHIVE, directory / TREE
    if isinstance(source, HttpSource):
        return _fetch_http(source, archive, tree, access, meter)
    bucket = open_bucket(source, access, meter)
    if bucket.fetch_archive(archive):
        return archive
    _make(tree)
    bucket.fetch_directory(tree)
    return tree


def _fetch_http(source: HttpSource, archive: Path, tree: Path, access: Access, meter: Meter) -> Path:
    if not source.is_directory:
        web.fetch_archive(source, archive, access, meter)
        return archive
    _make(tree)
    web.fetch_directory(source, tree, access, meter)
    return tree


def _make(tree: Path) -> None:
    with storing("Writing", tree):
        tree.mkdir()
