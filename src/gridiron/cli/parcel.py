"""What `gridiron deploy` is given, made ready for a manager: built, packed, and with its digest."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gridiron.errors import DigestMismatch

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.cli.output import Progress
    from gridiron.model import Git
    from gridiron.settings import Settings

_URL = re.compile(r"(file|https?|s3)://|bundle:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A source for the manager, and what is known of it."""

    source: str
    archive: Path | None = None  # that has to be sent first; None: the manager fetches the source
    sha256: str | None = None  # of the archive
    name: str | None = None  # that the project says
    version: str | None = None
    git: Git | None = None  # the commit that the project stands on
    ignored: tuple[str, ...] = ()  # files of the directory that were not packed


@dataclass(frozen=True, slots=True)
class Vouching:
    """How the manager is to know that the bundle is the one that is meant; all of it optional."""

    sha256: str | None = None  # of the archive, or of the content of a directory at a URL
    signature: Path | None = None  # a file with the signature of that digest
    key: Path | None = None  # a file with a private key, to sign with


@contextmanager
def prepare(given: str, settings: Settings, progress: Progress) -> Iterator[Parcel]:
    """Build and pack what is at a path; a URL is left as it is. The archive lives as long as the context.

    Raises what `prepare_project` and `pack` raise, SourceUnreadable.
    """
    if _URL.match(given):
        yield Parcel(given)
        return
    path = Path(given)
    if path.is_file():
        yield _wrap(path)
        return
    with tempfile.TemporaryDirectory(prefix="gridiron-") as work:
        progress.say(f"Preparing {given}")
        yield _pack(path, Path(work), settings)


def vouch(parcel: Parcel, vouching: Vouching) -> tuple[str | None, str | None]:
    """Give the digest that the manager is to compare with, and the signature of it.

    Raises DigestMismatch where the archive is not the one that is meant, SignatureInvalid, KeyInvalid,
    BadParameter where there is nothing to sign.
    """
    from gridiron.bundles.signature import (  # noqa: PLC0415 - see gridiron.cli.edge
        load_private_key,
        load_signature,
        sign,
    )

    sha256 = vouching.sha256 or parcel.sha256
    if parcel.sha256 not in {None, sha256}:
        raise DigestMismatch(str(sha256), str(parcel.sha256))
    if vouching.signature is not None:
        return sha256, load_signature(vouching.signature)
    if vouching.key is not None:
        if sha256 is None:
            raise typer.BadParameter(
                "needs --sha256: what the manager fetches is not here.", param_hint="--key"
            )
        return sha256, sign(load_private_key(vouching.key), sha256)
    return sha256, None


def _pack(directory: Path, work: Path, settings: Settings) -> Parcel:
    from gridiron.bundles.pack import pack  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.project import prepare_project  # noqa: PLC0415 - the same
    from gridiron.toolchain.programs import find_toolchain  # noqa: PLC0415 - the same

    out, archive = work / "out", work / "bundle.tar.gz"
    out.mkdir()
    project = prepare_project(directory, find_toolchain(settings), out)
    ignored = pack(project.directory, archive)
    parcel = _wrap(archive)
    return replace(parcel, name=project.name, version=project.version, git=project.git, ignored=ignored)


def _wrap(archive: Path) -> Parcel:
    from gridiron.bundles.digest import hash_file  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.scan import reading  # noqa: PLC0415 - the same

    with reading(str(archive)):
        sha256 = hash_file(archive)
    return Parcel(f"bundle:{sha256}", archive, sha256)
