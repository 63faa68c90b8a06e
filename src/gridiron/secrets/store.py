"""The secrets of each name, sealed, in a file of its own; and the snapshots of them that builds are given.

{directory}/key            the node's key: see gridiron.secrets.key
{directory}/{name}.json    by KEY: when it was set, and the sealed value

In a cluster, `{name}.json` is an object in its bucket: see gridiron.secrets.keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gridiron.errors import SecretsUnreadable
from gridiron.secrets.keep import Keep, LocalKeep
from gridiron.secrets.key import fetch_key_for
from gridiron.secrets.seal import canonical_json, seal, snapshot_of, tag_of, unseal, value_of


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret of a name."""

    value: str = field(repr=False)
    set_at: datetime


Secrets = Mapping[str, Secret]
"""All secrets of a name, by KEY."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The secrets that a build is given, for good."""

    keys: tuple[str, ...] = ()  # sorted
    tag: str | None = None  # equal for equal secrets of a name; None: there are none
    sealed: bytes | None = None  # for the build's directory; None: there are none


NO_SECRETS = Snapshot()


_AS_TEXT = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")


class _Kept(BaseModel):
    """A secret as it is in the file of its name."""

    model_config = _AS_TEXT

    set_at: datetime
    sealed: bytes


_FILE = TypeAdapter(dict[str, _Kept], config=ConfigDict(ser_json_bytes="base64"))


class SecretStore:
    """What is kept of secrets. One process of a node writes: the manager. Every method blocks.

    The key is read anew each time: what is restored is used at once. Methods that need it raise
    SecretsUnreadable where it is gone or does not open what there is, and SecretKeyInvalid. Those that need
    what is kept of a name raise StorageFailed, or in a cluster BucketUnavailable and BucketRefused.
    """

    def __init__(self, directory: Path, keep: Keep | None = None) -> None:
        """Take the directory of the key, and where secrets are kept; None: in the same directory."""
        self._directory = directory
        self._keep = keep or LocalKeep(directory)

    def prepare(self) -> None:
        """Make the directory, and the key where this node is to make it; see `ensure_key`, `settle_key`."""
        self._keep.prepare()

    def fetch_times(self, name: str) -> dict[str, datetime]:
        """Say when each secret of a name was set, by KEY, sorted; needs no key of the node.

        Raises SecretsUnreadable for a damaged file.
        """
        return {key: kept.set_at for key, kept in sorted(self._parse(name, self._keep.read(name)).items())}

    def fetch(self, name: str) -> Secrets:
        """Give the secrets of a name, by KEY, sorted."""
        return self._open(name, self._keep.read(name))

    def replace(self, name: str, secrets: Secrets, before: Secrets) -> None:
        """Keep these secrets for a name and no others; in one step, and for good. Safe to repeat.

        `before` are those that this change goes by. Raises ObjectChanged where another node has changed them
        since: nothing of its is lost.
        """
        key = self._fetch_key(name)
        kept = {
            each: _Kept(set_at=secret.set_at, sealed=seal(key, value_of(name, each), secret.value.encode()))
            for each, secret in sorted(secrets.items())
        }
        content = _FILE.dump_json(kept, indent=2) + b"\n" if kept else None
        self._keep.replace(name, content, lambda there: self._open(name, there) in (before, secrets))

    def snapshot(self, build_id: str, name: str, secrets: Secrets) -> Snapshot:
        """Seal secrets of a name for one build of it."""
        if not secrets:
            return NO_SECRETS
        values = {each: secret.value for each, secret in secrets.items()}
        key = self._fetch_key(name)
        return Snapshot(
            keys=tuple(sorted(values)),
            tag=tag_of(key, name, values),
            sealed=seal(key, snapshot_of(build_id), canonical_json(values)),
        )

    def fetch_tag(self, name: str, secrets: Secrets) -> str | None:
        """Give the tag that a snapshot of these secrets has; None where there are none."""
        if not secrets:
            return None
        return tag_of(self._fetch_key(name), name, {each: secret.value for each, secret in secrets.items()})

    def check_snapshot(self, build_id: str, sealed: bytes) -> None:
        """Raise SecretsUnreadable unless the cells can open what a build has of secrets."""
        unseal(self._fetch_key(build_id), snapshot_of(build_id), sealed, build_id)

    def _open(self, name: str, content: bytes | None) -> Secrets:
        kept = sorted(self._parse(name, content).items())
        if not kept:
            return {}
        opener = self._fetch_key(name)
        return {
            key: Secret(unseal(opener, value_of(name, key), each.sealed, name).decode(), each.set_at)
            for key, each in kept
        }

    def _parse(self, name: str, content: bytes | None) -> dict[str, _Kept]:
        if content is None:
            return {}
        try:
            return _FILE.validate_json(content)
        except ValidationError as error:
            raise SecretsUnreadable(name, f"{self._keep.place(name)} is damaged") from error

    def _fetch_key(self, owner: str) -> bytes:
        return fetch_key_for(self._directory, owner)
