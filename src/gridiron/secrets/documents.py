"""Small documents that are written anew as a whole: a node's own file, or the one of all nodes of a cluster.

That of a cluster is an object below `shared/` in its bucket, sealed with the cluster's key, and each node has
a copy on its disk, sealed as well, for while the bucket cannot be reached. It is only ever changed from what
it was when it was read, so that no node undoes what another has done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from gridiron.errors import (
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    SecretsUnreadable,
    StorageFailed,
)
from gridiron.objects.port import Found, Objects
from gridiron.process.kept import read_kept, write_kept
from gridiron.secrets.key import fetch_key_for
from gridiron.secrets.seal import seal, shared_of, unseal

log = structlog.get_logger()

SHARED = "shared"
"""The folder in the bucket of what all nodes of a cluster keep encrypted."""

MAX_DOCUMENT = 16 * 1024 * 1024
"""Bytes of a document as it is stored."""

ATTEMPTS = 16
"""Of a change: one that others came before means that one of them was made, and there are fewer nodes."""

Plan = Callable[[bytes | None], bytes]
"""Says what a document becomes; None: there is none yet. It may be asked again, and may raise."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A document as it was read."""

    content: bytes | None  # None: there is none
    fresh: bool = True  # False: the bucket cannot be reached, and it is the copy of this node


class Document(Protocol):
    """One document. Every method blocks, and raises StorageFailed; one thread at a time."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    def read(self) -> Reading:
        """Read it."""

    def change(self, plan: Plan) -> bytes:
        """Make it what the plan says, for good, and give that. Raises what the plan does."""


class FileDocument:
    """A Document in a file that this process alone writes: it is what was read or written last."""

    def __init__(self, path: Path) -> None:
        """Take the file; it is made of mode 0600, and need not be there."""
        self._path = path
        self._content: bytes | None = None

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self._path)

    def read(self) -> Reading:
        """Read the file."""
        self._content = read_kept(self._path)
        return Reading(self._content)

    def change(self, plan: Plan) -> bytes:
        """Write the file anew. It is on the disk once this returns."""
        content = plan(self._content)
        write_kept(self._path, content)
        self._content = content
        return content


@dataclass(frozen=True, slots=True)
class Safe:
    """What a cluster keeps sealed in its bucket, and the directory of the key that opens it."""

    objects: Objects
    cluster: str  # its name
    secrets_dir: Path

    def document(self, name: str, copy: Path) -> SharedDocument:
        """Give the document `shared/{name}`; `copy` is the file that this node has of it."""
        return SharedDocument(self, f"{SHARED}/{name}", copy)


class SharedDocument:
    """A Document in the bucket of a cluster; any number of nodes may have it.

    Methods raise BucketUnavailable, BucketRefused, ObjectDamaged, and SecretsUnreadable where the key is gone
    or another. The key is read anew each time that something is opened or sealed.
    """

    def __init__(self, safe: Safe, key: str, copy: Path) -> None:
        """Take the safe, the key of the object and the file for the copy; use `Safe.document`."""
        self._safe = safe
        self._key = key
        self._copy = copy
        self._known: tuple[str, bytes] | None = None  # its ETag, and what was in it

    @property
    def place(self) -> str:
        """The URL of the object."""
        return f"{self._safe.objects.url}/{self._key}"

    def read(self) -> Reading:
        """Read the object, or where the bucket cannot be reached the copy, if that opens.

        Costs one request, and no more than that where nothing has changed since the last time.
        """
        try:
            found = self._fetch()
        except BucketUnavailable:
            content = self._open_copy()
            if content is None:
                raise
            return Reading(content, fresh=False)
        return Reading(None if found is None else self._open(found))

    def change(self, plan: Plan) -> bytes:
        """Change the object from what it is now; nothing is written where it stays that.

        Where other nodes change it at the same time the plan is asked again, a few times; then ObjectChanged.
        With BucketUnavailable the change may have been made all the same.
        """
        for left in reversed(range(ATTEMPTS)):
            found = self._fetch()
            before = None if found is None else self._open(found)
            content = plan(before)
            if content == before:
                return content
            sealed = self._seal(content)
            try:
                etag = self._write(sealed, found)
            except (ObjectExists, ObjectChanged) as error:
                if not left:
                    raise ObjectChanged(self._safe.objects.url, self._key) from error
            else:
                self._remember(etag, content, sealed)
                return content
        raise AssertionError("the last attempt returns or raises")

    def _fetch(self) -> Found | None:
        try:
            return self._safe.objects.get(self._key, MAX_DOCUMENT)
        except ObjectMissing:
            self._forget()
            return None

    def _write(self, sealed: bytes, found: Found | None) -> str:
        objects = self._safe.objects
        if found is None:
            return objects.create(self._key, sealed)
        return objects.replace(self._key, sealed, found.etag)

    def _open(self, found: Found) -> bytes:
        if self._known is not None and self._known[0] == found.etag:
            return self._known[1]
        try:
            content = self._unseal(found.content)
        except ValidationError as error:
            raise ObjectDamaged(self._safe.objects.url, self._key, "it holds nothing sealed") from error
        self._remember(found.etag, content, found.content)
        return content

    def _remember(self, etag: str, content: bytes, sealed: bytes) -> None:
        """Know a content again, once there is a copy of it: what is revoked must not come back by an old one.

        A disk that takes no copy keeps nobody from what is in the bucket.
        """
        try:
            write_kept(self._copy, sealed)
        except StorageFailed as error:
            log.warning("shared.copy_not_written", key=self._key, reason=str(error))
            self._known = None
        else:
            self._known = etag, content

    def _forget(self) -> None:
        """Have no copy of what is not there any more."""
        self._known = None
        try:
            self._copy.unlink(missing_ok=True)
        except OSError as error:
            log.warning("shared.copy_not_removed", key=self._key, reason=error.strerror or str(error))

    def _open_copy(self) -> bytes | None:
        """Open the copy; None where there is none, or none that this node's key opens for this cluster."""
        sealed = read_kept(self._copy)
        if sealed is None:
            return None
        try:
            return self._unseal(sealed)
        except (SecretsUnreadable, ValidationError):
            return None

    def _seal(self, content: bytes) -> bytes:
        key = fetch_key_for(self._safe.secrets_dir, self.place)
        sealed = seal(key, shared_of(self._safe.cluster, self._key), content)
        return _Sealed(sealed=sealed).model_dump_json(indent=2).encode() + b"\n"

    def _unseal(self, stored: bytes) -> bytes:
        sealed = _Sealed.model_validate_json(stored).sealed
        key = fetch_key_for(self._safe.secrets_dir, self.place)
        return unseal(key, shared_of(self._safe.cluster, self._key), sealed, self.place)


class _Sealed(BaseModel):
    """A document as it is stored."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")

    sealed: bytes
