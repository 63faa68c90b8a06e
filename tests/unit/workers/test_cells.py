from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.errors import WorkersUnavailable
from gridiron.workers import cells as cells_module
from gridiron.workers.cells import (
    NO_ANSWER,
    Cells,
    LoadedBuild,
    Problem,
    parse_builds,
    parse_problem,
)

PROBLEM = {"content-type": "application/problem+json"}
URL = "http://localhost:9080"


def test_builds() -> None:
    answer = {"builds": [{"path": "/a/1-1", "in_flight": 2}, {"path": "/b/1-2", "in_flight": 0}]}
    assert parse_builds("cell-1", answer) == (LoadedBuild("/a/1-1", 2), LoadedBuild("/b/1-2", 0))


@pytest.mark.parametrize(
    "answer", [{}, {"builds": None}, {"builds": [{}]}, {"builds": [{"path": "/a/1-1", "in_flight": "x"}]}]
)
def test_what_is_no_list_of_builds_is_not_an_empty_one(answer: dict[str, Any]) -> None:
    with pytest.raises(WorkersUnavailable, match="cell-1"):
        parse_builds("cell-1", answer)


def test_a_problem() -> None:
    body = {"type": "about:blank", "title": "t", "status": 502, "code": "script_failed", "detail": "why"}
    response = httpx2.Response(502, headers=PROBLEM, json=body)
    assert parse_problem(URL, response, response.content) == Problem(502, "script_failed", "why")


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, json={"services": []}),
        httpx2.Response(500, text="Internal Server Error"),
        # a build may answer with problems of its own
        httpx2.Response(400, headers=PROBLEM, json={"code": "script_failed", "detail": "x"}),
        httpx2.Response(502, headers=PROBLEM, json={"code": "other", "detail": "x"}),
        httpx2.Response(502, headers=PROBLEM, json=["script_failed"]),
    ],
)
def test_a_builds_own_answer_is_no_problem(response: httpx2.Response) -> None:
    assert parse_problem(URL, response, response.content) is None


def test_an_answer_of_haproxy_is_no_answer() -> None:
    with pytest.raises(WorkersUnavailable, match="HTTP 503"):
        parse_problem(URL, httpx2.Response(503, html="<h1>503 Service Unavailable</h1>"), b"")


async def test_a_problem_that_is_no_json_is_a_builds_own(tmp_path: Path) -> None:
    for answer in (
        httpx2.Response(502, headers=PROBLEM, stream=httpx2.ByteStream(b"oops")),
        httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"no gzip")),
    ):
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _, a=answer: a)) as client:
            assert await Cells(tmp_path, URL, client).fetch_problem("/demo/1-1") is None


@pytest.mark.parametrize(("pause", "limit"), [(0.1, "0.5 s"), (0.0, "1 MiB")])
async def test_an_answer_without_an_end_is_given_up(
    pause: float, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "ANSWER_LIMIT", timedelta(seconds=0.5))
    monkeypatch.setattr(cells_module, "MAX_ANSWER", 1024 * 1024)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        try:
            while True:
                writer.write(b"data: tick\n\n" * 1000)
                await writer.drain()
                await asyncio.sleep(pause)
        except ConnectionError:
            ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(5):
            problem = await Cells(tmp_path, url, client).fetch_problem("/demo/1-1")
            await ended.wait()  # nothing is read any more
    assert problem == Problem(504, NO_ANSWER, f"it gave no whole answer within {limit}")
