"""Restate's ingress: call a handler, send to it, fetch what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gridiron.errors import InvocationFailed, RestateRejected, RestateUnavailable
from gridiron.restate.connection import Connection, cut, parse_error_body

SEND_LIMIT = timedelta(seconds=10)
"""How long it may take until an invocation is accepted, or an output is looked up."""

ERROR_SOURCE = "x-restate-error-source"
"""The header of a failure that says whose it is: "ingress" or "invocation"."""

_JSON: TypeAdapter[Any] = TypeAdapter(Any)


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    invocation_id: str = Field(alias="invocationId")


class Ingress:
    """Calls services through Restate's ingress; an asynchronous context manager.

    An argument is anything that JSON can hold; None sends no body at all, as handlers without an argument
    want it. Every method raises RestateUnavailable when the ingress cannot be reached, InvocationFailed with
    its message and status when the invocation ended with a terminal error, and RestateRejected when the
    ingress refuses: an unknown service or handler, a key that is missing.
    """

    def __init__(self, url: str, client: httpx2.AsyncClient | None = None) -> None:
        self._connection = Connection(url, client)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exit_: object) -> None:
        await self._connection.__aexit__(*exit_)

    async def call(
        self,
        service: str,
        handler: str,
        body: Any = None,  # noqa: ANN401 - JSON
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Call a handler and wait for its result, without a time limit: a durable call may take days.

        With an `idempotency_key` a second call waits for the first one's result; without, it calls again.
        """
        path = path_of(service, handler, key)
        response = await self._post(path, body, idempotency_key, limit=None)
        return self._result(f"call {path[1:]}", response)

    async def send(
        self,
        service: str,
        handler: str,
        body: Any = None,  # noqa: ANN401 - JSON
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Start an invocation; give its id once Restate keeps it.

        With an `idempotency_key` a second one gives the id of the first; without, it starts another.
        """
        path = path_of(service, handler, key)
        response = await self._post(f"{path}/send", body, idempotency_key, limit=SEND_LIMIT)
        checked = self._checked(f"send to {path[1:]}", response)
        return self._connection.understand(checked, _Sent.model_validate_json).invocation_id

    async def attach(self, invocation_id: str) -> Any:  # noqa: ANN401 - JSON
        """Wait for an invocation's result, without a time limit. Safe to repeat."""
        path = f"/restate/invocation/{quote(invocation_id, safe='')}/attach"
        response = await self._connection.send("GET", path, None)
        return self._result(f"attach to {invocation_id}", response)

    async def fetch_output(self, invocation_id: str) -> Any:  # noqa: ANN401 - JSON
        """Give an invocation's result. Safe to repeat; RestateRejected with status 470 until there is one."""
        path = f"/restate/invocation/{quote(invocation_id, safe='')}/output"
        response = await self._connection.send("GET", path, SEND_LIMIT)
        return self._result(f"give the output of {invocation_id}", response)

    async def _post(
        self,
        path: str,
        body: Any,  # noqa: ANN401 - JSON
        idempotency_key: str | None,
        limit: timedelta | None,
    ) -> httpx2.Response:
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        return await self._connection.send("POST", path, limit, json=body, headers=headers)

    def _result(self, action: str, response: httpx2.Response) -> Any:  # noqa: ANN401 - JSON
        media_type = response.headers.get("content-type", "").split(";")[0].strip()
        return self._connection.understand(
            self._checked(action, response), lambda body: parse_result(media_type, body)
        )

    def _checked(self, action: str, response: httpx2.Response) -> httpx2.Response:
        """Give the answer back when it is a success, else raise."""
        if response.is_success:
            return response
        raise self._failure(action, response)

    def _failure(self, action: str, response: httpx2.Response) -> RestateRejected | RestateUnavailable:
        status = response.status_code
        error = parse_error_body(response.content)
        message = cut(error.message if error else response.text)
        match response.headers.get(ERROR_SOURCE):
            case "invocation":
                return InvocationFailed(action, status, message)
            case "ingress" if status < 500:
                return RestateRejected(action, status, message)
            case "ingress":
                return self._connection.unavailable(f"it could not {action} (HTTP {status}): {message}")
            case _:
                return self._connection.unavailable(
                    f"HTTP {status} with no error of Restate's in it: another program may listen there"
                )


def path_of(service: str, handler: str, key: str | None = None) -> str:
    """Give the path of a handler: `/service/handler`, or `/service/key/handler` of a keyed one."""
    parts = (service, handler) if key is None else (service, key, handler)
    return "/" + "/".join(quote(part, safe="") for part in parts)


def parse_result(media_type: str, body: bytes) -> Any:  # noqa: ANN401 - JSON
    """Read a result: decoded where it is JSON, None where there is none, else its text.

    Raises pydantic's ValidationError for what is said to be JSON and is not.
    """
    if not body:
        return None
    if media_type == "application/json":
        return _JSON.validate_json(body)
    return body.decode(errors="replace")
