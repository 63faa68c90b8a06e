"""Nodes of one cluster: each with a directory of its own, all with one bucket and one key."""

from __future__ import annotations

from pathlib import Path

from gridiron.secrets.documents import Safe
from gridiron.secrets.key import KEY_FILE
from gridiron.testing.objects import FakeObjects

KEY = b"k" * 32
CLUSTER = "gridiron"


def make_safe(directory: Path, bucket: FakeObjects, key: bytes | None = KEY) -> Safe:
    """Give the safe of a node whose directory this is; None: its operator has brought it no key."""
    secrets = directory / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    if key is not None:
        write_key(secrets, key)
    return Safe(bucket, CLUSTER, secrets)


def write_key(secrets: Path, key: bytes) -> None:
    (secrets / KEY_FILE).write_bytes(key)
    (secrets / KEY_FILE).chmod(0o600)
