"""`gridiron keys`: make a key, sign a bundle with it, check a signature. No node is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gridiron.cli.digest import Source, fetch_digest
from gridiron.cli.options import Json
from gridiron.cli.output import print_json, print_table, print_text
from gridiron.cli.table import fields
from gridiron.errors import KeyInvalid

EPILOG = """Examples:

gridiron keys create release.key

gridiron keys sign dist --key release.key --output dist.sig

gridiron keys verify dist --signature dist.sig --key release.key.pub"""

app = typer.Typer(help="Make keys, sign bundles, check signatures.", epilog=EPILOG)
verbs = typer.Typer()
verbs.add_typer(app, name="keys")


@app.command()
def create(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The private key; the public one is written to FILE.pub.")
    ],
) -> None:
    """Make a key to sign with (Ed25519, PEM, no passphrase). Nothing is overwritten."""
    from gridiron.bundles.signature import create_key  # noqa: PLC0415 - see gridiron.cli.edge

    public = file.with_name(f"{file.name}.pub")
    for path in (file, public):
        if os.path.lexists(path):
            raise KeyInvalid(str(path), "there is a file already, which is not overwritten")
    key = create_key()
    _write(file, key.private, 0o600)
    _write(public, key.public, 0o644)
    print_table(
        fields(
            ("private key", f"{file} (keep it secret)"),
            ("public key", str(public)),
            ("key id", key.key_id),
        )
    )


@app.command()
def sign(
    path: Source,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write the signature there.", show_default=False),
    ] = None,
) -> None:
    """Print the signature of a bundle: of the digest of a directory, or of the bytes of an archive."""
    from gridiron.bundles import signature  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.disk import storing  # noqa: PLC0415 - the same

    text = signature.sign(signature.load_private_key(key), fetch_digest(path))
    if output is None:
        print_text(text)
        return
    with storing("Writing", output):
        output.write_text(f"{text}\n", "ascii")


@app.command()
def verify(
    path: Source,
    signature: Annotated[
        Path,
        typer.Option(
            "--signature", metavar="FILE", help="As `gridiron keys sign` writes it.", show_default=False
        ),
    ],
    key: Annotated[
        Path,
        typer.Option(
            "--key", metavar="PUB", help="The public key, or a directory of several.", show_default=False
        ),
    ],
    as_json: Json = False,
) -> None:
    """Check a signature; say which key made it."""
    from gridiron.bundles.signature import load_signature, load_trusted_keys  # noqa: PLC0415 - see gridiron.cli.edge
    from gridiron.bundles.signature import verify as verify_signature  # noqa: PLC0415 - the same

    keys = load_trusted_keys(key)
    text = load_signature(signature)
    sha256 = fetch_digest(path)
    key_id = verify_signature(text, sha256, keys)
    if as_json:
        print_json({"sha256": sha256, "key_id": key_id})
    else:
        print_text(f"The key {key_id} signed sha256:{sha256}.")


def _write(path: Path, content: bytes, mode: int) -> None:
    from gridiron.bundles.disk import storing  # noqa: PLC0415 - see gridiron.cli.edge

    with storing("Writing", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask
            file.write(content)
