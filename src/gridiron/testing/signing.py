"""Signing requests to the workers' port as Restate does. Contract tests hold it to the real one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridiron.ed25519 import parse_private_key
from gridiron.identity.accepted import kid_of

VALID_SECONDS = 60
"""How long a token holds, in both directions."""


class Signer(httpx2.Auth):
    """Signs with a private key, in PEM, that is read for each request: it may be changed for another."""

    def __init__(self, key: Path) -> None:
        self._key = key

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Sign a request; a client takes this object as its `auth`."""
        request.headers.update(self.headers(request.url.raw_path.decode("ascii")))
        yield request

    def headers(self, target: str) -> Mapping[str, str]:
        """Give the headers that sign a request for a path on the workers' port."""
        token = make_token(parse_private_key(str(self._key), self._key.read_bytes()), path_behind(target))
        return {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": token}


def make_token(key: Ed25519PrivateKey, aud: str, issued_at: float | None = None) -> str:
    """Make the token that Restate would at a time of the clock, for a path behind a build's."""
    now = int(time.time() if issued_at is None else issued_at)
    claims = {"aud": aud, "exp": now + VALID_SECONDS, "iat": now, "nbf": now - VALID_SECONDS}
    return sign_token(key, {"typ": "JWT", "alg": "EdDSA", "kid": kid_of(key.public_key())}, claims)


def sign_token(key: Ed25519PrivateKey, header: Mapping[str, object], claims: Mapping[str, object]) -> str:
    """Make a token of any header and claims."""
    signed = f"{_encode(_json(header))}.{_encode(_json(claims))}"
    return f"{signed}.{_encode(key.sign(signed.encode()))}"


def path_behind(target: str) -> str:
    """Give what follows a build's path, `/{name}/{version}-{timestamp}`, in a request's target."""
    segments, mark, query = target.partition("?")
    rest = segments.split("/", 3)[3:]
    return "".join(f"/{each}" for each in rest) + mark + query


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
