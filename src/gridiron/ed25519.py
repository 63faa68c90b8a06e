"""Ed25519 keys (RFC 8032) to sign with: PEM, as `openssl genpkey -algorithm ed25519` writes it. Pure."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gridiron.errors import KeyInvalid

NOT_ED25519 = "it is no Ed25519 key, and only those are used"


def render_private_key(key: Ed25519PrivateKey) -> bytes:
    """Write a private key, without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def parse_private_key(file: str, content: bytes) -> Ed25519PrivateKey:
    """Read a private key; `file` is named where it is none. Raises KeyInvalid."""
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError as error:  # of `password`
        raise KeyInvalid(file, "a passphrase protects it: give a key without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(file, "it is no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyInvalid(file, NOT_ED25519)
    return key
