"""The modules of a build as one archive, as a bucket holds them; and back, each compared with its digest."""

from __future__ import annotations

import hashlib
import tarfile
from gzip import BadGzipFile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from isal import igzip, isal_zlib

from gridiron.bundles.digest import hash_file
from gridiron.bundles.disk import storing
from gridiron.bundles.pack import make_member, writing_tar
from gridiron.errors import StorageFailed

if TYPE_CHECKING:
    from gridiron.model import Build, Module

CHUNK = 256 * 1024


def pack_content(directory: Path, build: Build, archive: Path) -> str:
    """Write the modules of a build, which are in `directory`, into a `.tar.gz`; give its sha256.

    Times, owners and permissions are left out. Raises StorageFailed.
    """
    with storing("Writing", archive):
        with archive.open("xb") as file, writing_tar(file) as tar:
            for module in build.modules:
                with (directory / module.name).open("rb") as opened:
                    tar.addfile(make_member(module.name, module.size), opened)
        return hash_file(archive)


def unpack_content(archive: Path, build: Build, directory: Path) -> None:
    """Write what `pack_content` packed into `directory`, which is made: the modules of the build, no more.

    What was written stays where this fails, for the caller to remove. Raises StorageFailed, also where a
    module is not what the build's record says.
    """
    missing = {module.name: module for module in build.modules}
    with storing("Writing", directory):
        directory.mkdir(parents=True)
        try:
            with (
                igzip.open(archive) as packed,  # type: ignore[no-untyped-call]
                tarfile.open(fileobj=packed, mode="r|") as tar,
            ):
                for member in tar:
                    module, opened = missing.pop(member.name, None), tar.extractfile(member)
                    if module is None or opened is None:
                        raise _damaged(archive, f"{member.name!r} is no module of {build.build_id}")
                    _write(opened, module, directory / module.name)
        except (tarfile.TarError, EOFError, BadGzipFile, isal_zlib.error) as error:  # type: ignore[misc]
            raise _damaged(archive, str(error)) from error
    if missing:
        raise _damaged(archive, f"{min(missing)} is missing")


def _write(opened: IO[bytes], module: Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != module.sha256:
        raise _damaged(path, f"its sha256 is {digest.hexdigest()}, and was {module.sha256}")


def _damaged(path: Path, reason: str) -> StorageFailed:
    return StorageFailed("Unpacking", str(path), reason)
