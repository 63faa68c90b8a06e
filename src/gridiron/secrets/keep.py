"""Where the secrets of each name are kept, sealed: the disk of a node alone, the bucket of a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gridiron.errors import ObjectChanged, ObjectExists, ObjectMissing, StorageFailed
from gridiron.model import check_name
from gridiron.objects.port import Found
from gridiron.process.files import sync_directory
from gridiron.process.kept import read_kept, write_kept
from gridiron.secrets.cluster import settle_key
from gridiron.secrets.documents import SHARED, Safe
from gridiron.secrets.key import KEPT_SUFFIX, ensure_key

KEPT = f"{SHARED}/secrets"

MAX_KEPT = 1024 * 1024
"""Bytes of all secrets of a name: 128 KiB in base64, and the names and times of a hundred."""

NONE_KEPT = b"{}\n"
"""Stands in the bucket for a name that had secrets: an object that is removed cannot be compared before."""

IsExpected = Callable[[bytes | None], bool]
"""Tells whether what is kept is what whoever changes it goes by."""


class Keep(Protocol):
    """Where the secrets of a name are. Every method blocks; the name is checked (NameInvalid)."""

    def prepare(self) -> None:
        """Make ready, with the key that the secrets are sealed with. Safe to repeat."""

    def place(self, name: str) -> str:
        """Say for people where the secrets of a name are."""

    def read(self, name: str) -> bytes | None:
        """Read what is kept of a name; None where nothing is."""

    def replace(self, name: str, content: bytes | None, is_expected: IsExpected) -> None:
        """Keep this for a name, in one step and for good; None: nothing.

        Raises ObjectChanged, and changes nothing, where others change it too and it is not as expected.
        """


class LocalKeep:
    """A Keep in a directory that one process writes to: what is there is what it knows of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory and the key; see `ensure_key`."""
        ensure_key(self._directory)

    def place(self, name: str) -> str:
        """Give the path of the file."""
        return str(self._path_of(name))

    def read(self, name: str) -> bytes | None:
        """Read the file. Raises StorageFailed."""
        return read_kept(self._path_of(name))

    def replace(self, name: str, content: bytes | None, _is_expected: IsExpected) -> None:
        """Write or remove the file. Raises StorageFailed."""
        path = self._path_of(name)
        if content is not None:
            write_kept(path, content)
            return
        try:
            path.unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error

    def _path_of(self, name: str) -> Path:
        return self._directory / f"{check_name(name)}{KEPT_SUFFIX}"


class SharedKeep:
    """A Keep in the bucket of a cluster, without copies: what needs secrets needs the bucket anyway.

    Every method but `place` raises BucketUnavailable and BucketRefused.
    """

    def __init__(self, safe: Safe) -> None:
        self._safe = safe

    def prepare(self) -> None:
        """See to it that the key is the cluster's; see `settle_key`."""
        settle_key(self._safe)

    def place(self, name: str) -> str:
        """Give the URL of the object."""
        return f"{self._safe.objects.url}/{_key_of(name)}"

    def read(self, name: str) -> bytes | None:
        """Read the object. Raises ObjectDamaged."""
        found = self._fetch(name)
        return None if found is None else found.content

    def replace(self, name: str, content: bytes | None, is_expected: IsExpected) -> None:
        """Write the object if it is still as expected. Raises ObjectChanged, ObjectDamaged."""
        objects, key, found = self._safe.objects, _key_of(name), self._fetch(name)
        if not is_expected(None if found is None else found.content):
            raise ObjectChanged(objects.url, key)
        if found is not None:
            objects.replace(key, NONE_KEPT if content is None else content, found.etag)
        elif content is not None:
            try:
                objects.create(key, content)
            except ObjectExists as error:
                raise ObjectChanged(objects.url, key) from error

    def _fetch(self, name: str) -> Found | None:
        try:
            return self._safe.objects.get(_key_of(name), MAX_KEPT)
        except ObjectMissing:
            return None


def share_secrets(directory: Path, safe: Safe) -> None:
    """Have what a node alone keeps be what its cluster keeps, which nobody goes by yet. Safe to repeat.

    What an attempt before has brought there is replaced. The key has to be the cluster's: see `settle_key`.
    Raises NameInvalid for a file that is none of secrets, StorageFailed, and what SharedKeep does.
    """
    alone, shared = LocalKeep(directory), SharedKeep(safe)
    try:
        names = {path.name.removesuffix(KEPT_SUFFIX) for path in directory.glob(f"*{KEPT_SUFFIX}")}
    except OSError as error:
        raise StorageFailed("Reading", str(directory), error.strerror or str(error)) from error
    listed = (each.key.removeprefix(f"{KEPT}/") for each in safe.objects.list(KEPT))
    for name in sorted(names | {key.removesuffix(KEPT_SUFFIX) for key in listed}):
        shared.replace(name, alone.read(name), lambda _: True)


def _key_of(name: str) -> str:
    return f"{KEPT}/{check_name(name)}{KEPT_SUFFIX}"
