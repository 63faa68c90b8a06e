from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gridiron.errors import NameInvalid, VersionInvalid
from gridiron.model import Address, ModuleKind, check_name, check_version, module_kind

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}", fullmatch=True)


@given(name=NAMES, version=VERSIONS, timestamp=st.integers(0, 2**53))
def test_a_path_reads_back_as_the_address_that_wrote_it(name: str, version: str, timestamp: int) -> None:
    address = Address(name=name, version=version, timestamp=timestamp)
    assert Address.parse_path(address.path) == address
    assert Address.parse_path(address.path + "/") == address


@given(st.text(string.printable))
def test_any_other_text_is_no_address(text: str) -> None:
    address = Address.parse_path(text)
    assert address is None or text.rstrip("/") == address.path


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a_b", "a/b", "a" * 64, "ä", "a\n", ".."])
def test_a_name_outside_the_rule_is_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        check_name(name)


@pytest.mark.parametrize("version", ["", ".1", "-1", "1/2", "1 0", "v" * 65, "1\n", ".."])
def test_a_version_outside_the_rule_is_refused(version: str) -> None:
    with pytest.raises(VersionInvalid):
        check_version(version)


def test_an_address_cannot_hold_a_name_outside_the_rule() -> None:
    with pytest.raises((ValidationError, NameInvalid)):
        Address(name="../etc", version="1", timestamp=1)


def test_a_build_id_is_the_name_the_version_and_the_timestamp() -> None:
    assert str(Address(name="my-app", version="1.0.0-rc.1", timestamp=123)) == "my-app-1.0.0-rc.1-123"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.js", ModuleKind.JS),
        ("lib/a.mjs", ModuleKind.JS),
        ("a.wasm", ModuleKind.WASM),
        ("a.json", ModuleKind.JSON),
        ("a.txt", ModuleKind.TEXT),
        ("a.html", ModuleKind.TEXT),
        ("a.sql", ModuleKind.TEXT),
        ("a.bin", ModuleKind.DATA),
        ("index.js.map", None),
        ("README.md", None),
        ("js", None),
    ],
)
def test_the_ending_tells_the_kind_of_a_module(name: str, kind: ModuleKind | None) -> None:
    assert module_kind(name) == kind
