from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gridiron.identity.accepted import (
    AcceptedKey,
    AcceptedKeys,
    base58,
    kid_of,
    parse_accepted,
    plan_accepted,
    render_accepted,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
# the first key of RFC 8032, section 7.1, and RFC 8037, appendix A
PUBLIC = Ed25519PublicKey.from_public_bytes(
    bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
)
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0a", "112g"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),  # of draft-msporny-base58
        (b"\0\0\x28\x7f\xb4\xcd", "11233QC4"),  # the same
    ],
)
def test_base58(content: bytes, text: str) -> None:
    assert base58(content) == text


def test_a_key_is_described_as_a_jwk() -> None:
    keys = AcceptedKeys(keys=(plan_accepted(PUBLIC, NOW),))
    assert json.loads(render_accepted(keys)) == {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "kid": "publickeyv1_FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z",
                "x": X,
                "accepted_at": "2026-11-01T12:00:00Z",
            }
        ]
    }


def test_what_was_written_is_read() -> None:
    keys = AcceptedKeys(
        keys=(plan_accepted(PUBLIC, NOW), plan_accepted(Ed25519PrivateKey.generate().public_key(), NOW))
    )
    assert parse_accepted(render_accepted(keys)) == keys
    assert keys.find(kid_of(PUBLIC)) == AcceptedKey(kid=kid_of(PUBLIC), x=X, accepted_at=NOW)
    assert keys.find("another") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"keys": [{"kid": "a"}]}', b"\xff"])
def test_what_is_damaged_is_no_set(content: bytes) -> None:
    assert parse_accepted(content) is None
