"""`gridiron digest`: the digest that a node computes, before anything is sent to one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gridiron.cli.options import Json
from gridiron.cli.output import print_json, print_text
from gridiron.errors import SourceMissing, SourceUnreadable

if TYPE_CHECKING:  # see gridiron.cli.edge
    from gridiron.bundles.digest import HashedBundle

verbs = typer.Typer()

EPILOG = """Examples:

gridiron digest dist

gridiron digest dist.tar.gz --json"""

Source = Annotated[
    Path, typer.Argument(metavar="PATH", help="A built bundle (a directory), or an archive of one.")
]


@verbs.command(epilog=EPILOG)
def digest(path: Source, as_json: Json = False) -> None:
    """Print the sha256 of a bundle: the digest of a directory, or that of the bytes of an archive."""
    if not as_json:
        print_text(fetch_digest(path))
    elif path.is_dir():
        print_json(asdict(_hash_bundle(path)))
    else:
        print_json({"sha256": fetch_digest(path), "size": path.stat().st_size})


def fetch_digest(path: Path) -> str:
    """Compute what `gridiron digest` prints. Raises what the verb tells."""
    from gridiron.bundles.digest import hash_file  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.scan import reading  # noqa: PLC0415 - the same

    if path.is_dir():
        return _hash_bundle(path).sha256
    with reading(str(path)):
        if not path.exists():
            raise SourceMissing(str(path))
        if not path.is_file():  # a pipe would block
            raise SourceUnreadable(str(path), "it is neither a file nor a directory")
        return hash_file(path)


def _hash_bundle(path: Path) -> HashedBundle:
    from gridiron.bundles.digest import hash_bundle  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.scan import resolve_source  # noqa: PLC0415 - the same

    return hash_bundle(resolve_source(path))
