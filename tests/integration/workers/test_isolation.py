"""Builds see nothing of the node or of each other, and cannot keep themselves from being unloaded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridiron.model import Build, Compatibility
from tests.integration.workers.plane import Plane, eventually, running

LOOKING = (Path(__file__).parent / "looking.js").read_text()
NODEJS = Compatibility(flags=("nodejs_compat",))
CANARY = "canary-of-the-node"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A data plane of one cell, so that all builds are neighbours, with a canary wherever one may look."""
    with running(tmp_path_factory.mktemp("isolated"), ("env", f"CANARY={CANARY}"), cells=1) as plane:
        for directory in (plane.settings.data_dir, plane.settings.bundles_dir):
            (directory / "canary.txt").write_text(CANARY)
            (directory / "canary.js").write_text(f'export const canary = "{CANARY}";')
        yield plane


async def text(plane: Plane, build: Build, **headers: str) -> str:
    return (await plane.get(build.address.path, headers=headers)).text


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


# -- of the node ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("new_module_registry",), ("enable_nodejs_fs_module",)])
async def test_a_build_sees_nothing_of_the_node(plane: Plane, flags: tuple[str, ...]) -> None:
    (cell,) = plane.processes("workerd")
    assert CANARY in environment_of(cell)
    data, bundles = plane.settings.data_dir, plane.settings.bundles_dir
    other = plane.write_build("other", {"index.js": "export default {};", "secret.txt": CANARY})
    files = [
        *("/etc/passwd", "/proc/self/environ", "/proc/self/cmdline", f"/proc/{cell}/environ", "/dev/tcp"),
        *(str(data / "canary.txt"), str(bundles / "canary.txt"), str(plane.directory(other) / "secret.txt")),
        *("../canary.txt", "../../canary.txt", "/bundle/../../../canary.txt", "metadata.json"),
        *(str(plane.settings.workerd_config_path), str(plane.run_dir / "haproxy.sock")),
    ]
    modules = [
        *("./router.js", "router.js", "/router.js", "file:///router.js", "/etc/passwd", "file:///etc/passwd"),
        *(f"file://{bundles}/canary.js", str(bundles / "canary.js"), "../canary.js", "../../canary.js"),
        *(f"../{other.build_id}/index.js", f"./{other.build_id}/index.js", f"/{other.build_id}/index.js"),
        *(f"..{other.address.path}/index.js", f"../../other/{other.address.path}/index.js"),
        *("http://other.test/index.js", "data:text/javascript,export default 1", "workerd:unsafe"),
        *("cloudflare-internal:workers", "node-internal:process", "workerd:debug"),
    ]
    flagged = Compatibility(flags=("nodejs_compat", *flags))
    looking = plane.write_build(
        "looking",
        {"index.js": LOOKING, "own.js": "export const own = 1;"},
        vars={"OWN": "v"},
        compatibility=flagged,
    )
    async with plane.client() as client:
        body = {"files": [*files, "/bundle/own.js"], "modules": [*modules, "./own.js"]}
        found = (await client.post(looking.address.path, json=body)).json()
    # what it sees is its own
    assert found["env"] == found["imported_env"] == {"OWN": "v"}
    assert found["process_env"] in ({}, {"OWN": "v"})
    assert found["props"] == {}
    assert set(found["exports"]) == set(found["imported_exports"])
    assert found["process"] == {"argv": ["workerd"], "execArgv": [], "execPath": "", "cwd": "/bundle"}
    assert found["os"] == {"hostname": "localhost", "user": {}, "interfaces": {}}
    assert {path for path in found["tree"] if not path.startswith("/dev")} == {
        *("/bundle", "/bundle/index.js", "/bundle/own.js", "/tmp"),  # noqa: S108 - its own
        *("/bundle/__gridiron.js", "/bundle/__gridiron-evictor.js", "/bundle/__gridiron-log.js"),
    }
    # the control: of the files and modules that it asks for, it gets those that are its own, in the same way
    assert found["files"].pop("/bundle/own.js") == "export const own = 1;"
    assert found["modules"].pop("./own.js") == ["own"]
    assert ["own"] in [found[kind].pop("./own.js") for kind in ("required", "required_at_root")]
    for kind in ("files", "modules", "required", "required_at_root"):
        assert {name for name, what in found[kind].items() if not str(what).startswith("refused")} == set(), (
            kind
        )
    assert found["caches"] == ["refused: Error: No Cache was configured"] * 2
    assert CANARY not in str(found)


@pytest.mark.parametrize(
    "flag",
    ["experimental", "unsafe_module", "connect_pass_through", "allow_insecure_inefficient_logged_eval"],
)
async def test_a_build_cannot_ask_for_what_is_experimental(plane: Plane, flag: str) -> None:
    build = plane.write_build(
        "flagged",
        "export default { fetch: () => new Response() };",
        compatibility=Compatibility(flags=(flag,)),
    )
    response = await plane.get(build.address.path)
    assert (response.status_code, response.json()["code"]) == (502, "script_failed")


# A path that a client makes up. `{victim}` is a build's address, `{id}` its directory.
PATHS = (
    *("/", "//", "//{victim}", "/{id}/index.js", "/{id}/secret.txt", "/{id}/metadata.json", "/canary.txt"),
    *("/../canary.txt", "/%2e%2e/canary.txt", "/..%2fcanary.txt", "/..%2f..%2fcanary.txt-1", "/./canary.txt"),
    *(
        "/victim/..%2f..%2fcanary.txt-1",
        "/victim/%2e%2e-1",
        "/victim/..-1",
        "/%76ictim/1.0.0-1",
        "/victim\\1.0.0-1",
    ),
    *("/victim/1.0.0-1%00", "/victim/./1.0.0-1", "/x/..{victim}", "/builds", "/builds{victim}", "/-/builds"),
    *("/-/../builds", "/control/health", "/?{victim}", "/a/1.0.0-1/../../../etc/passwd", "*", "/victim"),
    *("/" + "a" * 8_000, "/a/" + "1" * 8_000, "/a/" + "1" * 70_000, "/\xe9/1-1", "/a/1-1\x00", "/%ff%fe/1-1"),
    *("http://bundles/{id}/secret.txt", "http://bundles/victim/1.0.0-1"),
)
HOSTS = (
    "Host: x",
    "Host: bundles",
    "Host: cell",
    "",
    "Host:",
    "Host: x{victim}",
    "Host: x?",
    "Host: x#",
    "Host: a@b",
)


def ask(plane: Plane, method: str, path: str, host: str) -> tuple[int, str]:
    """Ask with a request of one's own making, signed for its path; give the status and all that came."""
    signed = [f"{name}: {value}" for name, value in plane.signer.headers(path).items()]
    with socket.create_connection(("127.0.0.1", plane.settings.ports.workers), 5) as connection:
        lines = (f"{method} {path} HTTP/1.1", *([host] if host else []), *signed, "Connection: close", "", "")
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode("latin-1")
    return int(answer.split()[1]), answer


@pytest.fixture(scope="module")
def victim(plane: Plane) -> Build:
    """A build that counts its requests, and has a file that it shows nobody."""
    main = "let calls = 0; export default { fetch: () => new Response(`call ${++calls}`) };"
    return plane.write_build("victim", {"index.js": main, "secret.txt": CANARY})


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_no_path_leads_out_of_the_bundles(plane: Plane, victim: Build, method: str) -> None:
    assert (plane.directory(victim) / "secret.txt").read_text() == CANARY
    first = int((await text(plane, victim)).split()[1])
    for path in PATHS:
        at = path.replace("{victim}", victim.address.path).replace("{id}", victim.build_id)
        status, answer = ask(plane, method, at, "Host: x")
        assert (status in {400, 401, 404}, CANARY in answer, "call" in answer) == (True, False, False), at
    assert await text(plane, victim) == f"call {first + 1}"  # so it was neither asked nor evicted


async def test_no_host_leads_elsewhere(plane: Plane, victim: Build) -> None:
    first = int((await text(plane, victim)).split()[1])
    for host in HOSTS:
        status, answer = ask(plane, "GET", "/none/1.0.0-1", host.replace("{victim}", victim.address.path))
        assert (status in {400, 401, 404}, "call" in answer) == (True, False), host
    assert await text(plane, victim) == f"call {first + 1}"


# -- of each other -------------------------------------------------------------------------------------------


async def test_builds_share_no_globals(plane: Plane) -> None:
    mark = """
        globalThis.mark = "left"; Object.prototype.mark = "left"; Array.prototype.at = () => "left";
        globalThis.fetch = JSON.stringify = Response.json = () => new Response("left");
        Promise.prototype.then = function () { return "left"; }; WebAssembly.mark = console.log = "left";
        export default { fetch: () => new Response(`${globalThis.mark}, ${({}).mark}, ${[1].at(0)}`) };
    """
    look = """
        export default { fetch: () => Response.json({
          marks: [typeof mark, typeof ({}).mark, typeof WebAssembly.mark, typeof console.log], at: [1].at(0),
        }) };
    """
    before = plane.write_build("looks", look)
    assert (await plane.get(before.address.path)).status_code == 200
    marks = plane.write_build("marks", mark)
    assert await text(plane, marks) == "left, left, left"
    same_name = plane.write_build("marks", look, version="1.0.1")
    for build in (before, plane.write_build("looks", look), same_name):
        assert (await plane.get(build.address.path)).json() == {
            "marks": ["undefined", "undefined", "undefined", "function"],
            "at": 1,
        }


async def test_a_build_cannot_call_another(plane: Plane, victim: Build) -> None:
    caller = """
        import { connect } from "cloudflare:sockets";
        import { env, exports } from "cloudflare:workers";
        const tried = async (call) => {
          try { return await call(); } catch (error) { return `refused: ${error}`; }
        };
        export default { async fetch(request, _env, ctx) {
          const { urls, names } = await request.json();
          const answers = [];
          for (const url of [...urls, new URL(urls[0], request.url)]) {
            answers.push(await tried(async () => (await fetch(url)).text()));
            answers.push(await tried(async () => (await fetch(url, { headers: { host: "x" } })).text()));
            answers.push(await tried(async () => { await connect(new URL(url, request.url).host).opened; }));
          }
          for (const name of names) {
            for (const room of [env, exports, ctx.exports, globalThis, ctx, ctx.props]) {
              if (room[name] !== undefined) answers.push(`there is ${name}`);
            }
          }
          return Response.json(answers);
        } };
    """
    first = int((await text(plane, victim)).split()[1])
    build = plane.write_build("caller", caller, compatibility=NODEJS)
    path, port = victim.address.path, plane.settings.ports.workers
    urls = [
        *(f"http://{host}{path}" for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}")),
        *(
            f"http://{host}{path}"
            for host in (
                "x",
                "workers",
                "router",
                "builds",
                "victim",
                "bundles",
                "secrets",
                "identity",
                "internet",
            )
        ),
        *(
            f"{scheme}:{path}"
            for scheme in ("https://victim", "worker://victim", "file://", "service://router")
        ),
    ]
    key = path.removeprefix("/")
    names = [
        "LOADER",
        "BUNDLES",
        "SECRETS",
        "IDENTITY",
        "SDK_CORES",
        "victim",
        key,
        path,
        f"{key}#1",
        f"{key}#2",
        "router",
        "control",
    ]
    async with plane.client() as client:
        answers = (await client.post(build.address.path, json={"urls": urls, "names": names})).json()
    assert len(answers) == 3 * (len(urls) + 1)
    assert [answer for answer in answers if not answer.startswith("refused")] == []
    assert await text(plane, victim) == f"call {first + 1}"


async def test_a_host_that_a_build_maps_is_its_own(plane: Plane) -> None:
    maps = """
        import { WorkerEntrypoint } from "cloudflare:workers";
        import { connect } from "cloudflare:sockets";
        export class Mapped extends WorkerEntrypoint { connect() {} }
        const reach = async (host) => {
          try { await connect(host).opened; return "reached"; } catch { return "refused"; }
        };
        const minute = () => new Promise((resolve) => setTimeout(resolve, 60_000));
        export default { async fetch(request, _env, ctx) {
          const asked = request.headers.get("target");
          if (asked) return new Response(await reach(asked));
          const host = ctx.mapVirtualHost(ctx.exports.Mapped, 8080);
          const { readable, writable } = new TransformStream();
          const writer = writable.getWriter();
          writer.write(new TextEncoder().encode(`${host} ${await reach(host)}`));
          minute().then(() => writer.close());  // the mapping lives as long as the request
          return new Response(readable);
        } };
    """
    build, other = (plane.write_build(name, maps, compatibility=NODEJS) for name in ("maps", "maps-not"))
    async with plane.client() as client, client.stream("GET", build.address.path) as response:
        chunks = response.aiter_text()  # held, since its end would close the stream
        host, outcome = (await anext(chunks)).split()
        assert outcome == "reached"
        assert await text(plane, build, target=host) == "reached"
        assert await text(plane, other, target=host) == "refused"


ENDS = {
    "abortIsolate": "workers.abortIsolate('on purpose')",
    "our evictor": "await ctx.exports.__GridironEvictor.evict()",
    "ctx.abort": "ctx.abort(new Error('on purpose'))",
    "process.exit": "process.exit(1)",
    "process.reallyExit": "process.reallyExit(1)",
    "process.abort": "process.abort()",
    "process.kill": "process.kill(process.ppid, 'SIGKILL')",
    "v8 flags": "v8.setFlagsFromString('--max-heap-size=1')",
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_build_that_ends_itself_ends_no_other(plane: Plane, victim: Build, end: str) -> None:
    main = f"""
        import * as workers from "cloudflare:workers";
        import process from "node:process";
        import v8 from "node:v8";
        export default {{ async fetch(request, _env, ctx) {{
          {ENDS[end]};
          return new Response("went on");
        }} }};
    """
    first, cells = int((await text(plane, victim)).split()[1]), plane.processes("workerd")
    build = plane.write_build("ends", main, compatibility=NODEJS)
    assert (await plane.get(build.address.path)).status_code == 500
    assert await text(plane, victim) == f"call {first + 1}"
    assert plane.processes("workerd") == cells


# -- against the router --------------------------------------------------------------------------------------

# It counts its calls, and says from the first one on that it lives.
OWN = """
    import { WorkerEntrypoint } from "cloudflare:workers";
    const hang = () => new Promise((resolve) => setTimeout(resolve, 60_000));
    let calls = 0;
    const answer = () => {
      if (calls === 0) setInterval(() => console.log("@ lives"), 20);
      return new Response(`call ${++calls}`);
    };
"""
STUBBORN = {
    "exports our entrypoints": """
        class Own extends WorkerEntrypoint { fetch() { return new Response("own"); } ready() {} }
        Own.prototype.evict = hang;
        export { Own as __Gridiron, Own as __GridironEvictor };
        export default { fetch: answer };""",
    "exports our entrypoints as objects": """
        export const __Gridiron = { fetch: () => new Response("own"), ready() {}, evict: hang };
        export const __GridironEvictor = __Gridiron;
        export default { fetch: answer };""",
    "has a method of that name": """
        export default class extends WorkerEntrypoint {
          fetch() { return answer(); }
          evict() { return hang(); }
        };""",
    "is a proxy": """
        export default class extends WorkerEntrypoint {
          constructor(...given) {
            super(...given);
            return new Proxy(this, { get: (on, key) => key === "evict" ? hang : Reflect.get(on, key) });
          }
          fetch() { return answer(); }
        };""",
    "changes our entrypoints": """
        import * as ours from "./__gridiron.js";
        Object.freeze = (value) => value;
        WorkerEntrypoint.prototype.evict = Object.prototype.evict = hang;
        const change = (entrypoint) => {
          try { entrypoint.prototype.evict = hang; } catch {}
          try { Object.defineProperty(entrypoint.prototype, "evict", { value: hang }); } catch {}
          try { Object.setPrototypeOf(entrypoint, class { constructor() { return {}; } }); } catch {}
        };
        export default { fetch() {
          if (calls === 1) Object.values(ours).forEach(change);
          return answer();
        } };""",
    "takes our modules' names": """
        import nothing from "./__gridiron-evictor.js";
        export default { fetch: answer, nothing };""",
}


def write_own(plane: Plane, name: str, main: str, **files: str) -> Build:
    return plane.write_build(name, {"index.js": (OWN + main).replace("@", name), **files})


@pytest.fixture(scope="module")
def metronome(plane: Plane) -> Build:
    """A build that nobody unloads: how often it has said that it lives tells how much time has passed."""
    return write_own(plane, "metronome", "export default { fetch: answer };")


async def says(plane: Plane, name: str, times: int) -> None:
    """Wait until a build has said so many times more that it lives."""
    enough = signs(plane, name) + times

    async def has_said() -> bool:
        return signs(plane, name) >= enough

    await eventually(has_said)


def signs(plane: Plane, name: str) -> int:
    return plane.output.count(f"{name} lives")


@pytest.mark.parametrize("how", STUBBORN)
async def test_no_build_keeps_itself_from_being_unloaded(plane: Plane, metronome: Build, how: str) -> None:
    name = f"stubborn-{list(STUBBORN).index(how)}"
    ours = ("__gridiron-evictor.js", "___gridiron-evictor.js") if "modules" in how else ()
    build = write_own(plane, name, STUBBORN[how], **dict.fromkeys(ours, "export default '';"))
    await text(plane, metronome)
    assert [await text(plane, build) for _ in range(2)] == ["call 1", "call 2"]
    await says(plane, name, 2)
    assert build.address.path in await loaded(plane)
    await plane.cells.unload(build.address.path)
    assert build.address.path not in await loaded(plane)
    await says(plane, "metronome", 2)  # what was said before has arrived
    last = signs(plane, name)
    await says(plane, "metronome", 10)
    assert signs(plane, name) == last
    assert await text(plane, build) == "call 1"


@pytest.mark.parametrize("name", ["builds", "health", "control", "router"])
async def test_a_name_of_ours_is_a_name_like_any_other(plane: Plane, victim: Build, name: str) -> None:
    first = int((await text(plane, victim)).split()[1])
    build = write_own(plane, name, "export default { fetch: answer };")
    assert [await text(plane, build) for _ in range(2)] == ["call 1", "call 2"]
    await plane.cells.unload(build.address.path)
    assert await text(plane, build) == "call 1"
    assert await text(plane, victim) == f"call {first + 1}"


async def loaded(plane: Plane) -> set[str]:
    return {build.path for builds in (await plane.cells.fetch_loaded()).values() for build in builds}
