"""The keys whose signatures the cells accept, as a JWK Set (RFC 7517, RFC 8037). Pure.

A key has the name that Restate gives it in its tokens, `kid`: `publickeyv1_` and the raw key in base58. The
cells read the set under `identity.js`.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from gridiron.model import Value

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Of base58, as Bitcoin has it: no character looks like another."""


class AcceptedKey(Value):
    """A public key; the names of its fields are those of a JWK, but for the last."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    kid: str
    x: str  # the raw key, in base64url without padding
    accepted_at: datetime  # since when


class AcceptedKeys(Value):
    """The set."""

    keys: tuple[AcceptedKey, ...] = ()

    def find(self, kid: str) -> AcceptedKey | None:
        """Give the key of a name; None: it is not accepted."""
        return next((key for key in self.keys if key.kid == kid), None)


_SET = TypeAdapter(AcceptedKeys)


def plan_accepted(key: Ed25519PublicKey, now: datetime) -> AcceptedKey:
    """Describe a key that is accepted from `now` on."""
    x = base64.urlsafe_b64encode(key.public_bytes_raw()).decode().rstrip("=")
    return AcceptedKey(kid=kid_of(key), x=x, accepted_at=now)


def render_accepted(keys: AcceptedKeys) -> bytes:
    """Write a set."""
    return _SET.dump_json(keys, indent=2) + b"\n"


def parse_accepted(content: bytes) -> AcceptedKeys | None:
    """Read a set; None where the file is damaged: it is written anew then."""
    try:
        return _SET.validate_json(content)
    except ValidationError:
        return None


def kid_of(key: Ed25519PublicKey) -> str:
    """Name a key as Restate does."""
    return f"publickeyv1_{base58(key.public_bytes_raw())}"


def base58(content: bytes) -> str:
    """Write bytes in base58; each zero at the front is a `1`."""
    number, digits = int.from_bytes(content), ""
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return "1" * (len(content) - len(content.lstrip(b"\0"))) + digits
