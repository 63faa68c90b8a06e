"""The tokens of a node: kept as digests, shown once.

{directory}/tokens.json    what each is good for, and the SHA-256 of its text
{directory}/admin.token    one with the scope `admin`, for who has this machine: the command line finds it

The secret of a token is 256 random bits, which nobody can guess, so that a quick digest hides it as well as a
slow one does; a slow one would let anybody who sends wrong tokens keep the manager busy
(docs/decisions/0021-tokens.md).
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from gridiron.access.scopes import Caller, Kind, Scope, parse_scope
from gridiron.errors import (
    LifetimeInvalid,
    ScopeInvalid,
    StorageFailed,
    TokenExpired,
    TokenInvalid,
    TokenNameInvalid,
    TokenNotFound,
    TokensUnreadable,
)
from gridiron.model import NAME, Value
from gridiron.process.files import OF_OTHERS, replace_file, sync_directory

log = structlog.get_logger()

TOKENS_FILE = "tokens.json"
ADMIN_FILE = "admin.token"

ADMIN_NAME = "admin.token"
"""Of the token in the file of that name; no other can be called so, as names have no dots."""

TEXT = re.compile(r"gridiron_(?P<id>[0-9a-f]{8})_[0-9a-f]{64}")
"""Of a token: its id and 256 bits. A scanner for leaked secrets finds it by this."""

ID = re.compile(r"[0-9a-f]{8}")
ID_PATTERN = "^([0-9a-f]{8}|gridiron_[0-9a-f]{8}_[0-9a-f]{64})$"
"""Of what names a token, see `read_id`; in a form that descriptions of an API have."""

TOKEN_VARIABLE = "GRIDIRON_TOKEN"  # noqa: S105 - a name
"""Of the environment: where the command line looks for its token. No role of a node needs it."""

LIFETIME = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[mhd])")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Token(Value):
    """What is kept of a token."""

    id: str
    name: str
    scopes: tuple[str, ...]  # as `parse_scope` reads them
    sha256: str = field(repr=False)  # of the whole text
    created_at: datetime
    expires_at: datetime | None  # None: never


@dataclass(frozen=True, slots=True)
class Made:
    """A new token, and the only time that its text is seen."""

    token: Token
    text: str = field(repr=False)


_FILE = TypeAdapter(tuple[Token, ...])


def check_token_name(name: str) -> str:
    """Give the name of a token back, or raise TokenNameInvalid."""
    if not NAME.fullmatch(name):
        raise TokenNameInvalid(name)
    return name


def parse_lifetime(text: str) -> timedelta:
    """Read `30d`, `12h` or `15m`. Raises LifetimeInvalid."""
    match = LIFETIME.fullmatch(text)
    if match is None:
        raise LifetimeInvalid(text)
    return int(match["count"]) * UNITS[match["unit"]]


def find_id(text: str) -> str | None:
    """Say which token a text claims to be, whether or not it is; None for a text that is none."""
    match = TEXT.fullmatch(text)
    return match["id"] if match else None


def read_id(text: str) -> str | None:
    """Say which token is named: by its id, or by all of it, which people paste; None: by neither."""
    return text if ID.fullmatch(text) else find_id(text)


def hide_tokens(text: str) -> str:
    """Give a text as it may be kept: of each whole token in it, the id is left."""
    return TEXT.sub(r"gridiron_\g<id>_…", text)


class TokenStore:
    """The tokens that a manager knows. One process has them; `check` touches no disk, the others block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()  # over a change
        self._tokens: dict[str, tuple[Token, Caller]] = {}

    @property
    def admin_file(self) -> Path:
        """Where the admin's token is, for the command line on this machine."""
        return self._directory / ADMIN_FILE

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All of them, oldest first, also those that have expired."""
        return tuple(token for token, _ in self._tokens.values())

    def prepare(self, now: datetime) -> None:
        """Read what is kept, and see to it that the admin's file holds a token that is good.

        Who can remove that file has the machine, and so gets in again: a new token is made, and the one that
        was in the file before is good for nothing any more. Safe to repeat.

        Raises TokensUnreadable, StorageFailed.
        """
        with self._lock:
            self._set(self._read())
            if not self._has_good_admin_file(now):
                kept = [token for token in self.tokens if token.name != ADMIN_NAME]
                made = self._make(ADMIN_NAME, [Scope(Kind.ADMIN)], None, now)
                self._keep([*kept, made.token])
                self._write(self.admin_file, f"{made.text}\n".encode())
                log.info("access.admin_token_made", path=str(self.admin_file), token_id=made.token.id)

    def check(self, text: str, now: datetime) -> Caller:
        """Say who sends a token. Raises TokenInvalid, TokenExpired."""
        found = self._tokens.get(find_id(text) or "")
        kept = found[0].sha256 if found else "0" * 64
        if not hmac.compare_digest(_digest(text), kept) or found is None:
            raise TokenInvalid
        token, caller = found
        if token.expires_at is not None and token.expires_at <= now:
            raise TokenExpired(token.name, f"{token.expires_at:%Y-%m-%d %H:%M:%S %Z}")
        return caller

    def create(self, name: str, scopes: Collection[Scope], lifetime: timedelta | None, now: datetime) -> Made:
        """Make a token; it is good once this returns. Raises LifetimeInvalid, StorageFailed."""
        with self._lock:
            made = self._make(name, scopes, lifetime, now)
            self._keep([*self.tokens, made.token])
            return made

    def revoke(self, token_id: str) -> Token:
        """Have a token be good for nothing from now on; give what it was.

        The admin's file goes with its token: the next start makes a new one. Raises TokenNotFound,
        StorageFailed.
        """
        with self._lock:
            found = self._tokens.get(token_id)
            if found is None:
                raise TokenNotFound(token_id)
            self._keep([token for token in self.tokens if token.id != token_id])
            if found[0].name == ADMIN_NAME:
                self._remove_admin_file()
            return found[0]

    def _make(self, name: str, scopes: Collection[Scope], lifetime: timedelta | None, now: datetime) -> Made:
        token_id = secrets.token_hex(4)
        while token_id in self._tokens:
            token_id = secrets.token_hex(4)
        text = f"gridiron_{token_id}_{secrets.token_hex(32)}"
        try:
            expires_at = None if lifetime is None else now + lifetime
        except OverflowError as error:
            raise LifetimeInvalid(str(lifetime)) from error
        token = Token(
            id=token_id,
            name=name,
            scopes=tuple(str(scope) for scope in scopes),
            sha256=_digest(text),
            created_at=now,
            expires_at=expires_at,
        )
        return Made(token, text)

    def _has_good_admin_file(self, now: datetime) -> bool:
        try:
            mode = self.admin_file.stat().st_mode & 0o777
            text = self.admin_file.read_text(errors="replace").strip()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageFailed("Reading", str(self.admin_file), error.strerror or str(error)) from error
        if mode & OF_OTHERS:
            log.warning("access.admin_token_was_open", path=str(self.admin_file), mode=f"{mode:04o}")
            return False
        try:
            return self.check(text, now).is_admin
        except (TokenInvalid, TokenExpired):
            return False

    def _read(self) -> tuple[Token, ...]:
        path = self._directory / TOKENS_FILE
        try:
            return _FILE.validate_json(path.read_bytes())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error
        except ValidationError as error:
            raise TokensUnreadable(str(path)) from error

    def _keep(self, tokens: Collection[Token]) -> None:
        """Write first, so that what is good and what is kept are the same after a crash."""
        self._write(self._directory / TOKENS_FILE, _FILE.dump_json(tuple(tokens), indent=2) + b"\n")
        self._set(tokens)

    def _set(self, tokens: Collection[Token]) -> None:
        try:
            self._tokens = {token.id: (token, _caller_of(token)) for token in tokens}
        except ScopeInvalid as error:
            raise TokensUnreadable(str(self._directory / TOKENS_FILE)) from error

    def _write(self, path: Path, content: bytes) -> None:
        try:
            replace_file(path, content, 0o600)
            sync_directory(self._directory)  # or a token that was revoked may come back
        except OSError as error:
            raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error

    def _remove_admin_file(self) -> None:
        try:
            self.admin_file.unlink(missing_ok=True)
        except OSError as error:  # its token is good for nothing, so that the next start replaces it
            log.warning("access.admin_file_not_removed", path=str(self.admin_file), reason=str(error))


def _caller_of(token: Token) -> Caller:
    return Caller(token.id, token.name, tuple(parse_scope(scope) for scope in token.scopes))


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()
