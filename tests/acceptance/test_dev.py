"""`gridiron dev` on a real node: what is saved is live, what is in flight goes on, what is left over goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.testing.processes import descendants
from tests.acceptance.nodes import Nodes
from tests.harness import Client, alive, wait_until

SOURCE = """
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const version: string = "@VERSION@";
let open = false;
const waiting = async () => { while (!open) await new Promise((resolve) => setTimeout(resolve, 20)); };
const handlers = {
  says: async () => { console.log("it says", version); return version; },
  waits: async () => { await waiting(); return version; },
};
const endpoint = restate.createEndpointHandler({
  services: [restate.service({ name: "developed", handlers })],
  bidirectional: true,
});
export default {
  fetch(request: Request, env: never, ctx: never) {
    if (new URL(request.url).pathname.endsWith("/open")) { open = true; return new Response(); }
    return endpoint(request, env, ctx);
  },
};
"""
TSCONFIG = {
    "compilerOptions": {
        "target": "es2022",
        "module": "esnext",
        "moduleResolution": "bundler",
        "lib": ["es2022", "webworker"],
        "types": [],
        "strict": True,
        "skipLibCheck": True,
        "noEmit": True,
    },
    "include": ["src"],
}


class Project:
    """A project without any packages: the SDK is the one that Gridiron was tested with."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "src").mkdir(parents=True)
        (directory / "package.json").write_text('{"name": "developed"}')
        (directory / "tsconfig.json").write_text(json.dumps(TSCONFIG))
        self.save("1")

    def save(self, version: str, more: str = "") -> None:
        text = SOURCE.replace("@VERSION@", version) + more
        (self.directory / "src" / "index.ts").write_text(text)


class Development:
    """A `gridiron dev --json` that runs, and all that it has told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.events.extend(map(json.loads, self.process.stdout))

    def find(self, event: str, /, **fields: Any) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event and fields.items() <= each.items()]

    def await_event(self, event: str, /, number: int = 1, **fields: Any) -> dict[str, Any]:
        """Wait for the so-manieth event of a kind that has these fields."""
        return wait_until(  # type: ignore[no-any-return]
            lambda: self.find(event, **fields)[number - 1 :], 30, f"{event} {fields} in {self.events}"
        )[0]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        processes = descendants(self.process.pid)
        self.process.send_signal(number)
        returncode = self.process.wait(20)
        self._reader.join(20)
        wait_until(lambda: not alive(processes), 10, "nothing of it is left")
        return returncode


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    nodes = Nodes(tmp_path_factory.mktemp("node"))
    yield nodes.make(sweep_seconds=3600, drain_grace_seconds=3600, cells=1)
    nodes.stop()


@pytest.fixture
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def develop(node: Subject, project: Project) -> Iterator[Callable[[], Development]]:
    with _developing(node, project) as develop:
        yield develop


@contextmanager
def _developing(node: Subject, project: Project) -> Iterator[Callable[[], Development]]:
    running: list[Development] = []
    # one that is killed leaves what it has made
    environment = {**os.environ, **node.settings.environment(), "TMPDIR": str(project.directory.parent)}

    def develop() -> Development:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gridiron", "dev", str(project.directory), "--json"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(Development(process))
        return running[-1]

    yield develop
    for each in running:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)
        assert each.process.stdout is not None
        each.process.stdout.close()


def open_gate(client: Client, build_id: str) -> None:
    assert client.workers.get(f"{client.show(build_id)['path']}/open").status_code == 200


def states(client: Client) -> dict[str, str]:
    return {build["build_id"]: build["state"] for build in client.builds(name="developed")}


def test_what_is_saved_is_live_and_what_is_in_flight_goes_on(
    client: Client, project: Project, develop: Callable[[], Development]
) -> None:
    dev = develop()
    first = dev.await_event("live")["build_id"]
    assert client.call("developed", "says") == "1"
    dev.await_event("printed", kind="log", message="it says 1", build_id=first)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.call, "developed", "waits")
        wait_until(lambda: client.show(first)["invocations"]["attempting"] == 1)
        project.save("2")
        live = dev.await_event("live", number=2)
        assert client.call("developed", "says") == "2"
        assert live["saved"] == ["src/index.ts"]
        assert live["spent_ms"]["total"] == pytest.approx(
            sum(live["spent_ms"][part] for part in ("noticed", "built", "activated")), abs=0.2
        )
        assert states(client) == {first: "draining", live["build_id"]: "active"}
        open_gate(client, first)
        assert waiting.result(30) == "1"
    dev.await_event("printed", kind="outcome", handler="developed/waits", outcome="ok", build_id=first)
    dev.await_event("removed", build_id=first)
    assert states(client) == {live["build_id"]: "active"}
    assert dev.end() == 0
    assert states(client) == {live["build_id"]: "active"}
    assert client.call("developed", "says") == "2"


def test_mistakes_are_told_and_hold_nothing_up(
    client: Client, project: Project, develop: Callable[[], Development]
) -> None:
    dev = develop()
    dev.await_event("live")
    project.save("typed", "const wrong: number = version;\n")
    live = dev.await_event("live", number=2)
    assert client.call("developed", "says") == "typed"
    (mistake,) = dev.await_event("types")["errors"]
    assert (mistake["file"], mistake["text"][:7]) == ("src/index.ts", "TS2322:")
    project.save("broken", "const = ;\n")
    (mistake,) = dev.await_event("not_built")["errors"]
    assert (mistake["file"], mistake["line"]) == ("src/index.ts", SOURCE.count("\n") + 1)
    assert client.call("developed", "says") == "typed"
    project.save("typed", "const wrong: number = version;\n")
    assert dev.await_event("unchanged")["build_id"] == live["build_id"]
    project.save("mended")
    dev.await_event("live", number=3)
    assert client.call("developed", "says") == "mended"
    dev.await_event("types", errors=[])
    project.save("served", "throw new Error('at the start');\n")
    refused = dev.await_event("refused")
    assert (refused["code"], "at the start" in refused["detail"]) == ("script_failed", True)
    assert client.call("developed", "says") == "mended"
    assert dev.end(signal.SIGTERM) == 0


def test_what_a_loop_that_was_killed_left_is_removed_by_the_next(
    client: Client, project: Project, develop: Callable[[], Development]
) -> None:
    dev = develop()
    first = dev.await_event("live")["build_id"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.call, "developed", "waits")
        wait_until(lambda: client.show(first)["invocations"]["attempting"] == 1)
        project.save("next")
        second = dev.await_event("live", number=2)["build_id"]
        dev.end(signal.SIGKILL)  # also esbuild and TypeScript end
        open_gate(client, first)
        assert waiting.result(30) == "1"
    assert states(client).items() >= {first: "drained", second: "active"}.items()
    again = develop()
    again.await_event("removed", build_id=first)
    assert again.await_event("unchanged")["build_id"] == second
    project.save("last")
    last = again.await_event("live")["build_id"]
    again.await_event("removed", build_id=second)
    assert states(client) == {last: "active"}
    assert again.end() == 0


def test_it_goes_on_when_the_manager_does(
    node: Subject, client: Client, project: Project, develop: Callable[[], Development]
) -> None:
    from tests.harness import manager_of  # noqa: PLC0415

    dev = develop()
    dev.await_event("live")
    manager = manager_of(node)
    os.kill(manager, signal.SIGSTOP)
    os.kill(manager, signal.SIGKILL)
    project.save("after")
    live = dev.await_event("live", number=2)
    assert client.call("developed", "says") == "after"
    dev.await_event("printed", kind="log", message="it says after", build_id=live["build_id"])
    assert len(dev.find("refused")) <= 1  # which tells that the manager is away
    assert dev.end() == 0


def test_where_there_is_no_node_or_no_project_it_says_so(
    node: Subject, tmp_path: Path, project: Project
) -> None:
    (tmp_path / "empty").mkdir()
    environment = {**os.environ, **node.settings.environment()}
    for arguments, code in (
        ((str(tmp_path / "empty"),), "project_not_recognised"),
        ((str(tmp_path / "nowhere"),), "source_missing"),
        ((str(project.directory), "--url", "http://localhost:1"), "manager_unavailable"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gridiron", "dev", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr.split()[-1]) == (1, "", f"[{code}]")
