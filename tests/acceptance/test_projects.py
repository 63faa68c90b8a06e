"""Projects as users have them, deployed to a real node and called."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.toolchain.programs import Toolchain, find_toolchain
from tests.files import write
from tests.harness import wait_until

PLAIN = {
    "package.json": '{"name": "@shop/shouter", "version": "1.0.0"}',
    "src/index.ts": """
        import type { Context } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
        import { createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
        import { createHash } from "node:crypto";
        import sign from "./sign.txt";
        import { join } from "legacy";
        const shouter = service({
          name: "shouter",
          handlers: {
            shout: async (ctx: Context, name: string): Promise<string> => {
              const loud = await ctx.run("shout", () => name.toUpperCase());
              return join([loud + sign, createHash("sha256").update(loud).digest("hex").slice(0, 8)]);
            },
          },
        });
        export default { fetch: createEndpointHandler({ services: [shouter], bidirectional: true }) };
    """,
    "src/sign.txt": "!",
    # a package that is no ES module, and asks for Node's modules as such packages do
    "node_modules/legacy/package.json": "{}",
    "node_modules/legacy/index.js": """
        const { Buffer } = require("buffer/");
        const path = require("path");
        exports.join = (parts) => Buffer.from(path.posix.join(...parts)).toString();
    """,
}

RULES = {
    "wrangler.toml": """
        name = "reader"
        main = "src/worker.js"
        [[rules]]
        type = "Text"
        globs = ["**/*.md", "**/queries/*.gql"]
        fallthrough = true
        [[rules]]
        type = "Data"
        globs = ["**/*.dat"]
        fallthrough = true
    """,
    "package.json": '{"version": "1.0.0"}',
    "src/worker.js": """
        import { createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
        import text from "./README.md";
        import query from "./queries/all.gql";
        import table from "./table.sql";
        import data from "./three.dat";
        const read = async () => [text, query, table, data.byteLength];
        const reader = service({ name: "reader", handlers: { read } });
        export default { fetch: createEndpointHandler({ services: [reader], bidirectional: true }) };
    """,
    "src/README.md": "read me",
    "src/queries/all.gql": "{ all }",
    "src/table.sql": "select 1",
    "src/three.dat": "abc",
}


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    return make_shared_node()


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain(load_settings())


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def call(node: Subject, path: str, argument: object = None, status: int = 200) -> object:
    body = {} if argument is None else {"json": argument}
    response = httpx2.post(f"{node.settings.ingress_url}/{path}", timeout=30, **body)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


def test_a_plain_project_is_built_deployed_and_called(node: Subject, tmp_path: Path) -> None:
    project = write(tmp_path / "shouter", {**PLAIN, ".gitignore": "node_modules\n"})
    git(project, "init", "-q", "-b", "main")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "Begin")
    first = git(project, "rev-parse", "HEAD")

    activated = node.run("deploy", str(project))
    build_id = activated["build_id"]
    assert (activated["outcome"], build_id.rpartition("-")[0]) == ("activated", "shouter-1.0.0")
    assert (activated["protocol"], activated["ignored"]) == ("BidiStream", [])
    assert call(node, "shouter/shout", "ada") == "ADA!/8a15fea9"
    shown = {"commit": first, "branch": "main", "dirty": False}
    assert node.run("show", build_id)["git"] == shown

    git(project, "commit", "-q", "--allow-empty", "-m", "Nothing")
    assert git(project, "rev-parse", "HEAD") != first
    again = node.run("deploy", str(project))
    assert (again["outcome"], again["build_id"]) == ("unchanged", build_id)
    assert node.run("show", build_id)["git"] == shown

    write(project, {"src/sign.txt": "?"})
    changed = node.run("deploy", str(project))
    assert (changed["outcome"], changed["replaces"]) == ("activated", [build_id])
    assert node.run("show", changed["build_id"])["git"]["dirty"] is True
    assert call(node, "shouter/shout", "ada") == "ADA?/8a15fea9"


def test_the_rules_of_a_wrangler_project_hold_on_a_node(
    node: Subject, tmp_path: Path, toolchain: Toolchain
) -> None:
    project = write(tmp_path / "reader", RULES)
    (project / "node_modules").symlink_to(toolchain.node_modules)
    expected = ["read me", "{ all }", "select 1", 3]
    first = node.run("deploy", str(project))
    assert (first["outcome"], first["ignored"]) == ("activated", ["worker.js.map"])
    assert call(node, "reader/read") == expected
    assert node.run("deploy", str(project))["outcome"] == "unchanged"

    write(project, {"src/README.md": "read this", "package.json": '{"version": "1.1.0"}'})
    assert node.run("deploy", str(project))["replaces"] == [first["build_id"]]
    assert call(node, "reader/read") == ["read this", *expected[1:]]
    back = node.run("rollback", "reader")
    assert back["build_id"].startswith("reader-1.0.0-")
    assert call(node, "reader/read") == expected

    # what a node has stored can be deployed again, by the same rules
    again = node.run("deploy", str(node.settings.bundles_dir / back["build_id"]), "--version", "2.0.0")
    assert again["outcome"] == "activated"
    assert call(node, "reader/read") == expected


# -- what `gridiron init` makes ---------------------------------------------------------------------------


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(name: str, kind: str) -> Path:
        command = (sys.executable, "-P", "-m", "gridiron", "init", name, "--kind", kind)
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path / name

    return make


def run_node(project: Path, toolchain: Toolchain, *arguments: str) -> None:
    done = subprocess.run(
        [str(toolchain.node().path), *arguments], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["service", "object", "workflow"])
def test_a_new_project_passes_its_tests_and_its_type_check(
    kind: str, toolchain: Toolchain, make_project: Callable[[str, str], Path]
) -> None:
    project = make_project(f"my-{kind}", kind)
    run_node(project, toolchain, "--test", "--test-reporter=tap")  # with nothing installed
    (project / "node_modules").symlink_to(toolchain.node_modules)
    run_node(project, toolchain, "node_modules/typescript/bin/tsc")

    (logic,) = {*project.glob("src/*.ts")} - {project / "src" / "index.ts"}
    logic.write_text(logic.read_text().replace("return ", "return !"))
    with pytest.raises(AssertionError):
        run_node(project, toolchain, "--test")
    with pytest.raises(AssertionError):
        run_node(project, toolchain, "node_modules/typescript/bin/tsc")


def test_a_new_service_is_deployed_with_nothing_installed_and_with_the_sdk(
    node: Subject, toolchain: Toolchain, make_project: Callable[[str, str], Path]
) -> None:
    project = make_project("my-greeter", "service")
    activated = node.run("deploy", str(project))
    assert activated["build_id"].startswith("my-greeter-1.0.0-")
    assert (activated["protocol"], activated["services"]) == ("BidiStream", ["my-greeter"])
    assert re.fullmatch(r"Good \w+, Ada", str(call(node, "my-greeter/greet", "Ada")))
    core = read_core(node, activated["build_id"])
    assert core in {each.sha256 for each in toolchain.sdk_cores()}
    assert node.run("deploy", str(project))["outcome"] == "unchanged"

    (project / "node_modules").symlink_to(toolchain.node_modules)
    installed = node.run("deploy", str(project), "--version", "1.0.1")
    assert installed["outcome"] == "activated"
    assert read_core(node, installed["build_id"]) == core
    assert re.fullmatch(r"Good \w+, Ada", str(call(node, "my-greeter/greet", "Ada")))


def read_core(node: Subject, build_id: str) -> str:
    """The digest of the one Wasm module of a build."""
    metadata = json.loads((node.settings.bundles_dir / build_id / "metadata.json").read_bytes())
    (core,) = (module["sha256"] for module in metadata["modules"] if module["kind"] == "wasm")
    return str(core)


def test_a_new_object_keeps_its_state(node: Subject, make_project: Callable[[str, str], Path]) -> None:
    node.run("deploy", str(make_project("my-tally", "object")))
    for value in (4, -1, 2):
        call(node, "my-tally/steps/add", value)
    expected = {"count": 3, "sum": 5, "largest": 4}
    assert call(node, "my-tally/steps/get") == expected
    assert call(node, "my-tally/others/get") == {"count": 0, "sum": 0, "largest": None}


def test_a_new_workflow_waits_for_a_decision(node: Subject, make_project: Callable[[str, str], Path]) -> None:
    node.run("deploy", str(make_project("my-claim", "workflow")))
    claims = {"small": 10, "trip": 700, "boat": 70_000}
    for key, amount in claims.items():
        call(node, f"my-claim/{key}/run/send", {"purpose": key, "amount": amount}, status=202)
    statuses = {"small": "paid", "trip": "waiting", "boat": "waiting"}
    for key, status in statuses.items():
        wait_until(lambda: call(node, f"my-claim/{key}/status") == status, 30, f"{key} is {status}")  # noqa: B023
    call(node, "my-claim/trip/decide", True)
    call(node, "my-claim/boat/decide", False)
    for key, status in {"trip": "paid", "boat": "refused"}.items():
        wait_until(lambda: call(node, f"my-claim/{key}/status") == status, 30, f"{key} is {status}")  # noqa: B023
