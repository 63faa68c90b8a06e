"""What the rest of the program may ask of the bucket that a cluster shares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
KEY = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it was read."""

    content: bytes
    etag: str  # for `replace`; an opaque text that is another after each change of the content


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing names it."""

    key: str  # below the cluster's prefix
    size: int  # bytes
    etag: str  # compares with that of another listing only: Google's listings have others than its objects
    modified_at: datetime


class Objects(Protocol):
    """The objects of a cluster: the part of a bucket that is below its prefix.

    Every method blocks, within limits (gridiron.objects.bucket), and may be called from several threads. A
    key is `segment/segment/…`, relative to the prefix, of letters, digits and `._-`; no segment begins with
    a dot (`check_key`). All of an object appears at once or not at all, and what was written is what is read
    from then on, at every node.

    Every method raises BucketUnavailable where the bucket does not answer after a few attempts; what was to
    be written or deleted may be so all the same, then or a little later. It raises BucketRefused where the
    bucket answers and refuses. An attempt after one whose answer was lost may meet what that one has made:
    `create` and `replace` count an object that has exactly the content that they were to write as written by
    them. Where it matters who was first, the content has to be the caller's alone (a nonce in it). It has to
    be new as well: an ETag may be a digest of the content, so that old content brings an old ETag back.
    """

    @property
    def url(self) -> str:
        """The bucket with the prefix, as an error shows it: `s3://bucket/prefix`."""

    def get(self, key: str, limit: int) -> Found:
        """Read a small object, of `limit` bytes at most. Safe to repeat.

        Raises ObjectMissing; ObjectDamaged where it has more.
        """

    def fetch(self, key: str, path: Path, sha256: str) -> None:
        """Write an object into a file, from its beginning; the file is not synced. Safe to repeat.

        Raises ObjectMissing; ObjectDamaged where the content has not this sha256 (lower-case hexadecimal);
        StorageFailed. After each of them there is no file at `path`.
        """

    def create(self, key: str, content: bytes) -> str:
        """Make an object where there is none, and give its ETag. Raises ObjectExists."""

    def create_from(self, key: str, path: Path) -> None:
        """Make an object of a file where there is none, without having all of it in memory.

        Raises ObjectExists, also where it was this very call that made it and the answer was lost: so the
        key has to say what the content is (its sha256). Raises StorageFailed where the file cannot be read.
        """

    def replace(self, key: str, content: bytes, etag: str) -> str:
        """Replace an object that has this ETag, as `get`, `create` or `replace` gave it; give the new one.

        Raises ObjectChanged where it has another, or is gone.
        """

    def put(self, key: str, content: bytes) -> str:
        """Make an object, or replace what is there, whatever it is; give its ETag. Safe to repeat."""

    def delete(self, key: str) -> None:
        """Remove an object, if there is one. Safe to repeat; nothing tells whether it is still the same."""

    def list(self, prefix: str) -> tuple[Listed, ...]:
        """Give all objects below `prefix` (whole segments, as "builds"; "" for all), in order of their keys.

        An object that has exactly this key is not below it.
        """


def check_key(key: str) -> str:
    """Give a key back, or raise ValueError: only a mistake of this program makes another."""
    if not KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of an object")
    return key


def check_prefix(prefix: str) -> str:
    """Give a prefix of keys as it begins those below it, or raise ValueError."""
    return f"{check_key(prefix)}/" if prefix else ""
