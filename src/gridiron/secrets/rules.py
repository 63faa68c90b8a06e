"""What can be a secret, and which secrets can go together. Pure; no sentence repeats what was given."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gridiron.errors import SecretInvalid, SecretIsVariable, SecretsMissing, SecretTooLarge

KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_VALUE = 64 * 1024
"""Bytes of one value in UTF-8."""

MAX_VALUES = 128 * 1024
"""Bytes of all values of a name: with `vars` they share the 1 MiB that workerd's loader takes."""

MAX_KEYS = 100
"""Secrets of a name."""


def is_key(text: str) -> bool:
    """Tell whether a text can be the name of a secret; `__proto__` is another thing to JavaScript."""
    return KEY.fullmatch(text) is not None and text != "__proto__"


def check_key(key: str) -> str:
    """Give the name of a secret back, or raise SecretInvalid."""
    if not is_key(key):
        raise SecretInvalid(
            "its KEY needs a letter or '_' first, then up to 63 of those and digits; "
            "the value goes to standard input"
        )
    return key


def check_value(value: str) -> str:
    """Give a value back, or raise SecretInvalid or SecretTooLarge."""
    if not value:
        raise SecretInvalid("its value is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise SecretInvalid("its value is no UTF-8") from None  # that error has the value in it
    if size > MAX_VALUE:
        raise SecretTooLarge("The value has", f"{size} bytes", str(MAX_VALUE))
    return value


def check_values(values: Mapping[str, str]) -> None:
    """Raise SecretInvalid or SecretTooLarge unless these can be all the secrets of a name."""
    for key, value in values.items():
        check_key(key)
        check_value(value)
    if len(values) > MAX_KEYS:
        raise SecretTooLarge("It would make", f"{len(values)} secrets of one name", str(MAX_KEYS))
    size = sum(len(value.encode()) for value in values.values())
    if size > MAX_VALUES:
        raise SecretTooLarge("All secrets of the name would have", f"{size} bytes", str(MAX_VALUES))


def check_bindings(
    name: str, variables: Collection[str], keys: Collection[str], required: Collection[str]
) -> None:
    """Raise SecretsMissing or SecretIsVariable unless these secrets (`keys`) suit a build of the name."""
    if missing := sorted(set(required) - set(keys)):
        command = "; ".join(f"gridiron secret put {name} {key}" for key in missing)
        raise SecretsMissing(name, ", ".join(missing), command)
    if both := sorted(set(variables) & set(keys)):
        raise SecretIsVariable(name, ", ".join(both))
