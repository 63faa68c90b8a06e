from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.errors import SecretsUnreadable
from gridiron.secrets.seal import NONCE_SIZE, canonical_json, seal, snapshot_of, tag_of, unseal, value_of

KEY, OTHER = b"k" * 32, b"o" * 32


@given(st.binary(max_size=300), st.text(max_size=80))
def test_what_is_sealed_opens_with_its_key_and_purpose(content: bytes, purpose: str) -> None:
    sealed = seal(KEY, purpose, content)
    assert unseal(KEY, purpose, sealed, "greeter") == content
    for key, what in ((OTHER, purpose), (KEY, purpose + "x")):
        with pytest.raises(SecretsUnreadable):
            unseal(key, what, sealed, "greeter")


@pytest.mark.parametrize("at", [0, NONCE_SIZE - 1, NONCE_SIZE, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    sealed = bytearray(seal(KEY, "purpose", b"content"))
    sealed[at] ^= 1
    with pytest.raises(SecretsUnreadable) as caught:
        unseal(KEY, "purpose", bytes(sealed), "greeter")
    assert vars(caught.value) == {"owner": "greeter", "reason": "they do not open with this node's key"}


@pytest.mark.parametrize("size", [0, 1, NONCE_SIZE, NONCE_SIZE + 15])
def test_what_was_cut_off_does_not_open(size: int) -> None:
    with pytest.raises(SecretsUnreadable):
        unseal(KEY, "purpose", seal(KEY, "purpose", b"")[:size], "greeter")


def test_the_same_is_sealed_differently_each_time() -> None:
    assert len({seal(KEY, "purpose", b"content") for _ in range(100)}) == 100


def test_purposes_are_told_apart() -> None:
    assert (value_of("a", "B"), snapshot_of("a-1-2")) == ("value:a:B", "snapshot:a-1-2")


def test_canonical_json_does_not_hang_on_the_order() -> None:
    assert canonical_json({"b": "ü", "a": '"'}) == '{"a":"\\"","b":"ü"}'.encode()
    assert canonical_json({"a": '"', "b": "ü"}) == canonical_json({"b": "ü", "a": '"'})


def test_a_tag_is_equal_for_equal_secrets_of_one_name_and_key_alone() -> None:
    # HMAC-SHA256 with HKDF-SHA256 of the key, computed by hand
    assert tag_of(KEY, "greeter", {"A": "a"}) == TAG
    assert tag_of(KEY, "greeter", {"B": "b", "A": "a"}) == tag_of(KEY, "greeter", {"A": "a", "B": "b"})
    others = [
        tag_of(OTHER, "greeter", {"A": "a"}),
        tag_of(KEY, "counter", {"A": "a"}),
        tag_of(KEY, "greeter", {"A": "b"}),
        tag_of(KEY, "greeter", {"B": "a"}),
        tag_of(KEY, "greeter", {}),
    ]
    assert len({TAG, *others}) == 6


TAG = "cd9f53e63dd33675e6b5317e688bdcc7c9de1ce8b9cd0af5299abcb59602ccc6"
