"""Clients of a manager whose settings are known: those of tests, benches and the soak."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import httpx2

from gridiron.access.tokens import ADMIN_FILE
from gridiron.cli.credentials import read_token
from gridiron.errors import TokenUnusable
from gridiron.settings import Settings


class AdminToken(httpx2.Auth):
    """Logs a client in as the admin of a node, which makes that token when it first starts."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.manager_state_dir / ADMIN_FILE

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the token along, if it is there yet."""
        with contextlib.suppress(TokenUnusable):
            request.headers["authorization"] = f"Bearer {read_token(self._path)}"
        yield request
