"""Take the values out of a manifest file one by one, and collect what is wrong with them."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import PurePosixPath
from typing import Any

from gridiron.bundles.paths import check_path, shorten
from gridiron.errors import BundlePathInvalid, ManifestInvalid
from gridiron.model import DEFAULT_COMPATIBILITY_DATE, ModuleKind, module_kind
from gridiron.secrets.rules import is_key

NO_PYTHON = "a node runs no Python: write it in JavaScript, TypeScript or Wasm, and remove this"
PYTHON_FLAG = "python_workers"
"""Begins the flags by which workerd runs Python, which it fetches from the internet."""

TOLD = 50
"""Problems of one file that a sentence tells."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Fields:
    """The values of an object. `take_…` gives one, or its default after noting a problem with it.

    `check` in the end raises all that was noted, of this object and of those below it.
    """

    def __init__(self, values: dict[str, Any], prefix: str = "", problems: list[str] | None = None) -> None:
        self._values = dict(values)
        self._prefix = prefix
        self._problems = [] if problems is None else problems

    @property
    def left(self) -> dict[str, Any]:
        """The values that were not taken yet."""
        return dict(self._values)

    def refuse(self, key: str, problem: str) -> None:
        """Note what is wrong with a key."""
        self._problems.append(f"{self._prefix}{key}: {problem}")

    def check(self, file: str) -> None:
        """Raise ManifestInvalid for the file when anything was noted."""
        if self._problems:
            told = [shorten(problem) for problem in self._problems[:TOLD]]
            if len(self._problems) > TOLD:
                told.append(f"and {len(self._problems) - TOLD} more")
            raise ManifestInvalid(file, "; ".join(told))

    def below(self, key: str) -> Fields:
        """Take an object, to take its values in turn."""
        return Fields(self.take_object(key), f"{self._prefix}{key}.", self._problems)

    def take(self, key: str) -> object:
        """Take a value of any type; None where there is none."""
        return self._values.pop(key, None)

    def take_text(self, key: str) -> str | None:
        """Take a text that is not empty."""
        value = self._values.pop(key, None)
        if value is None or (isinstance(value, str) and value):
            return value
        self.refuse(key, "it must be a text")
        return None

    def take_main(self, key: str = "main") -> str | None:
        """Take the path of a JavaScript module in the bundle; `./` before it is dropped."""
        value = self.take_text(key)
        if value is None:
            return None
        path = PurePosixPath(value)
        problem = _main_problem(path)
        if problem:
            self.refuse(key, problem)
        return str(path)

    def take_date(self, key: str) -> dt.date:
        """Take a compatibility date."""
        value = self._values.pop(key, None)
        if value is None:
            return DEFAULT_COMPATIBILITY_DATE
        try:
            if isinstance(value, str) and _DATE.fullmatch(value):
                return dt.date.fromisoformat(value)
        except ValueError:  # such as the 30th of February
            pass
        self.refuse(key, 'it must be a day as "YYYY-MM-DD"')
        return DEFAULT_COMPATIBILITY_DATE

    def take_texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts."""
        value = self._values.pop(key, None)
        if value is None:
            return ()
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return tuple(value)
        self.refuse(key, "it must be a list of texts")
        return ()

    def take_flags(self, key: str) -> tuple[str, ...]:
        """Take a list of compatibility flags."""
        flags = self.take_texts(key)
        for flag in flags:
            if flag.startswith(PYTHON_FLAG):
                self.refuse(key, f"{flag}: {NO_PYTHON}")
        return flags

    def take_objects(self, key: str) -> tuple[Fields, ...]:
        """Take a list of objects, to take their values in turn."""
        value = self._values.pop(key, None) or []
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.refuse(key, "it must be a list of objects")
            return ()
        prefix = f"{self._prefix}{key}"
        return tuple(Fields(each, f"{prefix}[{n}].", self._problems) for n, each in enumerate(value))

    def take_keys(self, key: str) -> tuple[str, ...]:
        """Take a list of names of secrets; give it sorted, each once."""
        names = self.take_texts(key)
        if not all(is_key(name) for name in names):
            self.refuse(
                key, "the name of a secret has a letter or '_' first, then up to 63 of those and digits"
            )
        return tuple(sorted(set(names)))

    def take_object(self, key: str) -> dict[str, Any]:
        """Take an object."""
        value = self._values.pop(key, None)
        if value is None or isinstance(value, dict):
            return value or {}
        self.refuse(key, "it must be an object")
        return {}

    def take_vars(self, key: str = "vars") -> dict[str, Any]:
        """Take an object of values that JSON has: TOML has dates and infinite numbers besides."""
        values = self.take_object(key)
        for name, value in values.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                self.refuse(f"{key}.{name}", "it must be a value that JSON has: no date, no infinite number")
        return values


def _main_problem(path: PurePosixPath) -> str | None:
    if path.is_absolute() or ".." in path.parts:
        return f"{str(path)!r} leaves the bundle"
    if module_kind(str(path)) is not ModuleKind.JS:
        return f"{str(path)!r} is no JavaScript module (.js or .mjs)"
    try:
        check_path(str(path))
    except BundlePathInvalid as error:
        return f"{error.path!r} cannot be a module: {error.reason}"
    return None
