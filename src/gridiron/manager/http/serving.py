"""The server under an application: uvicorn, with what every one of ours is to have."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from gridiron.manager.http.connections import MAX_HEAD, make_protocol
from gridiron.manager.stopping import REQUEST_LIMIT
from gridiron.process.serving import InnerServer


def make_config(app: FastAPI, host: str, port: int, context: ssl.SSLContext | None = None) -> uvicorn.Config:
    """Say how an application is served; with a context, over TLS."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=make_protocol(context),
        h11_max_incomplete_event_size=MAX_HEAD,
        proxy_headers=False,  # whoever asks could say that he is somebody else
        server_header=False,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=round(REQUEST_LIMIT.total_seconds()),
    )


class Server(InnerServer):
    """One that says when it listens, and ends in order."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._on_listening()

    def stop(self) -> None:
        """Take nothing more in, and end when what is under way has. Safe to repeat."""
        self.should_exit = True
