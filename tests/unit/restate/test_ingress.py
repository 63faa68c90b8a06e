from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from gridiron.errors import InvocationFailed, RestateRejected, RestateUnavailable
from gridiron.restate.ingress import Ingress, parse_result, path_of

URL = "http://restate.test:8080"
Asked = list[tuple[str, str, Any, str | None]]


def ingress(status: int, **answer: Any) -> tuple[Ingress, Asked]:
    asked: Asked = []

    def serve(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        key = request.headers.get("idempotency-key")
        asked.append((request.method, str(request.url).removeprefix(URL), body, key))
        return httpx2.Response(status, **answer)

    return Ingress(URL, httpx2.AsyncClient(transport=httpx2.MockTransport(serve))), asked


async def test_a_call_gives_the_result() -> None:
    to, asked = ingress(200, json={"hello": "Ada"})
    assert await to.call("greeter", "greet", "Ada") == {"hello": "Ada"}
    assert asked == [("POST", "/greeter/greet", "Ada", None)]


async def test_a_call_with_a_key_and_no_argument_has_no_body() -> None:
    to, asked = ingress(200)
    assert await to.call("counter", "get", key="a/b ü", idempotency_key="once") is None
    assert asked == [("POST", "/counter/a%2Fb%20%C3%BC/get", None, "once")]


async def test_falsy_arguments_are_sent() -> None:
    to, asked = ingress(200)
    for argument in (0, False, "", [], {}):
        await to.call("s", "h", argument)
    assert [body for _, _, body, _ in asked] == [0, False, "", [], {}]


async def test_sending_gives_the_invocation() -> None:
    to, asked = ingress(202, json={"invocationId": "inv_1", "status": "Accepted"})
    assert await to.send("counter", "add", 1, "k", "once") == "inv_1"
    assert asked == [("POST", "/counter/k/add/send", 1, "once")]


async def test_a_result_is_fetched_by_the_invocation() -> None:
    to, asked = ingress(200, json=3)
    assert (await to.attach("inv_1"), await to.fetch_output("inv_1")) == (3, 3)
    assert asked == [
        ("GET", "/restate/invocation/inv_1/attach", None, None),
        ("GET", "/restate/invocation/inv_1/output", None, None),
    ]


@pytest.mark.parametrize(
    ("status", "source", "kind", "sentence"),
    [
        (500, "invocation", InvocationFailed, "The invocation failed (call s/h, HTTP 500): it says so"),
        (418, "invocation", InvocationFailed, "The invocation failed (call s/h, HTTP 418): it says so"),
        (404, "ingress", RestateRejected, "Restate refused to call s/h (HTTP 404): it says so"),
        (
            503,
            "ingress",
            RestateUnavailable,
            (
                f"Restate does not answer at {URL} (it could not call s/h (HTTP 503): it says so). "
                "Is it running? `gridiron status` tells."
            ),
        ),
        (
            404,
            None,
            RestateUnavailable,
            (
                f"Restate does not answer at {URL} (HTTP 404 with no error of Restate's in it: "
                "another program may listen there). Is it running? `gridiron status` tells."
            ),
        ),
    ],
)
async def test_a_failure_is_whose_it_is(
    status: int, source: str | None, kind: Callable[..., Exception], sentence: str
) -> None:
    headers = {"x-restate-error-source": source} if source else {}
    to, _ = ingress(status, json={"code": status, "message": "it says so"}, headers=headers)
    with pytest.raises((RestateRejected, RestateUnavailable)) as failure:
        await to.call("s", "h")
    assert (type(failure.value), str(failure.value)) == (kind, sentence)


async def test_an_answer_that_is_not_understood_is_no_invocation() -> None:
    to, _ = ingress(202, json={"status": "Accepted"})
    with pytest.raises(RestateUnavailable) as failure:
        await to.send("s", "h")
    assert failure.value.reason == "its answer to /s/h/send is not understood: invocationId: Field required"


async def test_a_result_that_is_no_json_and_says_so_is_not_understood() -> None:
    to, _ = ingress(200, content=b"{", headers={"content-type": "application/json"})
    with pytest.raises(RestateUnavailable):
        await to.call("s", "h")


@pytest.mark.parametrize(
    ("media_type", "body", "result"),
    [
        ("application/json", b'{"a":[1]}', {"a": [1]}),
        ("application/json", b"null", None),
        ("application/json", b"", None),
        ("text/plain", b"gr\xc3\xbcn", "grün"),
        ("application/octet-stream", b"\xff", "�"),
    ],
)
def test_a_result_is_read_as_what_it_is(media_type: str, body: bytes, result: Any) -> None:
    assert parse_result(media_type, body) == result


def test_a_path_keeps_service_key_and_handler_apart() -> None:
    assert path_of("s", "h") == "/s/h"
    assert path_of("s", "h", "") == "/s//h"
    assert path_of("s", "h", "a?b#c/d") == "/s/a%3Fb%23c%2Fd/h"
