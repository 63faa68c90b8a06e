"""How the command line gets in: which token it sends where, and what it trusts.

1. GRIDIRON_TOKEN, or the file that GRIDIRON_TOKEN_FILE names: to the manager that the user named, or to what
   he himself or root runs on this machine. Where a manager is and what to trust is not for a `gridiron.toml`
   to say that he did not name: the directory may be somebody else's.
2. To a manager on this machine: the admin's token, from where the manager's note says that it is, or from the
   directory that the settings name.

Nothing takes a token as an argument: everybody on the machine sees those.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from gridiron.access.note import Note, fetch_note
from gridiron.access.tls import trust, trust_only
from gridiron.access.tokens import ADMIN_FILE, TOKEN_VARIABLE, find_id
from gridiron.cli.listeners import fetch_readers
from gridiron.egress import is_loopback
from gridiron.errors import ListenerForeign, TokenNotSent, TokenUnusable
from gridiron.model import redact_url
from gridiron.settings import Settings, user_data_dir, variable_name

TOKEN_FILE_VARIABLE = f"{TOKEN_VARIABLE}_FILE"
MAX_TOKEN_FILE = 1024
"""Bytes that are read of one."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Whose programs on this machine may be sent a token: another user may listen beside the manager.

    That is looked up when a connection is there and nothing was sent over it: then nobody else can take it.
    """

    origin: str  # where the token is from
    users: frozenset[int]

    def watch(self, request: httpx2.Request) -> None:
        """Have the connection that a request makes, if it does, end with ListenerForeign where it must."""
        request.extensions["trace"] = self._look

    def _look(self, event: str, about: dict[str, Any]) -> None:
        if event != "connection.connect_tcp.complete":
            return
        stream = about["return_value"]
        port, client_port = (stream.get_extra_info(f"{end}_addr")[1] for end in ("server", "client"))
        readers = fetch_readers(port, client_port)
        if readers is None:  # no Linux
            return
        if not readers or readers - self.users:
            stream.close()
        if not readers:
            raise httpx2.ConnectError("the connection ended, or leads elsewhere than to this machine")
        if readers - self.users:
            raise ListenerForeign(min(readers - self.users), port, self.origin)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a manager is, and how one gets in."""

    url: str
    token: str | None = field(default=None, repr=False)
    context: ssl.SSLContext | None = None  # None: what the system trusts
    readers: Readers | None = None  # None: whoever answers

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


def is_local(url: str) -> bool:
    """Tell whether a URL names this machine, as far as its text says."""
    return is_loopback(urlsplit(url).hostname or "")


def find_way(settings: Settings, *, named: bool) -> Way:
    """Find out how to reach a manager; `named` says whether the user himself gave its URL just now.

    Raises TokenUnusable, TokenNotSent, CertificateInvalid.
    """
    url, local = settings.manager_url, is_local(settings.manager_url)
    note = fetch_note(user_data_dir(), _port_of(url)) if local else None
    if note is not None and "manager_url" not in settings.model_fields_set:
        url = note.url  # which knows whether it is https
    token, readers = _given_token(), None
    named = named or bool({variable_name("manager_url"), "GRIDIRON_CONFIG"} & os.environ.keys())
    if token is not None and not named:
        if not local:
            raise TokenNotSent(redact_url(url))
        readers = Readers(TOKEN_VARIABLE, frozenset({os.geteuid(), 0}))
    elif token is None and local:
        token, readers = _find_token(settings, note)
    return Way(url, token, _find_trust(settings, url, note, named=named), readers)


def find_ways(settings: Settings, *, named: bool) -> tuple[Way, ...]:
    """Find out how to reach each manager of those that settings name: see `find_way`.

    Each gets the token that is for it: of several, one that is not on this machine none that is from here.
    """
    urls = settings.manager_urls
    if len(urls) == 1:
        return (find_way(settings, named=named),)
    each = (settings.model_copy(update={"manager_url": url}) for url in urls)
    return tuple(find_way(one, named=named) for one in each)


def read_token(path: Path) -> str:
    """Read a token out of a file. Raises TokenUnusable."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOKEN_FILE).decode(errors="replace")
    except OSError as error:
        raise TokenUnusable(str(path), error.strerror or str(error)) from error
    return _check(text, str(path))


def _given_token() -> str | None:
    if TOKEN_VARIABLE in os.environ:
        return _check(os.environ[TOKEN_VARIABLE], TOKEN_VARIABLE)
    path = os.environ.get(TOKEN_FILE_VARIABLE)
    return None if path is None else read_token(Path(path))


def _find_token(settings: Settings, note: Note | None) -> tuple[str | None, Readers | None]:
    """Read the admin's token where this user may; the manager says what to do where he may not."""
    for path in (*((note.token_file,) if note else ()), settings.manager_state_dir / ADMIN_FILE):
        try:
            return read_token(path), Readers(str(path), frozenset({path.stat().st_uid, 0}))
        except (TokenUnusable, FileNotFoundError):
            continue
    return None, None


def _check(text: str, origin: str) -> str:
    """Give a token back. What is none could break a header, and stand in the message about that."""
    token = text.strip()
    if find_id(token) is None:
        raise TokenUnusable(origin, "it has another form")
    return token


def _find_trust(settings: Settings, url: str, note: Note | None, *, named: bool) -> ssl.SSLContext | None:
    """Say what to trust: at a URL that the user named, nothing that only a file says which he did not."""
    if not url.startswith("https:"):
        return None

    def said(field: str) -> bool:
        return not named or bool({variable_name(field), "GRIDIRON_CONFIG"} & os.environ.keys())

    if settings.tls_ca is not None and said("tls_ca"):
        return trust(settings.tls_ca)
    certificate = settings.tls_cert if said("tls_cert") else None
    certificate = certificate or (note.certificate if note else None)
    return trust_only(certificate) if is_local(url) and certificate else None


def _port_of(url: str) -> int:
    try:
        parts = urlsplit(url)
        return parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:  # what is sent there says so
        return 0
