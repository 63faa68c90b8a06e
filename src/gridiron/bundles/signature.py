"""Signatures of bundles: Ed25519 (RFC 8032) over a digest, beside what was signed.

What is signed is the text `sha256:` and the digest in hexadecimal, with no line end. A signature is base64
text. Keys are PEM files, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from gridiron.ed25519 import NOT_ED25519, parse_private_key, render_private_key
from gridiron.errors import KeyInvalid, SignatureInvalid

SIGNATURE_SIZE = 64
"""Bytes, by RFC 8032."""

KEY_ENDINGS = (".pub", ".pem")
"""Of the files in a directory of trusted keys."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_PUBLIC = b"PUBLIC KEY"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A new key, as PEM."""

    private: bytes
    public: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key whose signatures are believed."""

    key_id: str  # the first 16 hexadecimal digits of the sha256 of its DER form
    public: Ed25519PublicKey


def create_key() -> KeyPair:
    """Make a key."""
    private = Ed25519PrivateKey.generate()
    return KeyPair(
        private=render_private_key(private),
        public=private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key_id=key_id_of(private.public_key()),
    )


def key_id_of(key: Ed25519PublicKey) -> str:
    """Name a public key."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key from a file. Raises KeyInvalid."""
    try:
        return parse_private_key(str(path), path.read_bytes())
    except OSError as error:
        raise KeyInvalid(str(path), error.strerror or str(error)) from error


def load_signature(path: Path) -> str:
    """Read a signature from a file, as `sign` gives it. Raises SignatureInvalid."""
    try:
        return path.read_text("ascii").strip()
    except OSError as error:
        raise SignatureInvalid(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeError as error:
        raise SignatureInvalid(f"{path} is no text in ASCII") from error


def parse_trusted_keys(file: str, content: bytes) -> tuple[TrustedKey, ...]:
    """Read the public keys in a PEM file, of which there is at least one. Raises KeyInvalid."""
    blocks = list(_BLOCK.finditer(content))
    if not blocks:
        raise KeyInvalid(file, "it is no public key in PEM")
    return tuple(_parse_public_key(file, block) for block in blocks)


def load_trusted_keys(path: Path) -> tuple[TrustedKey, ...]:
    """Read the trusted keys: of a PEM file, or of all `*.pub` and `*.pem` in a directory, sorted by name.

    Raises KeyInvalid, also where there is no key at all, and where a single one of the files is not good: a
    key that is not believed would be missed only much later.
    """
    try:
        files = _list_key_files(path) if path.is_dir() else [path]
        keys = [key for file in files for key in parse_trusted_keys(str(file), file.read_bytes())]
    except OSError as error:
        raise KeyInvalid(str(error.filename or path), error.strerror or str(error)) from error
    if not keys:
        raise KeyInvalid(str(path), "there is no *.pub or *.pem in it")
    return tuple(keys)


def sign(key: Ed25519PrivateKey, digest: str) -> str:
    """Sign a digest, 64 hexadecimal digits. The same key gives the same signature."""
    return base64.b64encode(key.sign(signed_text(digest))).decode()


def verify(signature: str, digest: str, keys: Iterable[TrustedKey]) -> str:
    """Give the id of the key that made a signature of `digest`. Raises SignatureInvalid where none did."""
    content = _decode(signature)
    tried = []
    for key in keys:
        try:
            key.public.verify(content, signed_text(digest))
        except InvalidSignature:
            tried.append(key.key_id)
        else:
            return key.key_id
    if not tried:
        raise SignatureInvalid("no key is trusted")
    raise SignatureInvalid(
        f"none of the keys that are trusted ({', '.join(tried)}) made it for sha256:{digest}"
    )


def signed_text(digest: str) -> bytes:
    """Give what is signed for a digest."""
    return f"sha256:{digest}".encode("ascii")


def _parse_public_key(file: str, block: re.Match[bytes]) -> TrustedKey:
    if block[1] != _PUBLIC:
        kind = block[1].decode().lower()
        raise KeyInvalid(file, f"its {kind} does not belong there: give public keys only")
    try:
        key = load_pem_public_key(block[0])
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(file, "it is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyInvalid(file, NOT_ED25519)
    return TrustedKey(key_id_of(key), key)


def _list_key_files(directory: Path) -> Iterator[Path]:
    files = sorted(path for path in directory.iterdir() if path.suffix in KEY_ENDINGS)
    return (path for path in files if not path.name.startswith("."))


def _decode(signature: str) -> bytes:
    try:
        content = base64.b64decode("".join(signature.split()), validate=True)
    except ValueError as error:
        raise SignatureInvalid("it is no base64 text") from error
    if len(content) != SIGNATURE_SIZE:
        raise SignatureInvalid(f"it has {len(content)} bytes, and an Ed25519 signature has {SIGNATURE_SIZE}")
    return content
