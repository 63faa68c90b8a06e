"""The parts of `gridiron dev` that decide and render; the loop itself has a test on a real node."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.bundles.incremental import Mistake
from gridiron.cli.client import ManagerClient
from gridiron.cli.credentials import Way
from gridiron.cli.dev.events import (
    Event,
    Live,
    NotBuilt,
    Refused,
    Removed,
    Spent,
    Types,
    Warned,
    Watching,
    render_event,
    render_fields,
)
from gridiron.cli.dev.leftovers import Leftovers
from gridiron.cli.dev.sender import Sender
from gridiron.cli.dev.types import TypeReport, find_compiler, plan_check
from gridiron.cli.dev.watch import Save, fetch_save
from gridiron.cli.edge import ManagerRefused
from gridiron.manager.api import ActivateRequest
from gridiron.process.child import Command
from gridiron.toolchain.programs import Program
from gridiron.workers.logs import LogEvent

NOW = datetime(2026, 11, 1, 12, 0, 0, 123_456, tzinfo=UTC)
MS = timedelta(milliseconds=1)
MISTAKE = Mistake("TS2322: no", "src/index.ts", 3, 5)
LIVE = Live("greeter-dev-1", ("a.ts", "b.ts", "c.ts", "d.ts"), Spent(4 * MS, 20 * MS, 40.4 * MS))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            Watching("/greeter", "http://localhost:8081"),
            "watching   /greeter, for the node at http://localhost:8081; Ctrl-C ends this",
        ),
        (
            LIVE,
            "live       greeter-dev-1  64 ms: noticed 4, built 20, activated 40  a.ts, b.ts, c.ts and 1 more",
        ),
        (
            Live("g-dev-1", (), LIVE.spent, changed=False, keeps=("old", "x")),
            "unchanged  g-dev-1  64 ms: noticed 4, built 20, activated 40; older builds go on serving old, x",
        ),
        (
            NotBuilt((MISTAKE, Mistake("it ended"))),
            "build      src/index.ts:3:5  TS2322: no\n    it ended",
        ),
        (Warned((MISTAKE,)), "warn       src/index.ts:3:5  TS2322: no"),
        (Refused("service_taken", "It is taken."), "refused    It is taken.  [service_taken]"),
        (Types((MISTAKE,)), "types      src/index.ts:3:5  TS2322: no"),
        (Types(()), "types      no errors"),
        (Removed("greeter-dev-1"), "removed    greeter-dev-1"),
    ],
)
def test_events_are_lines(event: Event, line: str) -> None:
    assert render_event(event, NOW, coloured=False) == f"12:00:00.123  {line}"


def test_the_word_has_a_colour_on_a_terminal() -> None:
    assert render_event(Types(()), NOW, coloured=True) == "12:00:00.123  \x1b[33mtypes    \x1b[0m  no errors"


def test_events_are_objects_for_programs() -> None:
    assert render_fields(LIVE, NOW) == {
        "event": "live",
        "time": "2026-11-01T12:00:00.123456+00:00",
        "build_id": "greeter-dev-1",
        "saved": ["a.ts", "b.ts", "c.ts", "d.ts"],
        "spent_ms": {"noticed": 4.0, "built": 20.0, "activated": 40.4, "total": 64.4},
        "keeps": [],
        "steps_ms": {},
    }
    mistake = {"text": "TS2322: no", "file": "src/index.ts", "line": 3, "column": 5}
    assert render_fields(NotBuilt((MISTAKE,)), NOW)["errors"] == [mistake]
    assert render_fields(Types(()), NOW)["errors"] == []
    assert render_fields(Refused("c", "d"), NOW) | {"time": None} == {
        "event": "refused",
        "time": None,
        "code": "c",
        "detail": "d",
    }


def test_what_a_build_prints_is_an_event_too() -> None:
    printed = LogEvent(
        time=NOW,
        kind="log",
        level="info",
        message="hello",
        build_id="b",
        cell="cell-1",
        handler=None,
        invocation_id=None,
        outcome=None,
        duration_ms=None,
    )
    assert render_event(printed, NOW, coloured=False) == "12:00:00.123  info       hello"
    assert render_fields(printed, NOW) == {"event": "printed", **printed.model_dump(mode="json")}


# -- saves ---------------------------------------------------------------------------------------------------


def test_a_save_is_as_old_as_the_last_file_that_was_written(tmp_path: Path) -> None:
    old, new = tmp_path / "src" / "old.ts", tmp_path / "new.ts"
    old.parent.mkdir()
    for path, age in ((old, 3600), (new, 60)):
        path.touch()
        written = path.stat().st_mtime - age
        os.utime(path, (written, written))
    save = fetch_save(tmp_path, [old, new, new, tmp_path / "gone.ts"])
    assert save.paths == ("gone.ts", "new.ts", "src/old.ts")
    assert timedelta(seconds=59) < save.noticed < timedelta(seconds=120)
    assert fetch_save(tmp_path, [tmp_path / "gone.ts"]).noticed == timedelta(0)


def test_saves_that_came_meanwhile_are_one() -> None:
    first, second = Save(("a", "b"), 9 * MS, 1.0), Save(("b", "c"), 4 * MS, 2.0)
    assert second.after(first) == Save(("a", "b", "c"), 4 * MS, 2.0)


# -- types ---------------------------------------------------------------------------------------------------

OUTPUT = """12:00:00 PM - Starting compilation in watch mode...

src/index.ts(48,7): error TS2322: Type 'string' is not assignable to type 'number'.
  Types of property 'a' are incompatible.
error TS18003: No inputs were found in config file 'tsconfig.json'.
12:00:01 PM - Found 2 errors. Watching for file changes.

12:00:02 PM - File change detected. Starting incremental compilation...

12:00:02 PM - Found 0 errors. Watching for file changes.
"""


def test_what_the_compiler_prints() -> None:
    results: list[tuple[Mistake, ...]] = []
    report = TypeReport(results.append)
    for line in OUTPUT.splitlines():
        report.feed(line)
    assert results == [
        (
            Mistake(
                "TS2322: Type 'string' is not assignable to type 'number'.\n"
                "  Types of property 'a' are incompatible.",
                "src/index.ts",
                48,
                7,
            ),
            Mistake("TS18003: No inputs were found in config file 'tsconfig.json'."),
        ),
        (),
    ]


class Tools:
    """The toolchain's programs, without any."""

    def node(self) -> Program:
        return Program("node", Path("/tools/node"), "24")

    def tsc(self) -> Program:
        return Program("tsc", Path("/tools/node_modules/@typescript/typescript-linux-x64/lib/tsc"), "7")


def test_the_compiler_is_the_projects_own_or_else_ours(tmp_path: Path) -> None:
    project = tmp_path / "packages" / "worker"
    project.mkdir(parents=True)
    assert find_compiler(project, Tools()) == (str(Tools().tsc().path),)
    script = tmp_path / "node_modules" / "typescript" / "bin" / "tsc"
    script.parent.mkdir(parents=True)
    script.touch()
    assert find_compiler(project, Tools()) == ("/tools/node", str(script))
    native = tmp_path / "node_modules" / "@typescript" / "typescript-linux-x64" / "lib" / "tsc"
    native.parent.mkdir(parents=True)
    native.touch()
    assert find_compiler(project, Tools()) == (str(native),)


def test_types_are_checked_where_there_is_a_configuration(tmp_path: Path) -> None:
    assert plan_check(tmp_path, Tools(), {}, tmp_path) is None
    (tmp_path / "tsconfig.json").write_text("{}")
    options = (
        "--noEmit",
        "--watch",
        "--preserveWatchOutput",
        "--pretty",
        "false",
        "--locale",
        "en",
        "--project",
    )
    tsc = str(Tools().tsc().path)
    assert plan_check(tmp_path, Tools(), {}, tmp_path) == Command(
        "tsc", (tsc, *options, str(tmp_path / "tsconfig.json")), cwd=tmp_path
    )
    out = tmp_path / "out"
    out.mkdir()
    sdk = {"@restatedev/restate-sdk-cloudflare-workers/fetch": Path("/sdk/fetch.js")}
    command = plan_check(tmp_path, Tools(), sdk, out)
    assert command is not None
    assert command.arguments[-1] == str(out / "tsconfig.json")
    paths = {
        name: ["/sdk/fetch.d.ts"]
        for name in (*sdk, "@restatedev/restate-sdk", "@restatedev/restate-sdk/fetch")
    }
    assert json.loads((out / "tsconfig.json").read_text()) == {
        "extends": str(tmp_path / "tsconfig.json"),
        "compilerOptions": {"paths": paths},
    }


# -- the manager ---------------------------------------------------------------------------------------------

ACTIVATED: dict[str, Any] = {
    "outcome": "activated",
    "build_id": "greeter-dev-1",
    "path": "/greeter/dev-1",
    "deployment_id": "dp_1",
    "protocol": "BidiStream",
    "services": ["greeter"],
    "sha256": "0" * 64,
    "size": 1,
    "ignored": [],
    "replaces": [],
    "changes": [],
    "takes_over": {},
    "keeps": [],
    "refusals": [],
    "copies": [],
    "timings_ms": {},
}


@pytest.fixture
def make_client(manager: Any) -> Callable[[str], ManagerClient]:
    return lambda url: ManagerClient(Way(url), httpx2.MockTransport(manager.handle))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "index.js").write_text("export default {};")
    return bundle


def request_of(bundle: Path) -> ActivateRequest:
    return ActivateRequest(source=bundle.as_uri(), name="greeter", version="dev")


def sources(manager: Any) -> list[str]:
    return [body["source"].partition(":")[0] for route, body in manager.asked if route == "POST /activate"]


@pytest.mark.parametrize("code", ["source_missing", "source_outside_roots", "source_unreadable"])
def test_a_manager_that_does_not_see_our_files_is_sent_archives(
    manager: Any, bundle: Path, code: str
) -> None:
    manager.refuse("POST /activate", 422, code, "not here")
    manager.on("POST /activate", ACTIVATED, status=201)
    uploads: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.method != "PUT":
            return manager.handle(request)  # type: ignore[no-any-return]
        request.read()
        uploads.append(request)
        sha256 = request.url.path.rpartition("/")[2]
        return httpx2.Response(201, json={"source": f"bundle:{sha256}", "sha256": sha256})

    with ManagerClient(Way("http://localhost"), httpx2.MockTransport(handle)) as client:
        sender = Sender(client, timedelta(seconds=5))
        for _ in range(2):
            assert sender.activate(request_of(bundle), bundle).build_id == "greeter-dev-1"
    assert sources(manager) == ["file", "bundle", "bundle"]
    assert len(uploads) == 2


def test_what_is_refused_for_its_own_sake_is_not_sent_again(
    manager: Any, make_client: Callable[[str], ManagerClient], bundle: Path
) -> None:
    manager.refuse("POST /activate", 409, "service_taken", "taken")
    with make_client("http://localhost") as client, pytest.raises(ManagerRefused, match="taken"):
        Sender(client, timedelta(seconds=5)).activate(request_of(bundle), bundle)
    assert sources(manager) == ["file"]


async def test_leftovers_go_when_nothing_needs_them(
    manager: Any, make_client: Callable[[str], ManagerClient]
) -> None:
    removed: list[str] = []
    manager.refuse("POST /prune", 409, "build_in_use", "draining")
    manager.refuse("POST /prune", 404, "build_not_found", "gone")
    manager.on("POST /prune", httpx2.ConnectError("away"))
    manager.on("POST /prune", {"dry_run": False, "pruned": [], "kept": []})
    with make_client("http://localhost") as client:
        leftovers = Leftovers(client, removed.append)
        leftovers.add(["greeter-dev-1", "greeter-dev-2"])
        await leftovers.remove()  # the first is in use, the second is gone already
        await leftovers.remove()  # nobody answers
        await leftovers.remove()
        await leftovers.remove()  # nothing is left to do
    asked = [body for _, body in manager.asked]
    assert asked == [{"build_id": f"greeter-dev-{number}"} for number in (1, 2, 1, 1)]
    assert removed == ["greeter-dev-1"]
