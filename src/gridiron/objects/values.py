"""Small objects that hold a value as JSON."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from gridiron.errors import ObjectDamaged
from gridiron.model import Value
from gridiron.objects.port import Objects

LIMIT = 4096
"""Bytes of such an object; they have some hundred."""

V = TypeVar("V", bound=Value)


def fetch_value(objects: Objects, key: str, kind: type[V], problem: str) -> tuple[V, str]:
    """Read a value and the ETag of its object. Raises ObjectMissing; ObjectDamaged where it is no such value.

    `problem` is what is wrong then, for people.
    """
    found = objects.get(key, LIMIT)
    try:
        return kind.model_validate_json(found.content), found.etag
    except ValidationError as error:
        raise ObjectDamaged(objects.url, key, problem) from error


def render_value(value: Value) -> bytes:
    """Write a value as its object has it."""
    return value.model_dump_json().encode()
