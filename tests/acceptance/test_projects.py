"""Projects as users have them, deployed to a real node and called."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.toolchain.programs import Toolchain, find_toolchain

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


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def call(node: Subject, path: str, argument: object = None) -> object:
    body = {} if argument is None else {"json": argument}
    response = httpx2.post(f"{node.settings.ingress_url}/{path}", timeout=30, **body)
    assert response.status_code == 200, response.text
    return response.json()


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
