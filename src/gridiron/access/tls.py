"""TLS of the manager: its certificate, taken up anew when the files change; and how clients trust it."""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import structlog

from gridiron.errors import CertificateInvalid

log = structlog.get_logger()

LOOK_INTERVAL = timedelta(seconds=1)
"""How often the files are looked at: two `stat` calls."""

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Of a client that asks for nothing encrypted, and would trust nobody; without one, it reads all certificates
of authorities first, for 20 ms."""

State = tuple[tuple[int, int, int] | None, ...]
"""Of files: what changes when their content does, links followed; None: it cannot be read."""


class Certificate:
    """A certificate chain and its key, in two PEM files. A connection keeps what it began with."""

    def __init__(self, chain: Path, key: Path) -> None:
        """Read the files. Raises CertificateInvalid."""
        self._chain = chain
        self._key = key
        self._seen = self._look()
        self._current = self._load()
        self.context = self._current
        """For a server, for good: each handshake takes the newest certificate."""

        def choose(
            connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
        ) -> None:
            connection.context = self._current

        self.context.sni_callback = choose

    async def watch(self) -> None:
        """Take a changed pair up within a second or so. One that will not do is logged; the old one stays."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL.total_seconds())
            self.refresh()

    def refresh(self) -> None:
        """Take the files up if they have changed since the last look."""
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._current = self._load()
        except CertificateInvalid as error:
            log.error("tls.not_renewed", reason=str(error))  # noqa: TRY400 - the reason says it
        else:
            log.info("tls.renewed", path=str(self._chain))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and later
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._chain, self._key, _ask_for_no_password)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise CertificateInvalid(str(self._chain), str(self._key), describe(error)) from error
        return context

    def _look(self) -> State:
        return tuple(_state_of(path) for path in (self._chain, self._key))


def trust(authority: Path | None) -> ssl.SSLContext:
    """Make what a client verifies by: the certificates in a PEM file, or those of the system."""
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise CertificateInvalid(str(authority), "no key", describe(error)) from error


def plan_trust(*urls: str) -> ssl.SSLContext | bool:
    """Say by what a client of these URLs verifies: by the authorities that it knows, if one is encrypted."""
    return NO_TLS if all(url.startswith("http://") for url in urls) else True


def trust_only(certificate: Path) -> ssl.SSLContext:
    """Make what a client on the same machine verifies by: it is this very certificate, whatever name it has.

    Raises CertificateInvalid.
    """
    context = trust(certificate)
    context.check_hostname = False  # it is for the name that others know this machine by
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # whoever has issued it
    return context


def describe(error: Exception) -> str:
    """Say what was wrong with a file, in a few words."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _ask_for_no_password() -> str:
    raise ValueError("the key has a password")


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
