"""Takes every request that changes something as three steps, and every answer to such a request as two.

A request: before it is sent; when it is sent and nothing of the answer is read; when the answer is read and
nobody knows of it. An answer: before anything of it is sent; when the client may have it.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
from kill_points.switch import Switch
from starlette.responses import Response

READING = {"GET", "HEAD", "OPTIONS"}
QUERY = "/query"  # Restate takes its SQL by POST
SENT = "send_request_body.complete"
"""How the name of the client's trace event ends that comes when the last byte is with the kernel."""


def watch_http(switch: Switch) -> None:
    """Tell the switch of the requests that this process sends, and of its answers."""
    _watch_requests(switch)
    _watch_answers(switch)


def _watch_requests(switch: Switch) -> None:
    send = httpx2.AsyncClient.send

    async def tell_and_send(
        client: httpx2.AsyncClient, request: httpx2.Request, **more: Any
    ) -> httpx2.Response:
        if request.method in READING or request.url.path == QUERY:
            return await send(client, request, **more)
        what = _describe(request)

        async def trace(event: str, _info: dict[str, Any]) -> None:
            if event.endswith(SENT):
                switch.step(f"{what} (sent)")

        request.extensions = {**request.extensions, "trace": trace}
        switch.step(f"{what} (before)")
        response = await send(client, request, **more)
        switch.step(f"{what} (answered)")
        return response

    httpx2.AsyncClient.send = tell_and_send  # type: ignore[assignment, method-assign]


def _describe(request: httpx2.Request) -> str:
    whom = "workers" if request.url.host == "cell" else "restate"
    dry_run = request.content.startswith(b"{") and json.loads(request.content).get("dry_run")
    return f"{whom} {request.method} {request.url.path}{' as a dry run' if dry_run else ''}"


def _watch_answers(switch: Switch) -> None:
    respond = Response.__call__

    async def tell_and_respond(response: Response, scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] in READING:
            await respond(response, scope, receive, send)
            return
        what = f"answer {response.status_code} to {scope['method']} {scope['path']}"
        switch.step(f"{what} (before)")
        await respond(response, scope, receive, send)
        switch.step(f"{what} (sent)")

    Response.__call__ = tell_and_respond  # type: ignore[assignment, method-assign]
