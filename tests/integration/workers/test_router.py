from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from gridiron.model import Build, Compatibility, ModuleKind, Rule
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from gridiron.workers.cells import NO_ANSWER, Cells, LoadedBuild, Problem
from gridiron.workers.status import BuildTraffic
from tests.integration.workers.plane import Plane, eventually

HELLO = 'export default { fetch: () => new Response("hello") };'

# (module (func (export "answer") (result i32) i32.const 42))
ANSWER_WASM = bytes(
    [
        *b"\0asm\1\0\0\0",
        *[1, 5, 1, 0x60, 0, 1, 0x7F],  # types: one function, no parameter, an i32
        *[3, 2, 1, 0],  # functions
        *[7, 10, 1, 6, *b"answer", 0, 0],  # exports
        *[10, 6, 1, 4, 0, 0x41, 42, 0x0B],  # code: i32.const 42
    ]
)


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"type", "title", "status", "code", "detail"}
    assert (body["type"], body["status"]) == ("about:blank", response.status_code)
    return {"status": body["status"], "code": body["code"], "detail": body["detail"]}


async def test_a_rule_gives_a_module_its_kind(shared_plane: Plane) -> None:
    script = """
        import legacy from "./legacy.js";
        import query from "./lib/query.gql";
        export default { fetch: () => Response.json({ legacy, query }) };
    """
    build = shared_plane.write_build(
        "rules",
        {
            "index.js": script,
            "legacy.js": 'exports.all = require("./other.js").one + 1;',
            "other.js": "module.exports = { one: 1 };",
            "lib/query.gql": "{ all }",
        },
        rules=(
            Rule(type=ModuleKind.TEXT, globs=("*.gql",)),
            Rule(type=ModuleKind.CJS, globs=("legacy.js", "other.js")),
        ),
    )
    response = await shared_plane.get(build.address.path)
    assert response.json() == {"legacy": {"all": 2}, "query": "{ all }"}


async def test_every_kind_of_module_can_be_imported(shared_plane: Plane) -> None:
    main = """
        import { twice } from "./lib/twice.js";
        import { thrice } from "./thrice.mjs";
        import wasm from "./answer.wasm";
        import table from "./table.json";
        import text from "./a text.txt";
        import page from "./page.html";
        import data from "./data.bin";
        const { answer } = new WebAssembly.Instance(wasm).exports;
        export default { fetch: () => Response.json({
          js: twice(1), mjs: thrice(1), wasm: answer(), json: table.deep.value, text, page,
          data: [...new Uint8Array(data)],
        }) };
    """
    build = shared_plane.write_build(
        "kinds",
        {
            "index.js": main,
            "lib/twice.js": "export const twice = (n) => 2 * n;",
            "thrice.mjs": "export const thrice = (n) => 3 * n;",
            "answer.wasm": ANSWER_WASM,
            "table.json": '{"deep": {"value": [1, null]}}',
            "a text.txt": "grüße\n",
            "page.html": "<p>",
            "data.bin": bytes([0, 255, 128]),
        },
    )
    response = await shared_plane.get(f"{build.address.path}/anything")
    assert response.json() == {
        "js": 2,
        "mjs": 3,
        "wasm": 42,
        "json": [1, None],
        "text": "grüße\n",
        "page": "<p>",
        "data": [0, 255, 128],
    }


async def test_vars_are_bindings(shared_plane: Plane) -> None:
    values = {"GREETING": "hi", "LIMITS": {"most": [1, 2]}, "ON": True, "NONE": None}
    build = shared_plane.write_build(
        "vars", "export default { fetch: (request, env) => Response.json(env) };", vars=values
    )
    assert (await shared_plane.get(build.address.path)).json() == values


@pytest.mark.parametrize("rest", ["", "/", "/discover", "?a=/b", "/invoke/Svc/handler?x=1"])
async def test_a_build_gets_the_request_as_it_is(shared_plane: Plane, rest: str) -> None:
    build = shared_plane.write_build("urls", "export default { fetch: (r) => new Response(r.url) };")
    response = await shared_plane.get(f"{build.address.path}{rest}")
    assert httpx2.URL(response.text).raw_path.decode() == f"{build.address.path}{rest}"


async def test_the_compatibility_of_a_build_is_its_own(shared_plane: Plane) -> None:
    main = "export default { fetch: () => new Response(typeof navigator) };"
    old = Compatibility(date="2021-11-02", flags=("global_navigator",))
    build = shared_plane.write_build("compatible", main, compatibility=old)
    assert (await shared_plane.get(build.address.path)).text == "object"
    older = shared_plane.write_build("compatible", main, compatibility=Compatibility(date="2021-11-02"))
    assert (await shared_plane.get(older.address.path)).text == "undefined"


@pytest.mark.parametrize("path", ["/none/1.0.0-1", "/none/1.0.0-1/discover?x=1"])
async def test_a_build_that_there_is_not_is_not_found(shared_plane: Plane, path: str) -> None:
    assert problem_of(await shared_plane.get(path)) == {
        "status": 404,
        "code": "build_not_found",
        "detail": "There is no build at /none/1.0.0-1 (any more).",
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//1-1", "/hello", "/hello/", "/hello/1", "/hello/1-", "/hello/1-x", "/hello/1-01"),
        *("/Hello/1-1", "/hello/.-1", "/.staging/1-1", "/..%2f/1-1", "/hello/1%2F..-1"),
        "/hello%2F..%2F..%2Fetc/passwd-1",
    ],
)
async def test_what_is_no_address_is_not_found(shared_plane: Plane, path: str) -> None:
    found = problem_of(await shared_plane.get(path))
    assert (found["status"], found["code"]) == (404, "build_not_found")


async def test_two_addresses_of_one_directory_are_one_build(shared_plane: Plane) -> None:
    build = shared_plane.write_build("my-app", HELLO)
    assert build.build_id == f"my-app-1.0.0-{build.timestamp}"
    assert (await shared_plane.get(f"/my-app/1.0.0-{build.timestamp}")).text == "hello"
    assert problem_of(await shared_plane.get(f"/my/app-1.0.0-{build.timestamp}"))["status"] == 404


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"index.js": "export default {"}, "SyntaxError: Unexpected end of input\n  at index.js:1"),
        (
            {"index.js": 'throw new Error("no luck");\nexport default {};'},
            "Error: no luck\n  at index.js:1:7",
        ),
        ({"index.js": "export const a = 1;"}, "does not provide an export named 'default'"),
        ({"index.js": 'import "./gone.js"; export default {};'}, 'No such module "gone.js"'),
        (
            {"index.js": 'import d from "./d.json"; export default {};', "d.json": "{"},
            "d.json: SyntaxError: Expected property name",
        ),
        (
            {"index.js": 'import w from "./w.wasm"; export default {};', "w.wasm": "no wasm"},
            "expected magic word 00 61 73 6d",
        ),
    ],
)
async def test_a_script_that_does_not_load_says_why(
    shared_plane: Plane, files: dict[str, str], reason: str
) -> None:
    build = shared_plane.write_build("broken", files)
    for _ in range(2):
        problem = problem_of(await shared_plane.get(f"{build.address.path}/discover"))
        assert (problem["status"], problem["code"]) == (502, "script_failed")
        assert reason in problem["detail"]
        assert "Failed to start Worker" not in problem["detail"]


async def test_a_flag_that_workerd_does_not_know_is_the_bundles_fault(shared_plane: Plane) -> None:
    build = shared_plane.write_build("flag", HELLO, compatibility=Compatibility(flags=("no_such_flag",)))
    assert problem_of(await shared_plane.get(build.address.path)) == {
        "status": 502,
        "code": "script_failed",
        "detail": "No such compatibility flag: no_such_flag",
    }


async def test_a_file_that_cannot_be_read_is_no_lasting_failure(shared_plane: Plane) -> None:
    build = shared_plane.write_build("unreadable", {"index.js": HELLO, "more.txt": "more"})
    file = shared_plane.directory(build) / "more.txt"
    for content, detail in (
        (None, "more.txt is missing."),
        (b"mo", "more.txt has another size than"),
        (b"mare", "more.txt is not what was stored"),
    ):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        problem = problem_of(await shared_plane.get(build.address.path))
        assert (problem["status"], problem["code"]) == (503, "bundle_unreadable")
        assert detail in problem["detail"]
    file.write_bytes(b"more")
    assert (await shared_plane.get(build.address.path)).text == "hello"


async def test_metadata_that_cannot_be_read_is_no_lasting_failure(shared_plane: Plane) -> None:
    build = shared_plane.write_build("metadata", HELLO)
    metadata = shared_plane.directory(build) / "metadata.json"
    content = metadata.read_text()
    metadata.write_text("{")
    assert problem_of(await shared_plane.get(build.address.path))["code"] == "bundle_unreadable"
    metadata.write_text(content)
    assert (await shared_plane.get(build.address.path)).text == "hello"


async def test_an_error_of_a_handler_is_no_failure_to_load(shared_plane: Plane) -> None:
    build = shared_plane.write_build("throws", 'export default { fetch() { throw new Error("in it"); } };')
    response = await shared_plane.get(build.address.path)
    assert (response.status_code, response.text) == (500, "Internal Server Error")


COUNTER = """
    import { abortIsolate } from "cloudflare:workers";
    let calls = 0;
    export default { fetch(request) {
      if (request.url.endsWith("/abort")) abortIsolate("enough");
      return new Response(`${++calls}`);
    } };
"""


async def loaded(plane: Plane, build: Build) -> list[LoadedBuild]:
    cells = await plane.cells.fetch_loaded()
    return [each for builds in cells.values() for each in builds if each.path == build.address.path]


async def test_an_evicted_build_is_gone_and_loads_again(shared_plane: Plane) -> None:
    build = shared_plane.write_build("evicted", COUNTER)
    assert await loaded(shared_plane, build) == []
    assert [(await shared_plane.get(build.address.path)).text for _ in range(2)] == ["1", "2"]
    assert await loaded(shared_plane, build) == [LoadedBuild(build.address.path, 0)]
    await shared_plane.cells.unload(build.address.path)
    assert await loaded(shared_plane, build) == []
    await shared_plane.cells.unload(build.address.path)
    assert (await shared_plane.get(build.address.path)).text == "1"


async def test_a_build_that_ends_itself_loads_again(shared_plane: Plane) -> None:
    build = shared_plane.write_build("suicidal", COUNTER)
    assert [(await shared_plane.get(build.address.path)).text for _ in range(2)] == ["1", "2"]
    assert (await shared_plane.get(f"{build.address.path}/abort")).status_code == 500
    assert [(await shared_plane.get(build.address.path)).text for _ in range(2)] == ["1", "2"]
    assert await loaded(shared_plane, build) == [LoadedBuild(build.address.path, 0)]


async def test_a_build_that_ends_itself_after_its_files_went_is_not_found(shared_plane: Plane) -> None:
    build = shared_plane.write_build("orphaned", COUNTER)
    assert (await shared_plane.get(build.address.path)).text == "1"
    directory = shared_plane.directory(build)
    aside = directory.rename(directory.with_name(".aside"))
    assert (await shared_plane.get(f"{build.address.path}/abort")).status_code == 500
    for _ in range(2):
        assert problem_of(await shared_plane.get(build.address.path))["code"] == "build_not_found"
    assert await loaded(shared_plane, build) == []
    aside.rename(directory)
    assert (await shared_plane.get(build.address.path)).text == "1"


async def test_many_first_requests_at_once_load_one_isolate(shared_plane: Plane) -> None:
    build = shared_plane.write_build("herd", COUNTER)
    async with shared_plane.client() as client:
        responses = await asyncio.gather(*(client.get(build.address.path) for _ in range(50)))
    # the bounded load may send some to the other cell, which counts for itself
    cells = len(await loaded(shared_plane, build))
    assert sorted(int(response.text) for response in responses)[:cells] == [1] * cells
    assert [response.text for response in responses].count("1") == cells


STREAM = """
    const minute = () => new Promise((resolve) => setTimeout(resolve, 60_000));
    export default { async fetch(request) {
      const { readable, writable } = new TransformStream();
      const writer = writable.getWriter();
      writer.write(new TextEncoder().encode("begun"));
      minute().then(() => writer.close());  // workerd ends what waits for nothing
      if (request.url.endsWith("/before")) await minute();
      return new Response(readable);
    } };
"""


@pytest.mark.parametrize("http2", [False, True])
async def test_a_stream_counts_as_in_flight_until_its_client_goes(
    shared_plane: Plane, *, http2: bool
) -> None:
    build = shared_plane.write_build("counted", STREAM)
    async with (
        shared_plane.client(http1=not http2, http2=http2) as client,
        client.stream("POST", build.address.path) as response,
    ):
        chunks = response.aiter_bytes()  # held, since its end would close the stream
        assert await anext(chunks) == b"begun"
        assert await shared_plane.in_flight(build) == 1
    await eventually(lambda: is_idle(shared_plane, build))


async def test_a_request_counts_until_its_client_goes_before_any_answer(shared_plane: Plane) -> None:
    build = shared_plane.write_build("counted", STREAM)
    request = asyncio.create_task(shared_plane.get(f"{build.address.path}/before"))
    await eventually(lambda: shared_plane.in_flight(build))
    request.cancel()
    await eventually(lambda: is_idle(shared_plane, build))


async def is_idle(plane: Plane, build: Build) -> bool:
    return await plane.in_flight(build) == 0


async def test_answers_arrive_as_they_were_sent(shared_plane: Plane) -> None:
    main = """
        const gzip = (text) => new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
        export default { fetch(request) {
          const path = new URL(request.url).pathname.split("/").pop();
          if (path === "empty") return new Response(null, { status: 204 });
          if (path === "headers") {
            return new Response("x", { status: 418, headers: [["a", "1"], ["set-cookie", "b=c"]] });
          }
          if (path === "moved") return Response.redirect("http://elsewhere.test/x", 307);
          const headers = { "content-encoding": "gzip" };
          return new Response(gzip("zipped"), { headers, encodeBody: "manual" });
        } };
    """
    build = shared_plane.write_build("answers", main)
    empty = await shared_plane.get(f"{build.address.path}/empty")
    assert (empty.status_code, empty.content) == (204, b"")
    headers = await shared_plane.get(f"{build.address.path}/headers")
    assert (headers.status_code, headers.headers["a"], headers.headers["set-cookie"]) == (418, "1", "b=c")
    moved = await shared_plane.get(f"{build.address.path}/moved")
    assert (moved.status_code, moved.headers["location"]) == (307, "http://elsewhere.test/x")
    assert (await shared_plane.get(f"{build.address.path}/gzip")).text == "zipped"


async def test_a_bundle_reaches_no_private_address(shared_plane: Plane) -> None:
    main = """
        export default { async fetch(request) {
          try {
            await fetch(request.headers.get("target"));
            return new Response("reached");
          } catch (error) {
            return new Response(`refused: ${error}`);
          }
        } };
    """
    build = shared_plane.write_build("curious", main)
    for target in (f"{shared_plane.url}/-/health", "http://169.254.169.254/", "http://10.0.0.1/"):
        response = await shared_plane.get(build.address.path, headers={"target": target})
        assert response.text.startswith("refused: "), target


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("probe")
    built = build_probe(find_toolchain(load_settings()), directory)
    bundle = ProbeBundles(built, directory / "made").make("1.0.0")
    return {path.name: path.read_bytes() for path in bundle.iterdir()}


MIB = 1024 * 1024
DISCOVERIES = {
    "an answer": ("new Response()", None),
    "a failure": ("new Response(null, { status: 500 })", None),
    "an exception": ("null.x", None),
    "a problem of its own": ("Response.json({ status: 502, code: 'script_failed' }, { status: 502 })", None),
    "no answer": (
        "new Promise((resolve) => setTimeout(resolve, 60_000))",
        "it gave no whole answer within 0.5 s",
    ),
    "half an answer": ("new Response(begin())", "it gave no whole answer within 0.5 s"),
    "no end of it": ("new Response(flood())", "it gave no whole answer within 16 MiB"),
}


@pytest.mark.parametrize("how", DISCOVERIES)
async def test_what_keeps_a_build_from_its_discovery(
    shared_plane: Plane, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked by the cells' control sockets, where nothing is signed."""
    answer, detail = DISCOVERIES[how]
    main = f"""
        const minute = () => new Promise((resolve) => setTimeout(resolve, 60_000));
        const stream = (pull) => new ReadableStream({{ pull }});
        const begin = () => stream(async (to) => {{ to.enqueue(new Uint8Array(8)); await minute(); }});
        const flood = () => stream((to) => to.enqueue(new Uint8Array({MIB})));
        export default {{
          fetch: (request) => request.url.endsWith("/discover") ? {answer} : new Response(),
        }};
    """
    build = shared_plane.write_build("asked", main)
    if how != "no end of it":
        monkeypatch.setattr("gridiron.workers.cells.ANSWER_LIMIT", timedelta(seconds=0.5))
    async with httpx2.AsyncClient() as client:
        cells = Cells(shared_plane.run_dir, shared_plane.url, client)
        problem = await cells.fetch_problem(build.address.path)
    assert problem == (None if detail is None else Problem(504, NO_ANSWER, detail))
    await eventually(lambda: is_idle(shared_plane, build))


async def test_a_builds_problem_is_asked_where_it_has_been_met(shared_plane: Plane) -> None:
    main = "export default { fetch: () => new Response('hello') };"
    build = shared_plane.write_build("met", main)
    assert (await shared_plane.get(build.address.path)).text == "hello"
    async with httpx2.AsyncClient() as client:
        cells = Cells(shared_plane.run_dir, shared_plane.url, client)
        assert await cells.fetch_problem(build.address.path) is None
    assert len(await loaded(shared_plane, build)) == 1  # and in no other cell


async def test_a_shared_core_of_the_sdk_changes_no_answer(
    shared_plane: Plane, probe: dict[str, bytes]
) -> None:
    sharing = shared_plane.write_build("probe", probe)
    (core,) = [module for module in sharing.modules if module.name.endswith(".wasm")]
    assert core.sha256 in {known.sha256 for known in find_toolchain(shared_plane.settings).sdk_cores()}
    custom_section = bytes([0, 2, 1, ord("x")])  # another file that does the same
    alone = shared_plane.write_build("alone", {**probe, core.name: probe[core.name] + custom_section})
    headers = {"accept": "application/vnd.restate.endpointmanifest.v3+json"}
    answers = [
        await shared_plane.get(f"{build.address.path}/discover", headers=headers)
        for build in (sharing, alone)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["services"][0]["name"] == "probe"


async def test_what_became_of_requests_is_counted(shared_plane: Plane) -> None:
    script = """
        import { abortIsolate } from "cloudflare:workers";
        const type = { "content-type": "application/vnd.restate.invocation.v5" };
        const message = (...bytes) => new Response(new Uint8Array(bytes), { headers: type });
        const output = [4, 1, 0, 0, 0, 0, 0, 0], failure = [4, 1, 0, 0, 0, 0, 0, 2, 122, 0];
        const broken = { pull: () => Promise.reject(new Error("broken")) };
        const brokenOff = {
          start: (controller) => controller.enqueue(new Uint8Array(3)),
          pull: () => new Promise((_, reject) => setTimeout(() => reject(new Error("broken off")), 50)),
        };
        const deeds = {
          well: () => message(...output),
          fail: () => message(...failure),
          retry: () => message(0, 2, 0, 0, 0, 0, 0, 0),
          suspend: () => message(0, 1, 0, 0, 0, 0, 0, 0),
          throw: () => { throw new Error("on purpose"); },
          break: () => new Response(new ReadableStream(broken), { headers: type }),
          break_off: () => new Response(new ReadableStream(brokenOff), { headers: type }),
          work: () => message(...output, ...compute()),
          discover: () => new Response("{}"),
        };
        function compute() {
          let sum = 0;
          for (let i = 0; i < 5e7; i++) sum += Math.sqrt(i);
          return sum > 0 ? [] : [0];
        }
        export default { fetch: (request) => deeds[request.url.split("/").at(-1)]() };
    """
    build = shared_plane.write_build("counted", script)
    path = build.address.path

    async def fetch_traffic() -> BuildTraffic | None:
        told = await shared_plane.cells.fetch_traffic()
        return next((each for each in told.builds if each.path == path), None)

    await shared_plane.get(f"{path}/discover")
    await eventually(fetch_traffic)
    before = (await shared_plane.cells.fetch_traffic()).refused["build_not_found"]
    async with shared_plane.client() as client:
        for deed in ("fail", "retry", "suspend", "throw", "break", "work", *["well"] * 4, "fail", "throw"):
            await client.post(f"{path}/invoke/Svc/{deed}")
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post(f"{path}/invoke/Svc/break_off")
        await client.post("/nobody/1-1/invoke/Svc/well")

    async def has_told_all() -> BuildTraffic | None:
        told = await fetch_traffic()
        return told if told and sum(told.outcomes.values()) == sum(told.durations) == 13 else None

    counted = await eventually(has_told_all)
    assert counted is not None
    wanted = {"ok": 5, "failed": 2, "retrying": 1, "suspended": 1, "cancelled": 0, "exception": 4, "cut": 0}
    assert (counted.outcomes, counted.in_flight) == (wanted, 0)
    assert sum(counted.durations[2:]) >= 2  # more than 25 ms: a build's own clock stands still while it works
    assert counted.seconds > 0.05
    told = await shared_plane.cells.fetch_traffic()
    assert told.refused["build_not_found"] == before + 1
    assert told.proxy is not None
    assert told.proxy.requests >= 14
