"""What a cell keeps of what its builds print."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from gridiron.model import Build
from gridiron.workers.control import ask_once
from gridiron.workers.logs import LogEvent, Source, parse_log
from gridiron.workers.sockets import control_socket
from tests.integration.workers.plane import Plane, eventually, running

INVOCATION = {"x-restate-invocation-id": "inv_1"}


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> object:
    with running(tmp_path_factory.mktemp("plane"), cells=1) as plane:
        yield plane


@dataclass(frozen=True)
class Page:
    """What a cell gives of a log."""

    cursor: str | None
    missed: int
    entries: tuple[LogEvent, ...]


async def fetch_page(plane: Plane, build: Build, cursor: str | None = None) -> Page:
    path, socket = build.address.path, plane.run_dir / control_socket("cell-1")
    answer = await ask_once(socket, "POST", "/logs", body={"cursors": {path: cursor}})
    assert answer is not None
    page = answer["logs"][path]
    parsed = parse_log(Source(build.build_id, "cell-1"), {**page, "missed": 0}, datetime.now(UTC))
    return Page(parsed.cursor, page["missed"], parsed.events)


async def run(plane: Plane, body: str, name: str = "printer", head: str = "") -> tuple[LogEvent, ...]:
    """Send one request to a handler with this body; give what is kept when its outcome is."""
    handler = f"async fetch(request, env, ctx) {{ {body}\nreturn new Response('done'); }}"
    main = f"{head}\nexport default {{ {handler} }};"
    build = plane.write_build(name, main)
    await plane.get(f"{build.address.path}/x?y=z", headers=INVOCATION)

    async def entries() -> tuple[LogEvent, ...]:
        page = await fetch_page(plane, build)
        return page.entries if any(entry.kind == "outcome" for entry in page.entries) else ()

    return await eventually(entries)


async def message(plane: Plane, printed: str) -> str:
    """What is kept of `console.log(…)`."""
    return (await run(plane, f"console.log({printed});"))[0].message


async def test_every_level_with_its_request_and_then_how_that_ended(shared_plane: Plane) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    levels = ("debug", "info", "log", "warn", "error")
    entries = await run(shared_plane, "\n".join(f"console.{level}('{level}', 1);" for level in levels))
    shown = [(each.kind, each.level, each.message, each.outcome) for each in entries]
    assert shown == [
        *(("log", level, f"{level} 1", None) for level in levels),
        ("outcome", "info", "HTTP 200", "ok"),
    ]
    assert {(each.handler, each.invocation_id) for each in entries} == {("GET /x", "inv_1")}
    assert all(before <= each.time <= datetime.now(UTC) for each in entries)
    duration = entries[-1].duration_ms
    assert duration is not None
    assert 0 <= duration < 10_000

    async def is_printed() -> bool:
        return '"component": "cell-1", "message": "warn 1"}\n' in shared_plane.output

    assert await eventually(is_printed)  # as before


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        ("'a', 1, null, undefined, true, 2n, Symbol('s')", "a 1 null undefined true 2n Symbol(s)"),
        ("{ a: [1, 'b', { c: null }] }, new Date(0)", '{"a":[1,"b",{"c":null}]} "1970-01-01T00:00:00.000Z"'),
        ("new Map([[1, new Set([2])]]), new Uint8Array(3)", '[[1,[2]]] "[Uint8Array: 3 bytes]"'),
        ("'%s is %d%% of %j', 'this', 12, { a: 1 }, 'more'", 'this is 12% of {"a":1} more'),
        ("'100%', 'sure', '%s'", "100% sure %s"),
        ("((o) => (o.self = o))({})", '{"self":"[Circular]"}'),
        ("{ get a() { throw new Error('no') } }", "(what was printed cannot be shown: Error: no)"),
        ("'x'.repeat(20000)", "x" * 16_384 + "…"),
    ],
)
async def test_values_are_kept_as_text(shared_plane: Plane, printed: str, kept: str) -> None:
    assert await message(shared_plane, printed) == kept


async def test_what_is_too_large_to_show_is_cut_and_takes_no_time(shared_plane: Plane) -> None:
    many = "Array.from({ length: 3e6 }, (_, n) => n)"
    assert (await message(shared_plane, many)).startswith("[0,1,2,3,")
    deep = "((o) => { for (let n = 0; n < 1e5; n++) o = { o }; return o; })({})"
    assert await message(shared_plane, deep) == '{"o":' * 8 + '"[Object]"' + "}" * 8


async def test_an_error_has_its_stack_and_its_cause(shared_plane: Plane) -> None:
    kept = await message(shared_plane, "new Error('outer', { cause: new TypeError('inner') })")
    assert kept.startswith("Error: outer\n    at Object.fetch (index.js:")
    assert kept.endswith('\n  cause: "TypeError: inner"')


async def test_an_exception_that_ends_a_request(shared_plane: Plane) -> None:
    exception, outcome = await run(shared_plane, "throw new TypeError('oh no');")
    assert (exception.kind, exception.level, exception.invocation_id) == ("exception", "error", "inv_1")
    assert exception.message.startswith("TypeError: oh no\n    at Object.fetch (index.js:")
    assert (outcome.outcome, outcome.level, outcome.message) == ("exception", "error", "TypeError: oh no")


@pytest.mark.parametrize(
    "thrown",
    [
        "Promise.reject(new Error('lost'));",
        "queueMicrotask(() => { throw new Error('lost'); });",
        "setTimeout(() => { throw new Error('lost'); }, 1);",
        "ctx.waitUntil(Promise.reject(new Error('lost')));",
    ],
)
async def test_an_exception_that_nobody_waits_for(shared_plane: Plane, thrown: str) -> None:
    wait = "await new Promise((resolve) => setTimeout(resolve, 20));"
    exception, outcome = await run(shared_plane, thrown + wait)
    assert (exception.kind, exception.handler) == ("exception", "GET /x")
    assert exception.message.startswith("Error: lost\n")
    assert outcome.outcome == "ok"


async def test_a_timer_is_as_it_was(shared_plane: Plane) -> None:
    body = "await new Promise((resolve) => setTimeout((a, b) => resolve(console.log(a, b)), 1, 'a', 'b'));"
    assert (await run(shared_plane, body))[0].message == "a b"


async def test_a_server_error_is_a_failure(shared_plane: Plane) -> None:
    (outcome,) = await run(shared_plane, "return new Response(null, { status: 503 });")
    assert (outcome.outcome, outcome.level, outcome.message) == ("failed", "error", "HTTP 503")


async def test_what_keeps_a_bundle_from_loading(shared_plane: Plane) -> None:
    build = shared_plane.write_build("stillborn", "throw new Error('no luck'); export default {};")
    for _ in range(2):
        assert (await shared_plane.get(build.address.path)).status_code == 502
    page = await fetch_page(shared_plane, build)
    (exception,) = page.entries
    assert (exception.kind, exception.message) == ("exception", "Error: no luck\n  at index.js:1:7")
    assert await fetch_page(shared_plane, build, page.cursor) == Page(page.cursor, 0, ())


async def test_what_is_printed_while_the_bundle_loads(shared_plane: Plane) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    printed, _ = await run(shared_plane, "", head="console.warn('loading');")
    assert (printed.message, printed.handler, printed.invocation_id) == ("loading", None, None)
    assert printed.time > before


async def test_a_flood_keeps_the_newest_and_counts_the_others(shared_plane: Plane) -> None:
    build = shared_plane.write_build(
        "flood",
        "export default { fetch(request) { const count = new URL(request.url).searchParams.get('count');"
        "for (let n = 0; n < count; n++) console.log(`line ${n}`); return new Response(); } };",
    )
    await shared_plane.get(f"{build.address.path}/?count=3")
    first = await fetch_page(shared_plane, build)
    assert (first.missed, [each.message for each in first.entries[:3]]) == (0, ["line 0", "line 1", "line 2"])
    await shared_plane.get(f"{build.address.path}/?count=5000")
    second = await fetch_page(shared_plane, build, first.cursor)
    lines = [each.message for each in second.entries if each.kind == "log"]
    assert (second.missed, len(lines), lines[0], lines[-1]) == (4000, 1000, "line 4000", "line 4999")
    assert await fetch_page(shared_plane, build, second.cursor) == Page(second.cursor, 0, ())


async def test_large_lines_take_the_place_of_more_small_ones(shared_plane: Plane) -> None:
    entries = await run(shared_plane, "for (let n = 0; n < 100; n++) console.log('x'.repeat(16384));")
    assert len(entries) == 16 + 1


async def test_many_outcomes_displace_no_line(shared_plane: Plane) -> None:
    build = shared_plane.write_build(
        "busy", "console.log('rare'); export default { fetch: () => new Response() };"
    )
    async with shared_plane.client() as client:
        for _ in range(1100):
            await client.get(build.address.path)
    page = await fetch_page(shared_plane, build)
    assert (page.missed, page.entries[0].message, len(page.entries)) == (0, "rare", 1001)


async def test_each_build_has_a_log_of_its_own(shared_plane: Plane) -> None:
    builds = [
        shared_plane.write_build(
            "twin", f"console.log('{n}'); export default {{ fetch: () => new Response() }};"
        )
        for n in range(2)
    ]
    for build in builds:
        await shared_plane.get(build.address.path)
    pages = [await fetch_page(shared_plane, build) for build in builds]
    assert [page.entries[0].message for page in pages] == ["0", "1"]


async def test_the_log_goes_with_the_build_and_reading_loads_nothing(shared_plane: Plane) -> None:
    build = shared_plane.write_build(
        "gone", "console.log('here'); export default { fetch: () => new Response() };"
    )
    assert await fetch_page(shared_plane, build) == Page(None, 0, ())
    await shared_plane.get(build.address.path)
    page = await fetch_page(shared_plane, build)
    await shared_plane.cells.unload(build.address.path)
    assert await fetch_page(shared_plane, build, page.cursor) == Page(page.cursor, 0, ())
    await shared_plane.get(build.address.path)  # loads it anew
    again = await fetch_page(shared_plane, build, page.cursor)
    assert (again.missed, [each.message for each in again.entries]) == (0, ["here", "HTTP 200"])


async def test_no_bundle_can_have_a_read_of_its_log_hang_the_cell(shared_plane: Plane) -> None:
    hostile = """
        const hang = () => { for (;;); };
        function sabotage() {
          console.log("sabotaged");
          for (const prototype of [String.prototype, Array.prototype]) {
            for (const name of ["push", "shift", "slice", "sort", "split", "map", Symbol.iterator]) {
              prototype[name] = hang;
            }
          }
          Object.prototype.read = hang;
          const endless = new Proxy({}, { get: () => ({ order: 0 }), set: hang });
          Object.setPrototypeOf(Array.prototype, endless);
        }
        export class Own { read() { hang(); } }
        export { Own as __GridironReader };
        export default { fetch() { setTimeout(sabotage, 0); return new Response(); } };
    """
    build = shared_plane.write_build("hostile", hostile)
    await shared_plane.get(f"{build.address.path}/discover")  # whose outcome is not kept

    async def messages() -> list[str]:
        return [each.message for each in (await fetch_page(shared_plane, build)).entries]

    assert await eventually(messages) == ["sabotaged"]
    assert (await fetch_page(shared_plane, build)).missed == 0
