"""The keys on disk: made, taken up by Restate, changed for others.

{directory}/signing.pem             what Restate signs with, mode 0600
{directory}/next.pem                what it signs with from its next start on, mode 0600: during a rotation
{directory}/public/accepted.json    what the cells accept: see gridiron.identity.accepted

In a cluster the key is that of all nodes (gridiron.identity.shared), where it can be had.

A rotation is `prepare_next`, a new start of Restate, and `take_up` in that. The next of these goes on with
what ended halfway, and at any time the cells accept what Restate signs with.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridiron.ed25519 import parse_private_key, render_private_key
from gridiron.errors import GridironError, IdentityGiven, KeyInvalid, StorageFailed
from gridiron.identity.accepted import (
    AcceptedKey,
    AcceptedKeys,
    kid_of,
    parse_accepted,
    plan_accepted,
    render_accepted,
)
from gridiron.identity.shared import SharedKey
from gridiron.process.files import OF_OTHERS, create_file, sync_directory
from gridiron.process.kept import read_kept, write_kept
from gridiron.secrets.documents import Safe
from gridiron.settings import Settings

log = structlog.get_logger()

SIGNING_FILE = "signing.pem"
NEXT_FILE = "next.pem"
PUBLIC_DIRECTORY = "public"
"""All of the identity that the cells can read: `identity.js` reads `ACCEPTED_FILE` in it."""

ACCEPTED_FILE = "accepted.json"

SETTLE = timedelta(seconds=2)
"""How long until every cell goes by a changed set: a cell reads it once a second (`identity.js`)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """How the keys of a node are."""

    signing: str | None  # kid of what Restate signs with; None: it was not started yet
    following: str | None  # kid of what it signs with from its next start on; None: the same
    accepted: tuple[AcceptedKey, ...]

    def is_settled_on(self, kid: str) -> bool:
        """Tell whether Restate signs with a key, and the cells accept no other."""
        return self.signing == kid and [key.kid for key in self.accepted] == [kid]


class IdentityStore:
    """The keys of a node. Every method blocks on the disk."""

    def __init__(
        self,
        directory: Path,
        given: Path | None = None,
        wait: Callable[[float], None] = time.sleep,
        shared: SharedKey | None = None,
    ) -> None:
        """Take the directory, and the private key where the node was given one (`GRIDIRON_IDENTITY_KEY`).

        `shared` is the key of the node's cluster, for `take_up` and `prepare_next`; None: it has one of its
        own.
        """
        self._given = given
        self._shared = shared
        self._wait = wait
        self._directory = directory
        self.next_key = directory / NEXT_FILE
        """Where the key is that Restate signs with from its next start on, if there is one."""
        self._accepted = directory / PUBLIC_DIRECTORY / ACCEPTED_FILE

    @classmethod
    def of(cls, settings: Settings) -> IdentityStore:
        """Give what keeps the keys of the node that the settings are of."""
        return cls(settings.identity_dir, settings.identity_key)

    @classmethod
    def of_node(cls, settings: Settings) -> IdentityStore:
        """Give the same for who changes them: in a cluster, with the key of all nodes.

        Nothing is connected to. Raises BucketRefused where the bucket's settings cannot be used.
        """
        if settings.cluster is None or settings.identity_key is not None:
            return cls.of(settings)
        from gridiron.objects.bucket import open_bucket  # noqa: PLC0415 - takes memory, on a node alone for nothing

        objects = open_bucket(settings.cluster.bucket, settings.s3_endpoint)
        safe = Safe(objects, settings.cluster.name, settings.secrets_dir)
        return cls(settings.identity_dir, shared=SharedKey(safe, settings.identity_dir))

    @property
    def signing_key(self) -> Path:
        """Where the private key is that Restate signs with."""
        return self._given or self._directory / SIGNING_FILE

    def prepare(self) -> None:
        """Make the directories, which cells do not start without. Safe to repeat. Raises StorageFailed."""
        try:
            self._accepted.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed("Making", str(self._accepted.parent), error.strerror or str(error)) from error

    def take_up(self) -> None:
        """Settle which key Restate signs with, and have the cells accept that one alone; it must not run now.

        Makes a key where there is none. In a cluster it is the one of all nodes; where that cannot be had,
        the log says why, and it is the one that this node has. Takes `SETTLE` where the cells went by other
        keys until now. Safe to repeat. Raises KeyInvalid, StorageFailed.
        """
        self.prepare()
        if self._given is None:
            self._settle_signing()
            self._agree()
        kid = self._accept_only(_fetch(self.signing_key))
        log.info("identity.taken_up", kid=kid)

    def prepare_next(self) -> str:
        """Have the key made that Restate signs with from its next start on, and give its kid.

        The cells accept it, too, when it is there. Takes `SETTLE`. Safe to repeat: what is prepared stays.
        In a cluster it is the key that another node has made before, or else becomes that of all nodes.
        Raises IdentityGiven, StorageFailed, KeyInvalid; in a cluster what `SharedKey` does.
        """
        if self._given is not None:
            raise IdentityGiven(str(self._given))
        if not self.next_key.exists():
            signing = _fetch(self.signing_key)
            following = self._shared.follow(signing) if self._shared else Ed25519PrivateKey.generate()
            self._write_accepted(self._describe(signing), self._describe(following))
            self._wait(SETTLE.total_seconds())
            self._create(self.next_key, following)  # or somebody else was first
        return kid_of(_fetch(self.next_key).public_key())

    def fetch(self) -> Identity:
        """Say how the keys are. Raises StorageFailed, KeyInvalid."""
        accepted = self._fetch_accepted()
        return Identity(
            signing=_fetch_kid(self.signing_key),
            following=None if self._given else _fetch_kid(self.next_key),
            accepted=accepted.keys if accepted else (),
        )

    def _settle_signing(self) -> None:
        signing = self.signing_key
        try:
            if self.next_key.exists():
                _fetch(self.next_key)  # only what can be used may replace what can
                self.next_key.replace(signing)  # the key before is gone with this
                sync_directory(self._directory)
            elif not signing.exists():
                self._create(signing, Ed25519PrivateKey.generate())
        except OSError as error:
            raise StorageFailed("Writing", str(signing), error.strerror or str(error)) from error

    def _agree(self) -> None:
        """Sign with the key of all nodes; one that cannot be had keeps Restate from nothing."""
        if self._shared is None:
            return
        own = _fetch(self.signing_key)
        try:
            key = self._shared.agree(own)
        except GridironError as error:
            log.warning("identity.not_shared", code=error.code, reason=str(error))
            return
        if key.public_key() != own.public_key():
            write_kept(self.signing_key, render_private_key(key))

    def share(self) -> None:
        """Have the key that this node signs with be the cluster's, which has none yet. Safe to repeat.

        Where it has one already, or the node has none or was given one, nothing happens. Raises KeyInvalid,
        StorageFailed, and what `SharedKey` does.
        """
        if self._shared is not None and self.signing_key.exists():
            self._shared.agree(_fetch(self.signing_key))

    def _accept_only(self, key: Ed25519PrivateKey) -> str:
        described = self._describe(key)
        others = self._accepted.exists() and self._find_accepted(described.kid) is None
        self._write_accepted(described)
        if others:
            self._wait(SETTLE.total_seconds())
        return described.kid

    def _describe(self, key: Ed25519PrivateKey) -> AcceptedKey:
        """Describe a key, as it is in the set where it is there."""
        described = plan_accepted(key.public_key(), datetime.now(UTC))
        return self._find_accepted(described.kid) or described

    def _find_accepted(self, kid: str) -> AcceptedKey | None:
        accepted = self._fetch_accepted()
        return accepted.find(kid) if accepted else None

    def _fetch_accepted(self) -> AcceptedKeys | None:
        content = read_kept(self._accepted)
        return None if content is None else parse_accepted(content)

    def _write_accepted(self, *keys: AcceptedKey) -> None:
        write_kept(self._accepted, render_accepted(AcceptedKeys(keys=keys)), 0o644)

    def _create(self, path: Path, key: Ed25519PrivateKey) -> None:
        """Have a key appear whole, unless there is one; for the directory's owner alone."""
        try:
            create_file(path, render_private_key(key), 0o600)
        except OSError as error:
            raise StorageFailed("Making", str(path), error.strerror or str(error)) from error


def _fetch_kid(path: Path) -> str | None:
    return kid_of(_fetch(path).public_key()) if path.exists() else None


def _fetch(path: Path) -> Ed25519PrivateKey:
    """Read a private key. Raises KeyInvalid where others can read it or it is none, StorageFailed."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read()
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error
    if mode & OF_OTHERS:
        raise KeyInvalid(str(path), f"its permissions are {mode:04o}: `chmod 600` it")
    return parse_private_key(str(path), content)
