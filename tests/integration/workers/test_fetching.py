"""A node of a cluster has builds that its disk lacks fetched by the manager, on their first use."""

from __future__ import annotations

import asyncio
import shutil
import socket
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.access.tls import NO_TLS
from gridiron.cluster import Cluster
from gridiron.errors import GridironError, SourceUnreachable, StorageFailed
from gridiron.manager.fetching import serve_fetching
from gridiron.model import Address, Build
from gridiron.workers.cells import Problem
from gridiron.workers.control import ask_once
from gridiron.workers.sockets import control_socket, fetch_socket, list_cells
from tests.integration.workers.plane import Plane, eventually, running
from tests.integration.workers.test_router import COUNTER, HELLO, loaded, problem_of

CLUSTER = Cluster.model_validate(
    {"address": "10.99.0.1", "peers": ["10.99.0.2"], "bucket": "s3://gridiron/mesh"}
)
NONE = Address(name="none", version="1.0.0", timestamp=7)
AWAY = SourceUnreachable("s3://gridiron/mesh", "no route")


def not_fetched(detail: str) -> Mapping[str, Any]:
    return {"status": 503, "code": "build_not_fetched", "detail": detail}


NOT_YET = not_fetched("The manager has not fetched it within 4 s, and goes on.")
NO_ANSWER = "The manager does not answer. Is it running? ("


class Bucket:
    """Where builds are fetched from: beside the bundle directory of a plane."""

    def __init__(self, plane: Plane, directory: Path) -> None:
        self._plane = plane
        self._directory = directory
        self.failure: GridironError | None = None
        self.asked: Counter[Address] = Counter()
        self.may_end = asyncio.Event()
        self.may_end.set()

    def take(self, build: Build) -> Build:
        """Have a build here and not on the node's disk."""
        shutil.move(self._plane.directory(build), self._directory / build.build_id)
        return build

    async def ensure(self, address: Address) -> bool:
        self.asked[address] += 1
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        source, target = self._directory / str(address), self._plane.settings.bundles_dir / str(address)
        if not source.exists():
            return False
        if target.exists():
            target.rename(target.with_name(f".old-{time.monotonic_ns()}"))
        staged = target.with_name(".staged")
        shutil.copytree(source, staged)
        staged.rename(target)
        return True


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The data plane of a node in a cluster."""
    with running(tmp_path_factory.mktemp("member"), cluster=CLUSTER, node_name="n1") as plane:
        yield plane


@pytest.fixture
def bucket(member: Plane, tmp_path: Path) -> Bucket:
    directory = tmp_path / "bucket"
    directory.mkdir()
    return Bucket(member, directory)


@asynccontextmanager
async def fetching(plane: Plane, bucket: Bucket) -> AsyncIterator[asyncio.Task[None]]:
    """Serve the manager's socket; nothing of it is left after the block."""
    path = fetch_socket(plane.run_dir)
    task = asyncio.create_task(serve_fetching(path, bucket.ensure))
    try:
        await eventually(lambda: accepts(path, task))
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert list(path.parent.iterdir()) == []
        path.parent.rmdir()
    assert task.cancelled(), task.exception()


async def accepts(path: Path, task: asyncio.Task[None]) -> bool:
    assert not task.done(), task.exception()
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def ask(plane: Plane, target: str) -> asyncio.Task[httpx2.Response]:
    """Ask as the router does."""

    async def send() -> httpx2.Response:
        transport = httpx2.AsyncHTTPTransport(uds=str(fetch_socket(plane.run_dir)), verify=NO_TLS)
        async with httpx2.AsyncClient(transport=transport, base_url="http://manager") as client:
            return await client.post(target)

    return asyncio.create_task(send())


async def problems(plane: Plane, build: Build) -> list[Problem | None]:
    """What each cell says when it is asked why a build does not answer."""
    answers = []
    for cell in list_cells(plane.run_dir):
        socket = plane.run_dir / control_socket(cell)
        body = {"accept": "*/*", "known_only": False}
        answer = await ask_once(socket, "POST", f"/problems{build.address.path}", body=body)
        assert answer is not None
        answers.append(answer["problem"])
    return answers


# -- builds that the disk lacks --------------------------------------------------------------------------


async def test_many_first_requests_have_a_build_fetched_once_for_each_cell(
    member: Plane, bucket: Bucket
) -> None:
    build = bucket.take(member.write_build("unknown", COUNTER))
    bucket.may_end.clear()
    async with fetching(member, bucket), member.client() as client:
        requests = [asyncio.create_task(client.get(build.address.path)) for _ in range(30)]
        await eventually(lambda: is_asked(bucket, build.address))
        bucket.may_end.set()
        responses = await asyncio.gather(*requests)
        cells = len(await loaded(member, build))
    assert [response.status_code for response in responses] == [200] * 30
    assert [response.text for response in responses].count("1") == cells
    assert bucket.asked == {build.address: 1}


async def is_asked(bucket: Bucket, address: Address) -> bool:
    return bucket.asked[address] > 0


async def test_a_build_that_there_is_nowhere_is_not_found_each_time(member: Plane, bucket: Bucket) -> None:
    async with fetching(member, bucket):
        for _ in range(2):
            assert problem_of(await member.get(NONE.path)) == {
                "status": 404,
                "code": "build_not_found",
                "detail": "There is no build at /none/1.0.0-7 (any more).",
            }
    assert bucket.asked == {NONE: 2}


@pytest.mark.parametrize("failure", [AWAY, StorageFailed("Writing", "/data", "No space left on device")])
async def test_a_build_that_cannot_be_fetched_now_is_fetched_later(
    member: Plane, bucket: Bucket, failure: GridironError
) -> None:
    build = bucket.take(member.write_build("later", HELLO))
    bucket.failure = failure
    expected = not_fetched(f"The manager could not fetch it: {failure}")
    async with fetching(member, bucket), member.client() as client:
        responses = await asyncio.gather(*(client.get(build.address.path) for _ in range(10)))
        assert [problem_of(response) for response in responses] == [expected] * 10
        for found in await problems(member, build):
            assert found["code"] == "build_not_fetched"
        bucket.failure = None
        assert (await client.get(build.address.path)).text == "hello"
        assert await problems(member, build) == [None, None]


async def test_without_a_manager_a_request_is_answered_at_once(member: Plane, bucket: Bucket) -> None:
    build = bucket.take(member.write_build("alone", HELLO))
    for _ in range(2):  # before the manager was there, and after it has gone
        problem = problem_of(await member.get(build.address.path, timeout=3))
        assert (problem["status"], problem["code"]) == (503, "build_not_fetched")
        assert problem["detail"].startswith(NO_ANSWER)
        async with fetching(member, bucket):
            assert problem_of(await member.get(NONE.path))["code"] == "build_not_found"
    async with fetching(member, bucket):
        assert (await member.get(build.address.path)).text == "hello"


async def test_a_fetch_that_takes_long_goes_on_without_the_request(member: Plane, bucket: Bucket) -> None:
    build = bucket.take(member.write_build("slow", HELLO))
    bucket.may_end.clear()
    async with fetching(member, bucket), member.client() as client:
        responses = await asyncio.gather(*(client.get(build.address.path) for _ in range(5)))
        assert [problem_of(response) for response in responses] == [NOT_YET] * 5
        assert bucket.asked == {build.address: 1}
        bucket.may_end.set()
        assert (await client.get(build.address.path)).text == "hello"


async def test_a_client_that_goes_leaves_the_fetch_to_the_others(member: Plane, bucket: Bucket) -> None:
    build = bucket.take(member.write_build("left", HELLO))
    bucket.may_end.clear()
    async with fetching(member, bucket):
        first = asyncio.create_task(member.get(build.address.path))
        await eventually(lambda: is_asked(bucket, build.address))
        first.cancel()
        await asyncio.wait({first})
        second = asyncio.create_task(member.get(build.address.path))
        bucket.may_end.set()
        assert (await second).text == "hello"
    assert bucket.asked == {build.address: 1}


async def test_a_build_whose_files_went_is_fetched_when_it_is_loaded_again(
    member: Plane, bucket: Bucket
) -> None:
    build = member.write_build("again", COUNTER)
    assert (await member.get(build.address.path)).text == "1"
    bucket.take(build)
    async with fetching(member, bucket):
        assert bucket.asked == {}
        assert (await member.get(f"{build.address.path}/abort")).status_code == 500
        assert (await member.get(build.address.path)).text == "1"
    assert bucket.asked == {build.address: 1}


@pytest.mark.parametrize("name", ["more.txt", "metadata.json"])
@pytest.mark.parametrize("content", [None, b"", b"mare"])
async def test_a_damaged_copy_is_fetched_anew(
    member: Plane, bucket: Bucket, name: str, content: bytes | None
) -> None:
    build = bucket.take(member.write_build("damaged", {"index.js": HELLO, "more.txt": "more"}))
    async with fetching(member, bucket):
        assert await bucket.ensure(build.address)
        bucket.asked.clear()
        damage(member.directory(build) / name, content)
        assert (await member.get(build.address.path)).text == "hello"
        assert (member.directory(build) / "more.txt").read_bytes() == b"more"
    assert bucket.asked == {build.address: 1}


def damage(file: Path, content: bytes | None) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)


async def test_a_damaged_copy_of_what_there_is_no_more_says_what_is_damaged(
    member: Plane, bucket: Bucket
) -> None:
    build = member.write_build("damaged", {"index.js": HELLO, "more.txt": "more"})
    damage(member.directory(build) / "more.txt", b"mare")
    async with fetching(member, bucket):
        assert problem_of(await member.get(build.address.path)) == {
            "status": 503,
            "code": "bundle_unreadable",
            "detail": "more.txt is not what was stored: its sha256 is another.",
        }
    assert bucket.asked == {build.address: 1}


async def test_a_fetched_copy_that_is_damaged_is_not_loaded(member: Plane, bucket: Bucket) -> None:
    build = member.write_build("damaged", {"index.js": HELLO, "more.txt": "more"})
    damage(member.directory(build) / "more.txt", b"mare")
    bucket.take(build)
    async with fetching(member, bucket):
        for count in (1, 2):
            assert problem_of(await member.get(build.address.path))["code"] == "bundle_unreadable"
            assert bucket.asked[build.address] >= count


async def test_nobody_is_asked_for_what_is_no_build_or_not_signed(member: Plane, bucket: Bucket) -> None:
    build = member.write_build("my-app", HELLO)
    unknown = bucket.take(member.write_build("unsigned", HELLO))
    async with fetching(member, bucket):
        for path in ("/Hello/1-1", "/hello/1-01", "/hello/..%2fx-1", f"/my/app-1.0.0-{build.timestamp}"):
            assert problem_of(await member.get(path))["code"] == "build_not_found"
        assert problem_of(await member.get(unknown.address.path, auth=None))["code"] == "request_unsigned"
    assert bucket.asked == {}


async def test_no_bundle_reaches_the_manager(member: Plane, bucket: Bucket) -> None:
    main = """
        import { env as imported } from "cloudflare:workers";
        const ask = (url) => fetch(url, { method: "POST" }).then(() => "reached", () => "refused");
        export default { async fetch(request, env) {
          const path = request.headers.get("path");
          const hosts = ["manager", "router", "localhost", "127.0.0.1"];
          const asked = await Promise.all(hosts.map((host) => ask(`http://${host}/builds${path}`)));
          return Response.json({ env, imported, asked, ours: await ask(request.headers.get("socket")) });
        } };
    """
    build = member.write_build("curious", main)
    headers = {"path": NONE.path, "socket": f"unix:{fetch_socket(member.run_dir)}"}
    async with fetching(member, bucket):
        found = (await member.get(build.address.path, headers=headers)).json()
    assert found == {"env": {}, "imported": {}, "asked": ["refused"] * 4, "ours": "refused"}
    assert bucket.asked == {}


async def test_a_node_alone_asks_nobody(shared_plane: Plane, tmp_path: Path) -> None:
    bucket = Bucket(shared_plane, tmp_path)
    build = bucket.take(shared_plane.write_build("unknown", HELLO))
    async with fetching(shared_plane, bucket):
        assert problem_of(await shared_plane.get(build.address.path))["code"] == "build_not_found"
    assert bucket.asked == {}


# -- the socket ------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(plane: Plane, answer: bytes | None) -> AsyncIterator[list[bytes]]:
    """Have something at the socket that answers this, or nothing; give the first lines of its questions."""
    questions: list[bytes] = []
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        questions.append(await reader.readuntil(b"\r\n"))
        if answer is None:
            await gone.wait()
        else:
            writer.write(answer)
        writer.close()

    path = fetch_socket(plane.run_dir)
    path.parent.mkdir()
    try:
        async with await asyncio.start_unix_server(serve, path):
            yield questions
            gone.set()
    finally:
        shutil.rmtree(path.parent)


async def test_one_request_of_each_cell_asks(member: Plane) -> None:
    async with answering(member, None) as questions, member.client() as client:
        responses = await asyncio.gather(*(client.get(NONE.path) for _ in range(30)))
    assert [problem_of(response) for response in responses] == [NOT_YET] * 30
    assert set(questions) == {b"POST /builds/none/1.0.0-7 HTTP/1.1\r\n"}
    assert len(questions) <= member.settings.cells


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n",
            "The manager could not fetch it: HTTP 418",
        ),
        (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno",
            "The manager could not fetch it: HTTP 503",
        ),
        (b"SSH-2.0-OpenSSH\r\n\r\n", NO_ANSWER),
        (b"", NO_ANSWER),
    ],
)
async def test_an_answer_of_another_kind_is_no_build(member: Plane, answer: bytes, reason: str) -> None:
    async with answering(member, answer):
        problem = problem_of(await member.get(NONE.path))
    assert (problem["status"], problem["code"]) == (503, "build_not_fetched")
    assert problem["detail"].startswith(reason)


async def test_only_who_reaches_the_directory_reaches_the_socket(member: Plane, bucket: Bucket) -> None:
    path = fetch_socket(member.run_dir)
    async with fetching(member, bucket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        response = await ask(member, f"/builds{NONE.path}")
    assert (response.status_code, response.headers["connection"]) == (404, "close")


async def test_a_socket_that_a_crash_left_is_replaced(member: Plane, bucket: Bucket) -> None:
    path = fetch_socket(member.run_dir)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    path.chmod(0o600)
    async with fetching(member, bucket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert (await ask(member, f"/builds{NONE.path}")).status_code == 404


async def test_what_waits_when_the_manager_ends_is_told(member: Plane, bucket: Bucket) -> None:
    bucket.may_end.clear()
    async with fetching(member, bucket) as serving:
        waiting = ask(member, f"/builds{NONE.path}")
        await eventually(lambda: is_asked(bucket, NONE))
        serving.cancel()
        response = await waiting
    assert (response.status_code, response.json()["code"]) == (503, "manager_stopping")


async def test_a_socket_that_cannot_be_made_is_told(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "manager" / "fetch.sock").mkdir(parents=True)
    for run_dir in (tmp_path, tmp_path / "file", tmp_path / ("x" * 200)):
        with pytest.raises(StorageFailed, match="Making"):
            await serve_fetching(fetch_socket(run_dir), bucket.ensure)
