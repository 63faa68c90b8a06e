from __future__ import annotations

import pytest

from gridiron.errors import SecretInvalid, SecretIsVariable, SecretsMissing, SecretTooLarge
from gridiron.secrets.rules import (
    MAX_KEYS,
    MAX_VALUE,
    check_bindings,
    check_key,
    check_value,
    check_values,
    is_key,
)


@pytest.mark.parametrize("key", ["A", "_", "api_key", "_1", "a" * 64, "constructor", "__proto"])
def test_what_a_secret_can_be_called(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A B", "ä", "a" * 65, "A\n", "A=hunter2", "__proto__", "."])
def test_what_a_secret_cannot_be_called_is_not_repeated(key: str) -> None:
    assert not is_key(key)
    with pytest.raises(SecretInvalid) as caught:
        check_key(key)
    assert str(caught.value) == (
        "That is no secret: its KEY needs a letter or '_' first, then up to 63 of those and digits; "
        "the value goes to standard input."
    )


def test_a_value_is_a_text_of_up_to_64_kibibytes() -> None:
    for value in ("a", "\x00", "ü" * (MAX_VALUE // 2), "a" * MAX_VALUE, "\n"):
        assert check_value(value) == value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("", "That is no secret: its value is empty."),
        ("hunter\ud800", "That is no secret: its value is no UTF-8."),
        (
            "ü" * (MAX_VALUE // 2) + "a",
            (
                "The value has 65537 bytes, and 65536 is the most. "
                "Keep less, and fetch large data from elsewhere."
            ),
        ),
    ],
)
def test_a_value_that_cannot_be_kept(value: str, told: str) -> None:
    with pytest.raises((SecretInvalid, SecretTooLarge)) as caught:
        check_value(value)
    assert str(caught.value) == told
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # no traceback shows it


def test_how_much_a_name_can_have() -> None:
    check_values({})
    check_values({"A": "a" * MAX_VALUE, "B": "b" * MAX_VALUE})
    check_values({f"K{number}": "v" for number in range(MAX_KEYS)})
    with pytest.raises(SecretTooLarge) as caught:
        check_values({"A": "a" * MAX_VALUE, "B": "b" * MAX_VALUE, "C": "c"})
    assert str(caught.value).startswith(
        "All secrets of the name would have 131073 bytes, and 131072 is the most."
    )
    with pytest.raises(SecretTooLarge) as caught:
        check_values({f"K{number}": "v" for number in range(MAX_KEYS + 1)})
    assert str(caught.value).startswith("It would make 101 secrets of one name, and 100 is the most.")


@pytest.mark.parametrize("values", [{"A B": "a"}, {"A": ""}, {"A": "\udfff"}])
def test_each_has_to_be_one(values: dict[str, str]) -> None:
    with pytest.raises(SecretInvalid):
        check_values(values)


def test_a_build_has_what_it_requires_and_nothing_twice() -> None:
    check_bindings("greeter", {"V"}, ("A", "B"), ("A",))
    with pytest.raises(SecretsMissing) as missing:
        check_bindings("greeter", {"B"}, ("A",), ("C", "B", "A"))
    assert str(missing.value) == (
        "The bundle requires secrets that greeter does not have: B, C. "
        "Put each of them, its value on standard input: "
        "`gridiron secret put greeter B; gridiron secret put greeter C`."
    )
    with pytest.raises(SecretIsVariable) as both:
        check_bindings("greeter", {"B", "A", "V"}, ("A", "B"), ())
    assert vars(both.value) == {"name": "greeter", "keys": "A, B"}
