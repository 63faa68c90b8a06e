"""The bucket of a cluster in memory, for tests. Contract tests hold it to a real one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gridiron.errors import (
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    StorageFailed,
)
from gridiron.objects.port import Found, Listed, check_key, check_prefix

FAKE_URL = "s3://fake-bucket/gridiron"


class FakeObjects:
    """An Objects that any number of nodes may share, from any thread.

    Switches: while `away` is set, nothing is answered; `lost` is the number of the next writes and deletions
    that are done, and whose answers do not arrive: both raise BucketUnavailable. `requests` has the names of
    the methods that were called and their keys, in order: `get leases/demo`.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Make an empty bucket; `now` says when an object is modified."""
        self.away = False
        self.lost = 0
        self.requests: list[str] = []
        self._now = now
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}

    @property
    def url(self) -> str:
        """The bucket, as an error shows it."""
        return FAKE_URL

    def get(self, key: str, limit: int) -> Found:
        """Give an object. Raises ObjectMissing, ObjectDamaged over the limit, BucketUnavailable."""
        content = self._read("get", key)
        if len(content) > limit:
            raise ObjectDamaged(FAKE_URL, key, f"it has more than {limit} bytes")
        return Found(content, _etag_of(content))

    def fetch(self, key: str, path: Path, sha256: str) -> None:
        """Write an object into a file. Raises as `get`, and StorageFailed."""
        try:
            path.unlink(missing_ok=True)
            content = self._read("fetch", key)
            _check_sha256(key, content, sha256)
            path.write_bytes(content)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error

    def create(self, key: str, content: bytes) -> str:
        """Make an object. Raises ObjectExists, BucketUnavailable."""
        with self._lock:
            self._begin("create", key)
            if key in self._objects:
                raise ObjectExists(FAKE_URL, key)
            return self._write(key, content)

    def create_from(self, key: str, path: Path) -> None:
        """Make an object of a file. Raises as `create`, and StorageFailed."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error
        with self._lock:
            self._begin("create_from", key)
            if key in self._objects:
                raise ObjectExists(FAKE_URL, key)
            self._write(key, content)

    def replace(self, key: str, content: bytes, etag: str) -> str:
        """Replace an object that has an ETag. Raises ObjectChanged, BucketUnavailable."""
        with self._lock:
            self._begin("replace", key)
            if key not in self._objects or _etag_of(self._objects[key][0]) != etag:
                raise ObjectChanged(FAKE_URL, key)
            return self._write(key, content)

    def put(self, key: str, content: bytes) -> str:
        """Make or replace an object. Raises BucketUnavailable."""
        with self._lock:
            self._begin("put", key)
            return self._write(key, content)

    def delete(self, key: str) -> None:
        """Remove an object, if there is one. Raises BucketUnavailable."""
        with self._lock:
            self._begin("delete", key)
            self._objects.pop(key, None)
            self._lose_answer()

    def list(self, prefix: str) -> tuple[Listed, ...]:
        """Give all objects below a prefix. Raises BucketUnavailable."""
        begins = check_prefix(prefix)
        with self._lock:
            self._begin("list", prefix)
            return tuple(
                Listed(key, len(content), _etag_of(content), modified_at)
                for key, (content, modified_at) in sorted(self._objects.items())
                if key.startswith(begins)
            )

    def _begin(self, method: str, key: str) -> None:
        """Take a request in. Raises ValueError where the key is none, BucketUnavailable while it is away."""
        if method != "list":
            check_key(key)
        self.requests.append(f"{method} {key}")
        if self.away:
            raise BucketUnavailable(FAKE_URL, "it is away")

    def _read(self, method: str, key: str) -> bytes:
        with self._lock:
            self._begin(method, key)
            if key not in self._objects:
                raise ObjectMissing(FAKE_URL, key)
            return self._objects[key][0]

    def _write(self, key: str, content: bytes) -> str:
        self._objects[key] = content, self._now()
        self._lose_answer()
        return _etag_of(content)

    def _lose_answer(self) -> None:
        if self.lost:
            self.lost -= 1
            raise BucketUnavailable(FAKE_URL, "its answer did not arrive")


def _etag_of(content: bytes) -> str:
    """Give the same for the same content, as S3 does."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _check_sha256(key: str, content: bytes, expected: str) -> None:
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise ObjectDamaged(FAKE_URL, key, f"its sha256 is {actual}, and should be {expected}")
