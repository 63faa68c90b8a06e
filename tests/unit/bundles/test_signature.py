from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.signature import (
    KeyPair,
    create_key,
    load_trusted_keys,
    parse_trusted_keys,
    sign,
    signed_text,
    verify,
)
from gridiron.ed25519 import parse_private_key
from gridiron.errors import KeyInvalid, SignatureInvalid

DIGEST = "34a08a65a40c53f5db8bfbbf8c55860243b6a8886cef464b3a89b271c85bf806"
OTHER = DIGEST.replace("3", "4")
PRIVATE = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""  # of the first test vector of RFC 8032
PUBLIC = b"""-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""
KNOWN_ID = "06e3fd8fda29bb60"  # this and the signature were made by OpenSSL, as docs/bundles.md shows
KNOWN_SIGNATURE = "ReDR80J8vNUM8d/lD6yhD4YJqgKd6h0z1mFirBBsmSptwVwiqrp4P482fWb558ZpvOIH0ZfbY3BYfkUF7AmaBg=="
ECDSA = ec.generate_private_key(ec.SECP256R1())


def test_a_signature_by_the_key_of_rfc_8032() -> None:
    key = parse_private_key("key", PRIVATE)
    assert key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) == PUBLIC
    assert signed_text(DIGEST) == b"sha256:" + DIGEST.encode()
    assert sign(key, DIGEST) == sign(key, DIGEST) == KNOWN_SIGNATURE


def test_a_new_key_signs_and_verifies() -> None:
    pair = create_key()
    keys = parse_trusted_keys("pub", pair.public)
    assert [key.key_id for key in keys] == [pair.key_id]
    assert verify(sign(parse_private_key("key", pair.private), DIGEST), DIGEST, keys) == pair.key_id
    assert create_key().key_id != pair.key_id


def test_of_several_keys_the_one_that_signed_is_named() -> None:
    first, second = create_key(), create_key()
    keys = parse_trusted_keys("pub", b"the first:\n" + first.public + b"the second:\n" + second.public)
    assert verify(sign(parse_private_key("key", second.private), DIGEST), DIGEST, keys) == second.key_id
    assert verify(sign(parse_private_key("key", first.private), DIGEST), DIGEST, keys) == first.key_id


def test_a_signature_may_be_broken_into_lines() -> None:
    text = sign(parse_private_key("key", PRIVATE), DIGEST)
    assert verify(f"{text[:64]}\n{text[64:]}\n", DIGEST, parse_trusted_keys("pub", PUBLIC)) == KNOWN_ID


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("", "it has 0 bytes, and an Ed25519 signature has 64"),
        ("AAAA", "it has 3 bytes, and an Ed25519 signature has 64"),
        ("no base64!", "it is no base64 text"),
        ("ü", "it is no base64 text"),
        (base64.b64encode(bytes(64)).decode(), None),
        (sign(parse_private_key("key", PRIVATE), OTHER), None),
    ],
)
def test_a_signature_that_does_not_hold(signature: str, reason: str | None) -> None:
    made_it = f"none of the keys that are trusted ({KNOWN_ID}) made it for sha256:{DIGEST}"
    with pytest.raises(SignatureInvalid) as caught:
        verify(signature, DIGEST, parse_trusted_keys("pub", PUBLIC))
    assert caught.value.reason == (reason or made_it)


def test_a_signature_where_no_key_is_trusted() -> None:
    with pytest.raises(SignatureInvalid) as caught:
        verify(sign(parse_private_key("key", PRIVATE), DIGEST), DIGEST, ())
    assert caught.value.reason == "no key is trusted"


@given(st.integers(0, 511))
def test_any_bit_of_a_signature_matters(bit: int) -> None:
    content = bytearray(base64.b64decode(KNOWN_SIGNATURE))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureInvalid):
        verify(base64.b64encode(content).decode(), DIGEST, parse_trusted_keys("pub", PUBLIC))


@given(st.text())
def test_any_text_is_no_signature(text: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(text, DIGEST, parse_trusted_keys("pub", PUBLIC))


# -- keys ------------------------------------------------------------------------------------------------

LOCKED = ed25519.Ed25519PrivateKey.generate().private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
)
ECDSA_PRIVATE = ECDSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
ECDSA_PUBLIC = ECDSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it is no private key in PEM"),
        (PUBLIC, "it is no private key in PEM"),
        (LOCKED, "a passphrase protects it: give a key without one"),
        (ECDSA_PRIVATE, "it is no Ed25519 key, and only those are used"),
    ],
)
def test_what_is_no_private_key(content: bytes, reason: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        parse_private_key("release.key", content)
    assert vars(caught.value) == {"file": "release.key", "reason": reason}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is no public key in PEM"),
        (b"ssh-ed25519 AAAA", "it is no public key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "it is no public key in PEM"),
        (PUBLIC + PRIVATE, "its private key does not belong there: give public keys only"),
        (LOCKED, "its encrypted private key does not belong there: give public keys only"),
        (PUBLIC + ECDSA_PUBLIC, "it is no Ed25519 key, and only those are used"),
    ],
)
def test_what_is_no_public_key(content: bytes, reason: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        parse_trusted_keys("release.key.pub", content)
    assert vars(caught.value) == {"file": "release.key.pub", "reason": reason}


@given(st.binary() | st.binary().map(lambda rest: PUBLIC[:60] + rest + PUBLIC[60:]))
def test_any_bytes_are_keys_or_refused(content: bytes) -> None:
    with suppress(KeyInvalid):
        assert parse_private_key("key", content)
    with suppress(KeyInvalid):
        assert parse_trusted_keys("key", content)


def write_keys(directory: Path, *names: str) -> list[KeyPair]:
    directory.mkdir(exist_ok=True)
    pairs = [create_key() for _ in names]
    for name, pair in zip(names, pairs, strict=True):
        (directory / name).write_bytes(pair.public)
    return pairs


def test_the_trusted_keys_of_a_file(tmp_path: Path) -> None:
    (pair,) = write_keys(tmp_path, "release.txt")
    assert [key.key_id for key in load_trusted_keys(tmp_path / "release.txt")] == [pair.key_id]


def test_the_trusted_keys_of_a_directory(tmp_path: Path) -> None:
    pairs = write_keys(tmp_path, "b.pem", "a.pub", ".hidden.pub", "README.md")
    found = [key.key_id for key in load_trusted_keys(tmp_path)]
    assert found == [pairs[1].key_id, pairs[0].key_id]


def test_one_bad_file_in_a_directory_of_trusted_keys_is_told(tmp_path: Path) -> None:
    write_keys(tmp_path, "a.pub")
    (tmp_path / "b.pem").write_bytes(PRIVATE)
    with pytest.raises(KeyInvalid) as caught:
        load_trusted_keys(tmp_path)
    assert vars(caught.value) == {
        "file": str(tmp_path / "b.pem"),
        "reason": "its private key does not belong there: give public keys only",
    }


def test_trusted_keys_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyInvalid) as caught:
        load_trusted_keys(tmp_path)
    assert caught.value.reason == "there is no *.pub or *.pem in it"
    with pytest.raises(KeyInvalid) as caught:
        load_trusted_keys(tmp_path / "none")
    assert vars(caught.value) == {"file": str(tmp_path / "none"), "reason": "No such file or directory"}
