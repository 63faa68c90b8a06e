"""The tokens of a node: kept as digests, shown once.

{directory}/tokens.json    what each is good for, and the SHA-256 of its text
{directory}/admin.token    one with the scope `admin`, for who has this machine: the command line finds it

Of a cluster, `tokens.json` is one for all nodes, in its bucket; each node has an admin's token of its own.

The secret of a token is 256 random bits, which nobody can guess, so that a quick digest hides it as well as a
slow one does; a slow one would let anybody who sends wrong tokens keep the manager busy
(docs/decisions/0021-tokens.md).
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

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
from gridiron.process.files import OF_OTHERS
from gridiron.process.kept import write_kept
from gridiron.secrets.documents import Document, FileDocument, Safe

log = structlog.get_logger()

T = TypeVar("T")

TOKENS_FILE = "tokens.json"
ADMIN_FILE = "admin.token"

ADMIN_NAME = "admin.token"
"""Of the token in the file of that name; no other can be called so, as names have no dots."""

COPY_FILE = "tokens.shared.json"
"""In the directory of a node of a cluster: the tokens that it knew last, sealed."""

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


Tokens = tuple[Token, ...]
"""All of them, oldest first."""

_FILE = TypeAdapter(Tokens)


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
    """The tokens that a manager knows. `check` and `knows` touch no disk and no network, the others block.

    Those that change tokens raise StorageFailed; in a cluster BucketUnavailable (the change may have been
    made all the same), BucketRefused, ObjectChanged, ObjectDamaged and SecretsUnreadable, too.
    """

    def __init__(
        self, directory: Path, document: Document | None = None, admin_name: str = ADMIN_NAME
    ) -> None:
        """Take the directory, where the tokens are (None: there), and the name of the admin's token."""
        self._directory = directory
        self._document = document or FileDocument(directory / TOKENS_FILE)
        self._admin_name = admin_name
        self._lock = threading.Lock()  # over a change
        self._tokens: dict[str, tuple[Token, Caller]] = {}

    @classmethod
    def of_cluster(cls, directory: Path, safe: Safe, node: str) -> TokenStore:
        """Give the tokens of a cluster, as one of its nodes has them; its admin's is `admin.{node}`."""
        document = safe.document(TOKENS_FILE, directory / COPY_FILE)
        return cls(directory, document, f"admin.{node}")

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

        Without the bucket of its cluster a node goes by the tokens that it knew last. Raises
        TokensUnreadable, StorageFailed; in a cluster as what changes tokens does, BucketUnavailable where it
        knew none, or has to make the admin's anew.
        """
        with self._lock:
            reading = self._document.read()
            self._set(self._parse(reading.content))
            if not reading.fresh:
                log.warning("access.tokens_not_fresh", place=self._document.place)
            if not self._has_good_admin_file(now):
                made = self._change(lambda tokens: self._plan_admin(tokens, now))
                write_kept(self.admin_file, f"{made.text}\n".encode())
                log.info("access.admin_token_made", path=str(self.admin_file), token_id=made.token.id)

    def take_over(self, alone: TokenStore) -> None:
        """Have the tokens of a node alone be the cluster's as well, for good. Safe to repeat.

        That of its admin is called as this node's admin's is from now on. Those that the cluster has stay.
        """
        theirs = alone._parse(alone._document.read().content)

        def plan(tokens: Tokens) -> tuple[Tokens, None]:
            kept = {token.id: token for token in tokens}
            for token in theirs:
                named = self._admin_name if token.name == alone._admin_name else token.name
                kept[token.id] = token.model_copy(update={"name": named})
            return tuple(sorted(kept.values(), key=lambda token: token.created_at)), None

        with self._lock:
            self._change(plan)

    def refresh(self) -> bool:
        """Know what other nodes have changed; False where the bucket cannot be reached, and nothing is new.

        Safe to repeat. Raises as what changes tokens does, and TokensUnreadable: what was known stays then.
        """
        with self._lock:
            reading = self._document.read()
            if reading.fresh:
                self._set(self._parse(reading.content))
            return reading.fresh

    def knows(self, text: str) -> bool:
        """Tell whether looking anew would change nothing for a text: its token is known, or it is none."""
        token_id = find_id(text)
        return token_id is None or token_id in self._tokens

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
        """Make a token; it is good once this returns, on other nodes when it is first sent there.

        Raises LifetimeInvalid.
        """

        def plan(tokens: Tokens) -> tuple[Tokens, Made]:
            made = _make(name, scopes, lifetime, now, {token.id for token in tokens})
            return (*tokens, made.token), made

        with self._lock:
            return self._change(plan)

    def revoke(self, token_id: str) -> Token:
        """Have a token be good for nothing from now on, here; give what it was.

        The admin's file goes with its token: the next start makes a new one. Raises TokenNotFound.
        """

        def plan(tokens: Tokens) -> tuple[Tokens, Token]:
            found = next((token for token in tokens if token.id == token_id), None)
            if found is None:
                raise TokenNotFound(token_id)
            return tuple(token for token in tokens if token.id != token_id), found

        with self._lock:
            found = self._change(plan)
            if found.name == self._admin_name:
                self._remove_admin_file()
            return found

    def _plan_admin(self, tokens: Tokens, now: datetime) -> tuple[Tokens, Made]:
        """Give the admin a token in the stead of any before."""
        kept = tuple(token for token in tokens if token.name != self._admin_name)
        made = _make(self._admin_name, [Scope(Kind.ADMIN)], None, now, {token.id for token in tokens})
        return (*kept, made.token), made

    def _change(self, plan: Callable[[Tokens], tuple[Tokens, T]]) -> T:
        """Write first, so that what is good and what is kept are the same after a crash."""
        results: list[T] = []

        def rewrite(content: bytes | None) -> bytes:
            tokens, result = plan(self._parse(content))
            results.append(result)
            return _FILE.dump_json(tokens, indent=2) + b"\n"

        self._set(self._parse(self._document.change(rewrite)))
        return results[-1]

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

    def _parse(self, content: bytes | None) -> Tokens:
        if content is None:
            return ()
        try:
            return _FILE.validate_json(content)
        except ValidationError as error:
            raise TokensUnreadable(self._document.place) from error

    def _set(self, tokens: Tokens) -> None:
        try:
            self._tokens = {token.id: (token, _caller_of(token)) for token in tokens}
        except ScopeInvalid as error:
            raise TokensUnreadable(self._document.place) from error

    def _remove_admin_file(self) -> None:
        try:
            self.admin_file.unlink(missing_ok=True)
        except OSError as error:  # its token is good for nothing, so that the next start replaces it
            log.warning("access.admin_file_not_removed", path=str(self.admin_file), reason=str(error))


def _make(
    name: str, scopes: Collection[Scope], lifetime: timedelta | None, now: datetime, taken: Collection[str]
) -> Made:
    """Make a token whose id is none of those that are taken. Raises LifetimeInvalid."""
    token_id = secrets.token_hex(4)
    while token_id in taken:
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


def _caller_of(token: Token) -> Caller:
    return Caller(token.id, token.name, tuple(parse_scope(scope) for scope in token.scopes))


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()
