from __future__ import annotations

import hashlib

import pytest

from gridiron.model import Compatibility
from tests.integration.workers.plane import Plane, eventually

ECHO = """
    export default { fetch(request) {
      const answer = new TransformStream({
        start: (out) => out.enqueue(new TextEncoder().encode("hello|")),
        transform: (chunk, out) => {
          out.enqueue(new TextEncoder().encode(`got ${new TextDecoder().decode(chunk)}|`));
        },
        flush: (out) => out.enqueue(new TextEncoder().encode("bye|")),
      });
      return new Response(request.body.pipeThrough(answer));
    } };
"""
SILENT = """
    const seconds = (count) => new Promise((resolve) => setTimeout(resolve, count * 1000));
    export default { fetch() {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      const write = (text) => writer.write(new TextEncoder().encode(text));
      const talk = async () => {
        await write("before|");
        await seconds(7);
        await write("after|");
        await writer.close();
      };
      talk();
      return new Response(readable);
    } };
"""
# As Restate's SDK answers: a step's command when the step begins, its result when that is there. What is sent
# to it releases the steps that wait.
COMMAND = bytes.fromhex("0411 0000 00000003") + b"one"
RESULT = bytes.fromhex("0005 0000 00000004") + b"done"
STEPS = f"""
    const command = new Uint8Array({[*COMMAND]}), result = new Uint8Array({[*RESULT]});
    export default {{ fetch(request) {{
      const sent = request.body.getReader();
      const {{ readable, writable }} = new TransformStream();
      const writer = writable.getWriter();
      const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
      const answer = async () => {{
        await writer.write(command);
        if (request.url.endsWith("/second-long")) {{
          await turn();
          await writer.write(result);
          await writer.write(command);
        }}
        if (request.url.endsWith("long")) await sent.read();
        else await turn();
        if (request.url.endsWith("/cut")) return writer.close();
        await writer.write(result);
        await writer.close();
      }};
      answer();
      const headers = {{ "content-type": "application/vnd.restate.invocation.v5" }};
      return new Response(readable, {{ headers }});
    }} }};
"""


async def test_a_stream_goes_both_ways_at_once(shared_plane: Plane) -> None:
    build = shared_plane.write_build("echo", ECHO)
    async with shared_plane.open_stream(f"{build.address.path}/invoke/x/y") as stream:
        # each chunk is sent only when the answer to the one before has arrived
        assert await stream.receive(len(b"hello|")) == b"hello|"
        for chunk in (b"1", b"22", b"333"):
            await stream.send(chunk)
            expected = b"got " + chunk + b"|"
            assert await stream.receive(len(expected)) == expected
        assert (stream.status, stream.ended) == (200, False)
        await stream.end()
        assert await stream.receive(100) == b"bye|"
        assert stream.ended


@pytest.mark.parametrize("date", ["2021-11-02", "2026-01-01"])  # old ones make no streams of their own
async def test_a_steps_command_and_its_result_arrive_as_one(shared_plane: Plane, date: str) -> None:
    compatibility = Compatibility(date=date, flags=("nodejs_compat",))
    build = shared_plane.write_build("steps", STEPS, compatibility=compatibility)
    async with shared_plane.open_stream(f"{build.address.path}/short") as stream:
        assert await stream.receive(100) == COMMAND + RESULT
        assert COMMAND + RESULT in stream.frames


@pytest.mark.parametrize(("path", "before"), [("long", b""), ("second-long", COMMAND + RESULT)])
async def test_the_command_of_a_long_step_does_not_wait_for_its_result(
    shared_plane: Plane, path: str, before: bytes
) -> None:
    build = shared_plane.write_build("steps", STEPS)
    async with shared_plane.open_stream(f"{build.address.path}/{path}") as stream:
        assert await stream.receive(len(before + COMMAND)) == before + COMMAND
        await stream.send(b"go on")
        assert await stream.receive(100) == RESULT


async def test_a_command_without_a_result_is_not_lost_at_the_end(shared_plane: Plane) -> None:
    build = shared_plane.write_build("steps", STEPS)
    async with shared_plane.open_stream(f"{build.address.path}/cut") as stream:
        assert await stream.receive(100) == COMMAND
        assert stream.ended


async def test_a_stream_that_its_client_resets_is_ended(shared_plane: Plane) -> None:
    build = shared_plane.write_build("echo", ECHO)

    async def is_idle() -> bool:
        return await shared_plane.in_flight(build) == 0

    async with shared_plane.open_stream(build.address.path) as stream:
        assert await stream.receive(len(b"hello|")) == b"hello|"
        assert await shared_plane.in_flight(build) == 1
        await stream.reset()
        await eventually(is_idle)


async def test_a_stream_may_be_silent_for_longer_than_any_short_limit(shared_plane: Plane) -> None:
    # workerd's HTTP server and HAProxy's checks have limits of 0.5 to 5 s
    build = shared_plane.write_build("silent", SILENT)
    async with shared_plane.open_stream(build.address.path) as stream:
        assert await stream.receive(len(b"before|")) == b"before|"
        assert await stream.receive(100) == b"after|"
        assert stream.ended


@pytest.mark.parametrize("http2", [False, True])
async def test_large_bodies_arrive_whole_in_both_directions(shared_plane: Plane, *, http2: bool) -> None:
    main = "export default { fetch: (request) => new Response(request.body) };"
    build = shared_plane.write_build("mirror", main)
    body = b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(250_000))  # 8 MB
    async with shared_plane.client(http1=not http2, http2=http2) as client:
        response = await client.post(build.address.path, content=body)
    assert response.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert response.content == body
