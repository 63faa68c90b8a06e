"""How the nodes of a cluster know each other: each request is signed with a key that they share. Pure.

    Authorization: Gridiron-Peer n1;1790000000;5f2b…

These are the node that asks, the time by its clock in seconds since 1970, and the HMAC-SHA256, in
hexadecimal, of five lines: method, path with its query, node, time, and the SHA-256 of the body. The key is
derived from that of the nodes' secrets, which is the same on all nodes of a cluster.

Who has seen a request can send it again while its time is good. No request does more when it comes twice.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import httpx2
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gridiron.errors import PeerClockDiffers, PeerUnknown

SCHEME = "Gridiron-Peer"
HEADER = re.compile(
    rf"{SCHEME} (?P<node>[a-z0-9][a-z0-9-]{{0,62}});(?P<at>[1-9][0-9]{{0,10}});(?P<mac>[0-9a-f]{{64}})"
)

CLOCK_LIMIT = timedelta(seconds=60)
"""How far the clocks of two nodes may be apart, and how long a request that somebody saw is good."""

KEY_SIZE = 32
"""Bytes: what SHA-256 gives."""

EMPTY = sha256().hexdigest()
"""The digest of no body."""


def derive_key(key: bytes) -> bytes:
    """Give the key that requests are signed with; that of the secrets cannot be told from it."""
    info = b"gridiron: requests between the nodes of a cluster"
    return HKDF(SHA256(), KEY_SIZE, salt=None, info=info).derive(key)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request is signed."""

    method: str
    target: str  # its path with the query, as they are sent
    body: str = EMPTY  # SHA-256, hexadecimal


def sign(key: bytes, node: str, at: datetime, asked: Asked) -> str:
    """Give the header `Authorization` of a request that a node sends. `key` is a derived one."""
    seconds = int(at.timestamp())
    return f"{SCHEME} {node};{seconds};{_mac(key, node, seconds, asked)}"


def check(key: bytes, header: str | None, now: datetime, asked: Asked) -> str:
    """Say which node sent a request. Raises PeerUnknown, PeerClockDiffers where only its time is wrong."""
    given = HEADER.fullmatch(header or "")
    if given is None:
        raise PeerUnknown
    node, seconds = given["node"], int(given["at"])
    if not hmac.compare_digest(given["mac"], _mac(key, node, seconds, asked)):
        raise PeerUnknown
    apart = abs(now.timestamp() - seconds)
    if apart > CLOCK_LIMIT.total_seconds():
        raise PeerClockDiffers(node, round(apart), round(CLOCK_LIMIT.total_seconds()))
    return node


def _mac(key: bytes, node: str, seconds: int, asked: Asked) -> str:
    text = "\n".join((asked.method, asked.target, node, str(seconds), asked.body))
    return hmac.digest(key, text.encode(), "sha256").hex()


class Signature(httpx2.Auth):
    """Signs what a client sends, as a node."""

    requires_request_body = True

    def __init__(
        self, key: bytes, node: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Take the key of the node's secrets, and the node's name."""
        self._key = derive_key(key)
        self._node = node
        self._now = now

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Sign one request."""
        body = sha256(request.content).hexdigest()
        asked = Asked(request.method, request.url.raw_path.decode("ascii"), body)
        request.headers["authorization"] = sign(self._key, self._node, self._now(), asked)
        yield request
