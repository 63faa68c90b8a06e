from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.objects.port import check_key, check_prefix


@given(st.lists(st.from_regex(r"[a-z0-9][A-Za-z0-9._-]*", fullmatch=True), min_size=1))
def test_what_is_made_of_build_ids_is_a_key(segments: list[str]) -> None:
    key = "/".join(segments)
    assert check_key(key) == key
    assert check_prefix(key) == f"{key}/"


@pytest.mark.parametrize("prefix", ["/", "a/", "a//b", "..", "a/.."])
def test_what_is_no_prefix(prefix: str) -> None:
    with pytest.raises(ValueError, match="no key"):
        check_prefix(prefix)


def test_all_keys_begin_with_no_prefix() -> None:
    assert check_prefix("") == ""
