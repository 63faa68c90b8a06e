"""The key of a cluster: one file for all nodes, which their operator brings to each.

What one node seals, every other opens. The first node of all leaves a text in the bucket that is sealed with
its key (`shared/key.json`), and no node starts whose key does not open it.
"""

from __future__ import annotations

import structlog

from gridiron.errors import BucketUnavailable, ClusterKeyDiffers, SecretsUnreadable, StorageFailed
from gridiron.secrets.documents import Safe
from gridiron.secrets.key import KEY_FILE, ensure_key, expect_key

log = structlog.get_logger()

KEY_DOCUMENT = "key.json"

COMPARED_FILE = "key.compared"
"""Beside the key: the copy of that text. It opens where this key has been compared with this cluster's."""

TEXT = b"gridiron"
"""What is sealed says nothing; that it opens does."""


def settle_key(safe: Safe) -> bool:
    """See to it that this node has the cluster's key; the first node of all makes it where it has none.

    Safe to repeat, also from several nodes and processes. Where the bucket cannot be reached, a key that was
    compared before is good, and this gives False. Raises ClusterKeyDiffers where the key is missing or
    another, BucketUnavailable where that cannot be told, BucketRefused, ObjectDamaged, SecretKeyInvalid,
    StorageFailed.
    """
    directory, made = safe.secrets_dir, False
    document = safe.document(KEY_DOCUMENT, directory / COMPARED_FILE)
    expect_key(directory)
    try:
        reading = document.read()
        if not reading.fresh:
            log.warning("secrets.key_not_compared", bucket=safe.objects.url)
        elif reading.content is None:
            made = ensure_key(directory)
            document.change(lambda content: TEXT if content is None else content)
    except SecretsUnreadable as error:
        if made:  # another node was first, and its key is the cluster's
            _discard(safe)
        path = directory / KEY_FILE
        problem = "it opens nothing of the cluster's" if path.exists() else "it is missing"
        raise ClusterKeyDiffers(str(path), safe.cluster, problem) from error
    except BucketUnavailable as error:
        reason = f"{error.reason}; and this node's key was not compared with the cluster's before"
        raise BucketUnavailable(error.bucket, reason) from error
    return reading.fresh


def _discard(safe: Safe) -> None:
    path = safe.secrets_dir / KEY_FILE
    try:
        path.unlink()
    except OSError as error:
        raise StorageFailed("Removing", str(path), error.strerror or str(error)) from error
