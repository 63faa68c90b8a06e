"""Sealing: what is stored of secrets can be read with the node's key only, and only where it belongs. Pure.

A sealed content is a nonce of 12 random bytes and what AES-256-GCM makes of the content. What it is for goes
into the seal, so that it opens nowhere else: `value:{name}:{KEY}`, `snapshot:{build_id}`, and
`shared:{cluster}:{object}` for documents of a cluster. The router of a cell (`workers/router.js`) opens
snapshots by the same rules.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gridiron.errors import SecretsUnreadable
from gridiron.secrets.key import KEY_SIZE

NONCE_SIZE = 12
"""Bytes, as NIST SP 800-38D has it. Random ones are good for 2^32 contents under one key."""


def seal(key: bytes, purpose: str, content: bytes) -> bytes:
    """Seal a content for a purpose. Each time gives other bytes."""
    nonce = secrets.token_bytes(NONCE_SIZE)
    return nonce + AESGCM(key).encrypt(nonce, content, purpose.encode())


def unseal(key: bytes, purpose: str, sealed: bytes, owner: str) -> bytes:
    """Give the content that was sealed. Raises SecretsUnreadable, which names the owner."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], purpose.encode())
    except (InvalidTag, ValueError) as error:  # the latter: it is too short to be anything
        raise SecretsUnreadable(owner, "they do not open with this node's key") from error


def value_of(name: str, key: str) -> str:
    """Say what the seal of a kept value is for."""
    return f"value:{name}:{key}"


def snapshot_of(build_id: str) -> str:
    """Say what the seal of a build's snapshot is for."""
    return f"snapshot:{build_id}"


def shared_of(cluster: str, key: str) -> str:
    """Say what the seal of an object of a cluster is for."""
    return f"shared:{cluster}:{key}"


def canonical_json(values: Mapping[str, str]) -> bytes:
    """Write secrets so that equal ones are equal bytes."""
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def tag_of(key: bytes, name: str, values: Mapping[str, str]) -> str:
    """Give what tells equal secrets of a name from others, and tells nothing else to who has no key."""
    derived = HKDF(SHA256(), KEY_SIZE, salt=None, info=b"gridiron: tags of secrets").derive(key)
    return hmac.digest(derived, name.encode() + b"\0" + canonical_json(values), "sha256").hex()
