"""The one key that the nodes of a cluster sign with: `shared/identity.json` in its bucket, sealed.

A node's own files (gridiron.identity.store) stay what its Restate and its cells go by: a Restate calls the
cells beside it and no others, so each node changes to another key by itself, as a node alone does. The bucket
is asked when Restate starts, and for a rotation.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridiron.ed25519 import parse_private_key, render_private_key
from gridiron.errors import BucketUnavailable
from gridiron.secrets.cluster import settle_key
from gridiron.secrets.documents import Safe

DOCUMENT = "identity.json"

COPY_FILE = "identity.shared.json"


class SharedKey:
    """The key of a cluster. Every method blocks.

    All raise BucketUnavailable (the change may have been made all the same), BucketRefused, ObjectChanged,
    ObjectDamaged, ClusterKeyDiffers, SecretKeyInvalid, SecretsUnreadable, StorageFailed, and KeyInvalid where
    what is in the bucket is no key.
    """

    def __init__(self, safe: Safe, directory: Path) -> None:
        """Take what the cluster keeps sealed, and the directory of the node's keys."""
        self._safe = safe
        self._document = safe.document(DOCUMENT, directory / COPY_FILE)

    def agree(self, own: Ed25519PrivateKey) -> Ed25519PrivateKey:
        """Give the cluster's key; where it has none yet, `own` becomes that. Safe to repeat."""
        self._settle()
        return self._parse(self._document.change(lambda content: content or render_private_key(own)))

    def follow(self, signing: Ed25519PrivateKey) -> Ed25519PrivateKey:
        """Give the key to sign with after `signing`: the cluster's, where that is another already.

        Else a new one, which becomes the cluster's. So the node that is first in a rotation makes a key, and
        the others take that up.
        """
        self._settle()
        new = render_private_key(Ed25519PrivateKey.generate())
        before = signing.public_key()

        def plan(content: bytes | None) -> bytes:
            if content is None or self._parse(content).public_key() == before:
                return new
            return content

        return self._parse(self._document.change(plan))

    def _settle(self) -> None:
        """See to it that the key which seals is the cluster's: Restate may be the first role to start."""
        if not settle_key(self._safe):
            raise BucketUnavailable(self._safe.objects.url, "it was tried just now")

    def _parse(self, content: bytes) -> Ed25519PrivateKey:
        return parse_private_key(self._document.place, content)
