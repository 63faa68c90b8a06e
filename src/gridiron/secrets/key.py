"""The node's key: a file of random bytes that opens every secret of the node, and that no other may read.

All nodes of a cluster have the same: see gridiron.secrets.cluster.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import structlog

from gridiron.errors import SecretKeyInvalid, SecretsUnreadable, StorageFailed
from gridiron.process.files import OF_OTHERS, create_file, is_shared

log = structlog.get_logger()

KEY_FILE = "key"
"""In the secrets directory. The router of a cell reads it under this name, too."""

KEY_SIZE = 32
"""Bytes: AES-256."""

KEPT_SUFFIX = ".json"
"""Of the files with the secrets of a name, beside the key: see gridiron.secrets.store."""


def ensure_key(directory: Path) -> bool:
    """Make the secrets directory and the key where they are missing; tell whether this call made the key.

    Safe to repeat, also from two processes. A key that is there is never replaced. Where it is gone and
    secrets are kept, none is made: it could not open them, and the old one may come back. Where the directory
    is shared (`is_shared`), its group may read the key. Raises SecretKeyInvalid for a key that must not be
    used, StorageFailed.
    """
    made = False
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / KEY_FILE).exists():
            if any(directory.glob(f"*{KEPT_SUFFIX}")):
                log.error("secrets.key_missing", path=str(directory / KEY_FILE))
                return False
            mode = 0o640 if is_shared(directory) else 0o600
            made = create_file(directory / KEY_FILE, secrets.token_bytes(KEY_SIZE), mode)
    except OSError as error:
        raise StorageFailed("Making", str(directory / KEY_FILE), error.strerror or str(error)) from error
    fetch_key(directory)
    return made


def expect_key(directory: Path) -> None:
    """Make the secrets directory where it is missing, and no key: somebody else brings it.

    Safe to repeat. Raises SecretKeyInvalid for a key that is there and must not be used, StorageFailed.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = (directory / KEY_FILE).exists()
    except OSError as error:
        raise StorageFailed("Making", str(directory), error.strerror or str(error)) from error
    if there:
        fetch_key(directory)


def fetch_key(directory: Path) -> bytes:
    """Read the key. Raises SecretKeyInvalid where others can read it or it is none, StorageFailed."""
    path = directory / KEY_FILE
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            key = file.read(KEY_SIZE + 1)
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error
    if mode & OF_OTHERS:
        problem = f"its permissions are {mode:04o}, so that others can read or change it: `chmod 600` it"
        raise SecretKeyInvalid(str(path), problem)
    if len(key) != KEY_SIZE:
        size = f"more than {KEY_SIZE}" if len(key) > KEY_SIZE else str(len(key))
        raise SecretKeyInvalid(str(path), f"it has {size} bytes instead of {KEY_SIZE}: restore it")
    return key


def fetch_key_for(directory: Path, owner: str) -> bytes:
    """Read the key that `owner` needs. Raises SecretsUnreadable where it is gone, SecretKeyInvalid."""
    try:
        return fetch_key(directory)
    except StorageFailed as error:
        reason = f"the node's key, {directory / KEY_FILE}, cannot be read ({error.reason})"
        raise SecretsUnreadable(owner, reason) from error
