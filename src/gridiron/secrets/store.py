"""The secrets of each name, sealed, in a file of its own; and the snapshots of them that builds are given.

{directory}/key            the node's key: see gridiron.secrets.key
{directory}/{name}.json    by KEY: when it was set, and the sealed value
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from gridiron.errors import SecretsUnreadable, StorageFailed
from gridiron.model import check_name
from gridiron.process.files import replace_file, sync_directory
from gridiron.secrets.key import KEPT_SUFFIX, KEY_FILE, ensure_key, fetch_key
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
    """What a node keeps of secrets. One process writes: the manager. Every method blocks on the disk.

    The key is read anew each time: what is restored is used at once. Methods that need it raise
    SecretsUnreadable where it is gone or does not open what there is, and SecretKeyInvalid.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory and the key where they are missing; see `ensure_key`."""
        ensure_key(self._directory)

    def fetch_times(self, name: str) -> dict[str, datetime]:
        """Say when each secret of a name was set, by KEY, sorted; needs no key of the node.

        Raises SecretsUnreadable for a damaged file, StorageFailed.
        """
        return {key: kept.set_at for key, kept in sorted(self._read(name).items())}

    def fetch(self, name: str) -> Secrets:
        """Give the secrets of a name, by KEY, sorted."""
        kept = sorted(self._read(name).items())
        if not kept:
            return {}
        opener = self._fetch_key(name)
        return {
            key: Secret(unseal(opener, value_of(name, key), each.sealed, name).decode(), each.set_at)
            for key, each in kept
        }

    def replace(self, name: str, secrets: Secrets) -> None:
        """Keep these secrets for a name and no others; in one step, and on the disk. Safe to repeat."""
        path = self._path_of(name)
        key = self._fetch_key(name)
        kept = {
            each: _Kept(set_at=secret.set_at, sealed=seal(key, value_of(name, each), secret.value.encode()))
            for each, secret in sorted(secrets.items())
        }
        try:
            if kept:
                replace_file(path, _FILE.dump_json(kept, indent=2) + b"\n", 0o600)
            else:
                path.unlink(missing_ok=True)
            sync_directory(self._directory)
        except OSError as error:
            raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error

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

    def _read(self, name: str) -> dict[str, _Kept]:
        path = self._path_of(name)
        try:
            return _FILE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error
        except ValidationError as error:
            raise SecretsUnreadable(name, f"{path} is damaged") from error

    def _path_of(self, name: str) -> Path:
        return self._directory / f"{check_name(name)}{KEPT_SUFFIX}"

    def _fetch_key(self, owner: str) -> bytes:
        try:
            return fetch_key(self._directory)
        except StorageFailed as error:
            reason = f"the node's key, {self._directory / KEY_FILE}, cannot be read ({error.reason})"
            raise SecretsUnreadable(owner, reason) from error
