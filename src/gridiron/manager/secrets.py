"""The decisions about the secrets of a name: what they become by a change, and what follows of it. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gridiron.errors import SecretNotFound
from gridiron.model import Build
from gridiron.secrets.rules import check_key, check_values
from gridiron.secrets.store import Secret, Secrets


@dataclass(frozen=True, slots=True)
class Change:
    """One secret of a name that somebody wants set or removed."""

    name: str
    key: str
    value: str | None = field(repr=False)  # None: remove it


def plan_given(kept: Secrets, given: Mapping[str, str], now: datetime) -> Secrets:
    """Give the secrets of a name once `given` are set, too: one of the same value stays as it is.

    Raises SecretInvalid, SecretTooLarge.
    """
    wanted = {**kept, **{key: _set(kept.get(key), value, now) for key, value in given.items()}}
    if given:
        check_values({key: secret.value for key, secret in wanted.items()})
    return wanted


def plan_change(kept: Secrets, change: Change, now: datetime) -> Secrets:
    """Give the secrets of a name once a change is made.

    Raises SecretNotFound where there is nothing to remove, SecretInvalid, SecretTooLarge.
    """
    check_key(change.key)
    if change.value is not None:
        return plan_given(kept, {change.key: change.value}, now)
    if change.key not in kept:
        raise SecretNotFound(change.name, change.key)
    return {key: secret for key, secret in kept.items() if key != change.key}


def find_missing(build: Build, keys: Collection[str], change: Change) -> tuple[str, ...]:
    """Find what keeps a build from being made anew after a change, and is no reason to refuse that.

    Several secrets that a build requires can only be set one after the other. Taking one away from it is
    another thing: nothing is missing in that sense, and the new build is refused.
    """
    if change.value is None:
        return ()
    return tuple(sorted(set(build.required_secrets) - set(keys)))


def _set(before: Secret | None, value: str, now: datetime) -> Secret:
    return before if before is not None and before.value == value else Secret(value, now)
