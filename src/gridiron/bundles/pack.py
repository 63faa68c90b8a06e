"""Pack a bundle into one archive, to be sent to a manager: the same content gives the same bytes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import BinaryIO

from gridiron.bundles.disk import storing
from gridiron.bundles.scan import Root, Scan, open_file, open_root, resolve_source, scan_source

FASTEST = 1
"""Of gzip's levels: a bundle is sent once, mostly over a fast network."""


def pack(directory: Path, archive: Path) -> tuple[str, ...]:
    """Write the modules and manifest files of a bundle into a `.tar.gz`; give what is no part of the bundle.

    Times, owners and permissions of the files are left out. Raises what `resolve_source`
    and `scan_source` raise, StorageFailed.
    """
    with open_root(resolve_source(directory)) as root:
        scan = scan_source(root)
        with storing("Writing", archive), archive.open("xb") as file:
            _write(root, scan, file)
    return scan.ignored


def _write(root: Root, scan: Scan, file: BinaryIO) -> None:
    with (
        gzip.GzipFile(fileobj=file, mode="wb", filename="", compresslevel=FASTEST, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for part in sorted((*scan.modules, *scan.manifest_files), key=lambda each: each.path):
            member = tarfile.TarInfo(part.path)
            member.size = part.size
            with open_file(root, part.path) as opened:
                tar.addfile(member, opened)
