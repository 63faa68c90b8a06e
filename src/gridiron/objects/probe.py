"""Whether a bucket keeps the conditions of writes. A server that passes over them would not say so."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from gridiron.errors import BucketRefused, ObjectChanged, ObjectExists
from gridiron.objects.port import Objects

ADVICE = "Two nodes could do at once what one has to do alone: use another server, or a newer version of it."


def check_conditions(objects: Objects) -> None:
    """Try writes whose conditions do not hold, on an object of its own that is gone afterwards.

    Blocks for as long as six requests take. Safe to repeat, also from several nodes at once. Raises
    BucketRefused where such a write was done, and what Objects raises.
    """
    key = f"probes/{uuid4().hex}"
    etag = objects.create(key, b"first")
    try:
        _check_refused(objects, "If-None-Match", lambda: objects.create(key, b"second"))
        objects.replace(key, b"third", etag)
        _check_refused(objects, "If-Match", lambda: objects.replace(key, b"fourth", etag))
    finally:
        objects.delete(key)


def _check_refused(objects: Objects, condition: str, write: Callable[[], object]) -> None:
    try:
        write()
    except (ObjectExists, ObjectChanged):
        return
    raise BucketRefused(objects.url, f"its server passes over {condition}", ADVICE)
