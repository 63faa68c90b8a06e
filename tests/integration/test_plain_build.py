"""Projects with no wrangler file, built by esbuild."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from gridiron.bundles.project import Project, prepare_project
from gridiron.bundles.staging import Staged, stage_bundle
from gridiron.errors import BuildStepFailed
from gridiron.model import Git, Manifest, ModuleKind
from gridiron.settings import load_settings
from gridiron.toolchain.packages import SDK_PACKAGE
from gridiron.toolchain.programs import Toolchain, find_toolchain
from tests.files import write

GREETER = """
import type { Context } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { createEndpointHandler, service } from "@restatedev/restate-sdk-cloudflare-workers/fetch";
import { shout } from "./shout";
const greeter = service({
  name: "greeter",
  handlers: { greet: async (_ctx: Context, name: string): Promise<string> => shout(name) },
});
export default { fetch: createEndpointHandler({ services: [greeter], bidirectional: true }) };
"""
PROJECT = {
    "package.json": '{"name": "@shop/greeter", "version": "1.2.3"}',
    "src/index.ts": GREETER,
    "src/shout.ts": "export const shout = (text: string): string => text.toUpperCase();",
}
EMPTY_WASM = b"\0asm\1\0\0\0"


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain(load_settings())


def prepare(project: Path, toolchain: Toolchain, out: Path) -> tuple[Project, Staged]:
    out.mkdir()
    prepared = prepare_project(project, toolchain, out)
    return prepared, stage_bundle(prepared.directory, out.with_name(f"{out.name}-staged"))


def test_a_typescript_project_becomes_a_bundle(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "project", PROJECT)
    prepared, staged = prepare(project, toolchain, tmp_path / "out")
    assert prepared == Project(tmp_path / "out", "greeter", "1.2.3", built=True)
    assert staged.manifest == Manifest(name="greeter", version="1.2.3")
    assert staged.ignored == ()
    main, core = staged.modules
    assert (main.name, main.kind, core.kind) == ("index.js", ModuleKind.JS, ModuleKind.WASM)
    assert core.sha256 in {each.sha256 for each in toolchain.sdk_cores()}  # so cells share it
    script = (tmp_path / "out" / "index.js").read_text()
    assert f'import wkmod from "./{core.name}";' in script
    assert "text.toUpperCase()" in script
    assert str(tmp_path / "out") not in script


def test_the_same_content_is_the_same_bundle(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "project", PROJECT)
    digests = {prepare(project, toolchain, tmp_path / out)[1].sha256 for out in ("out", "other")}
    assert len(digests) == 1
    write(project, {"src/shout.ts": "export const shout = (text: string): string => text;"})
    assert prepare(project, toolchain, tmp_path / "changed")[1].sha256 not in digests


def test_packages_are_those_of_the_project(toolchain: Toolchain, tmp_path: Path) -> None:
    """Also the SDK, once the project has one; a package above it counts; those of Gridiron do not."""
    own = {
        f"node_modules/{SDK_PACKAGE}/package.json": '{"name": "sdk", "main": "main.js"}',
        f"node_modules/{SDK_PACKAGE}/fetch.js": "export const own = 'of the project';",
        "node_modules/plain/package.json": '{"exports": {"workerd": "./w.js", "default": "./d.js"}}',
        "node_modules/plain/w.js": "module.exports = 'for workerd';",
        "app/index.ts": f'import {{ own }} from "{SDK_PACKAGE}/fetch"; import a from "plain"; own(a);',
    }
    write(tmp_path / "project", own)
    prepare(tmp_path / "project" / "app", toolchain, tmp_path / "out")
    script = (tmp_path / "out" / "index.js").read_text()
    assert "of the project" in script
    assert "for workerd" in script

    other = write(tmp_path / "other", {"index.ts": 'import { WebSocket } from "ws"; new WebSocket("");'})
    with pytest.raises(BuildStepFailed) as caught:
        prepare(other, toolchain, tmp_path / "none")
    assert caught.value.output.endswith("Is ws installed? `npm install` in the project does it.")


def test_files_stay_modules_and_node_is_left_to_workerd(toolchain: Toolchain, tmp_path: Path) -> None:
    files = {
        "index.ts": """
            import wasm from "./empty.wasm?module";
            import text from "./hello.txt";
            import { env } from "cloudflare:workers";
            import { readFile } from "fs/promises";
            import legacy from "legacy";
            import data from "./data.json";
            export default { fetch: () => new Response([wasm, text, env, readFile, legacy, data.key]) };
        """,
        "hello.txt": "hello",
        "data.json": '{"key": "inlined"}',
        "node_modules/legacy/package.json": "{}",
        "node_modules/legacy/index.js": 'module.exports = [require("buffer/"), require("util")];',
    }
    project = write(tmp_path / "project", files)
    (project / "empty.wasm").write_bytes(EMPTY_WASM)
    _, staged = prepare(project, toolchain, tmp_path / "out")
    kinds = {module.name.partition("-")[0]: module.kind for module in staged.modules}
    assert kinds == {"empty": ModuleKind.WASM, "hello": ModuleKind.TEXT, "index.js": ModuleKind.JS}
    (empty,) = (module for module in staged.modules if module.kind is ModuleKind.WASM)
    assert empty.sha256 == hashlib.sha256(EMPTY_WASM).hexdigest()
    script = (tmp_path / "out" / "index.js").read_text()
    assert f'from "./{empty.name}";' in script
    for imported in ('from "cloudflare:workers"', 'from "node:fs/promises"', '__require("node:buffer")'):
        assert imported in script
    assert "inlined" in script


def test_a_mistake_is_told_with_its_file_and_line(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "project", {**PROJECT, "src/shout.ts": "\nexport const shout = (\n"})
    with pytest.raises(BuildStepFailed) as caught:
        prepare(project, toolchain, tmp_path / "out")
    assert caught.value.command == "esbuild src/index.ts --bundle"
    assert "src/shout.ts:3:0:" in caught.value.output
    assert "\x1b" not in caught.value.output


def test_a_name_and_version_that_nothing_says_come_from_git(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "greeter", {"index.js": "export default {};"})
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "Begin")):
        subprocess.run(["git", *identity, *command], cwd=project, check=True, env=os.environ)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True
    ).stdout.strip()
    git = Git(commit=commit, branch="main", dirty=False)
    version = f"0.0.0-{commit[:12]}"
    assert prepare_project(project, toolchain, tmp_path) == Project(
        project, "greeter", version, built=False, git=git
    )
    write(project, {"package.json": '{"version": "1.0.0"}'})
    prepared, staged = prepare(project, toolchain, tmp_path / "out")
    dirty = git.model_copy(update={"dirty": True})
    assert prepared == Project(tmp_path / "out", "greeter", "1.0.0", built=True, git=dirty)
    assert staged.manifest == Manifest(name="greeter", version="1.0.0")


def test_a_project_written_for_node_gets_the_sdk_for_workerd(toolchain: Toolchain, tmp_path: Path) -> None:
    for_node = {
        path: text.replace("restate-sdk-cloudflare-workers/fetch", "restate-sdk")
        for path, text in PROJECT.items()
    }
    assert '"@restatedev/restate-sdk"' in for_node["src/index.ts"]
    _, ported = prepare(write(tmp_path / "node", for_node), toolchain, tmp_path / "node-out")
    _, written = prepare(write(tmp_path / "workerd", PROJECT), toolchain, tmp_path / "workerd-out")
    assert ported.modules == written.modules
