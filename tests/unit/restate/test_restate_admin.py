from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from gridiron.errors import RestateRejected, RestateUnavailable
from gridiron.restate import admin as admin_module
from gridiron.restate.admin import RestateAdmin
from gridiron.restate.connection import MAX_REASON
from gridiron.restate.port import Discovered, Registered
from gridiron.restate.queries import load_query

URL = "http://restate.test:9070"
EMPTY = {"id": "dp_1", "services": []}
DEPLOYMENT = {
    "id": "dp_1",
    "uri": "http://w/a/1-2",
    "protocol_type": "RequestResponse",
    "created_at": "2026-11-23T19:29:05.747000000Z",
    "services": [],
}
Answer = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """Answers at the transport's seam, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._answer = answer

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, str(request.url).removeprefix(URL), body))
        return self._answer(request)


def admin(answer: Answer) -> tuple[RestateAdmin, Server]:
    server = Server(answer)
    return RestateAdmin(URL + "/", httpx2.AsyncClient(transport=httpx2.MockTransport(server))), server


def answering(status: int, body: Any = None, **more: Any) -> Answer:
    return lambda _: httpx2.Response(status, **({"json": body} if body is not None else {}), **more)


def failing(error: Exception) -> Answer:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


async def failure_of(answer: Answer, act: str = "discover", *arguments: Any) -> tuple[str, dict[str, Any]]:
    restate, _ = admin(answer)
    arguments = arguments or (("http://w/a/1-2",) if act == "discover" else ())
    with pytest.raises((RestateRejected, RestateUnavailable)) as failure:
        await getattr(restate, act)(*arguments)
    return type(failure.value).__name__, vars(failure.value)


async def test_a_discovery_registers_nothing_and_forces_nothing() -> None:
    restate, server = admin(answering(201, EMPTY))
    assert await restate.discover("http://w/a/1-2") == Discovered(())
    assert server.asked == [
        ("POST", "/deployments", {"uri": "http://w/a/1-2", "force": False, "dry_run": True, "breaking": True})
    ]


@pytest.mark.parametrize(("status", "created"), [(201, True), (200, False)])
async def test_a_registration_says_whether_it_is_new_and_asks_for_the_protocol(
    status: int, *, created: bool
) -> None:
    restate, server = admin(
        lambda request: httpx2.Response(
            *((status,) if request.method == "POST" else (200,)),
            json=EMPTY if request.method == "POST" else DEPLOYMENT,
        )
    )
    registered = await restate.register("http://w/a/1-2", {"build_id": "a-1-2"})
    assert registered == Registered("dp_1", (), "RequestResponse", created=created)
    assert server.asked == [
        (
            "POST",
            "/deployments",
            {
                "uri": "http://w/a/1-2",
                "force": False,
                "dry_run": False,
                "breaking": False,
                "metadata": {"build_id": "a-1-2"},
            },
        ),
        ("GET", "/deployments/dp_1", None),
    ]


async def test_a_registration_stands_when_its_protocol_cannot_be_read() -> None:
    restate, _ = admin(
        lambda request: httpx2.Response(201, json=EMPTY) if request.method == "POST" else httpx2.Response(503)
    )
    assert await restate.register("http://w/a/1-2", {}) == Registered("dp_1", (), None, created=True)


async def test_what_is_attempted_is_asked_before_what_is_pinned() -> None:
    restate, server = admin(answering(200, {"rows": []}))
    assert await restate.fetch_demand() == {}
    queries = [load_query("attempting"), load_query("pinned")]
    assert server.asked == [("POST", "/query", {"query": query}) for query in queries]


async def test_removal_is_forced_and_its_target_quoted() -> None:
    restate, server = admin(answering(202))
    await restate.unregister("dp_1/../x")
    assert server.asked == [("DELETE", "/deployments/dp_1%2F..%2Fx?force=true", None)]


async def test_what_is_gone_already_is_fine() -> None:
    restate, _ = admin(answering(404, {"message": "not found in the schema registry", "restate_code": None}))
    await restate.unregister("dp_1")


async def test_a_404_of_another_program_removes_nothing() -> None:
    assert await failure_of(
        answering(404, text="<html>", headers={"content-type": "text/html"}), "unregister", "dp_1"
    ) == (
        "RestateUnavailable",
        {"url": URL, "reason": "HTTP 404 with no error of Restate's in it: another program may listen there"},
    )


async def test_a_discovery_that_fails_has_the_code_that_says_why() -> None:
    message = '[META0003] got status code \'502 Bad Gateway\'. Body: {"code":"script_failed"}'
    answer = answering(500, {"message": message, "restate_code": "META0003"})
    assert await failure_of(answer) == (
        "RestateRejected",
        {
            "action": "discover http://w/a/1-2",
            "status": 500,
            "reason": message,
            "restate_code": "META0003",
        },
    )


async def test_a_refusal_without_a_code_or_in_plain_text_is_one_too() -> None:
    for answer in (answering(400, {"message": "bad"}), answering(422, text="bad")):
        kind, fields = await failure_of(answer)
        assert (kind, fields["reason"], fields["restate_code"]) == ("RestateRejected", "bad", "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            answering(500, {"message": "node lookup for partition 0 failed"}),
            "it could not answer the query newest.sql (HTTP 500): node lookup for partition 0 failed",
        ),
        (
            answering(429, {"message": "Rate limited"}),
            "it could not answer the query newest.sql (HTTP 429): Rate limited",
        ),
        (
            answering(502, text="x"),
            "HTTP 502 with no error of Restate's in it: another program may listen there",
        ),
        (answering(302), "HTTP 302 with no error of Restate's in it: another program may listen there"),
        (
            answering(200, text="<html>"),
            "its answer to /query is not understood: body: Invalid JSON: expected value at line 1 column 1",
        ),
        (
            answering(200, {"rows": [{"name": "a"}]}),
            "its answer to /query is not understood: rows.0.deployment_id: Field required",
        ),
        (failing(httpx2.ConnectError("All connection attempts failed")), "All connection attempts failed"),
        (failing(httpx2.RemoteProtocolError("")), "RemoteProtocolError"),
        (failing(httpx2.ConnectTimeout("")), "no answer to POST /query in time"),
    ],
)
async def test_a_restate_that_cannot_be_used_is_unavailable_with_the_reason(
    answer: Answer, reason: str
) -> None:
    assert await failure_of(answer, "fetch_newest") == ("RestateUnavailable", {"url": URL, "reason": reason})


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"rows":['
        raise httpx2.RemoteProtocolError("peer closed connection")

    answer = await failure_of(lambda _: httpx2.Response(200, content=body()), "fetch_demand")
    assert answer == ("RestateUnavailable", {"url": URL, "reason": "peer closed connection"})


async def test_a_silent_restate_is_waited_for_no_longer_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(_: httpx2.Request) -> httpx2.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(admin_module, "READ_LIMIT", admin_module.READ_LIMIT / 1000)
    restate = RestateAdmin(URL, httpx2.AsyncClient(transport=httpx2.MockTransport(never)))
    with pytest.raises(RestateUnavailable) as failure:
        await restate.fetch_version()
    assert failure.value.reason == "no answer to GET /version in time"


async def test_no_error_carries_more_of_an_answer_than_the_limit() -> None:
    body = {"message": "x" * (MAX_REASON + 1), "restate_code": "META0003"}
    _, fields = await failure_of(answering(500, body))
    assert fields["reason"] == "x" * MAX_REASON + f"… ({MAX_REASON + 1} characters in all)"


async def test_a_check_needs_the_query_and_gives_the_version() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        body = {"version": "1.7.12"} if request.url.path == "/version" else {"rows": [{"invocations": 0}]}
        return httpx2.Response(200, json=body)

    restate, server = admin(answer)
    assert await restate.check() == "1.7.12"
    assert server.asked == [("POST", "/query", {"query": load_query("check")}), ("GET", "/version", None)]
    kind, _ = await failure_of(answering(200, {"rows": []}), "check")
    assert kind == "RestateUnavailable"


@pytest.mark.parametrize("name", ["newest", "attempting", "pinned", "check"])
def test_each_query_says_at_its_top_what_it_finds(name: str) -> None:
    assert load_query(name).startswith("-- ")


async def test_a_client_of_its_own_is_closed_and_a_given_one_is_not() -> None:
    given = httpx2.AsyncClient(transport=httpx2.MockTransport(Server(answering(200, {"version": "1"}))))
    async with RestateAdmin(URL, given) as restate:
        assert await restate.fetch_version() == "1"
    assert not given.is_closed
    async with RestateAdmin(URL) as restate:
        own = restate._connection._http
    assert own.is_closed
