from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from gridiron.bundles.build import BuildPlan, run_build
from gridiron.bundles.manifest import parse_manifest
from gridiron.bundles.project import Project, prepare_project
from gridiron.bundles.staging import stage_bundle
from gridiron.bundles.wrangler import PASSED_OVER, REFUSED
from gridiron.errors import BuildStepFailed
from gridiron.model import Compatibility, Manifest, ModuleKind
from gridiron.settings import load_settings
from gridiron.toolchain.programs import Toolchain, find_toolchain
from tests.files import write
from tests.harness import wait_until

USED = {"name", "main", "compatibility_date", "compatibility_flags", "vars", "secrets", "minify", "rules"}

PROJECT = {
    "wrangler.toml": """
        name = "shouter"
        main = "src/worker.ts"
        [vars]
        SIGN = "!"
        NOTHING = ""
        [env.production.vars]
        SIGN = "?"
    """,
    "package.json": '{"version": "1.2.3"}',
    "src/worker.ts": """
        import { shout } from "./shout";
        import text from "./text.txt";
        interface Env { SIGN: string }
        export default {
            fetch: (_: Request, env: Env): Response => new Response(shout(text) + env.SIGN),
        };
    """,
    "src/shout.ts": "export const shout = (text: string): string => text.toUpperCase();",
    "src/text.txt": "hello",
}


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain(load_settings())


def test_a_typescript_project_becomes_a_bundle(
    toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_ENV", "production")  # it must not change what is deployed
    project = write(tmp_path / "project", PROJECT)
    out = tmp_path / "out"
    out.mkdir()
    prepared = prepare_project(project, toolchain, out)
    assert prepared == Project(out, "shouter", "1.2.3", built=True)
    manifest = Manifest(
        name="shouter",
        version="1.2.3",
        main="worker.js",
        compatibility=Compatibility(),
        vars={"SIGN": "!", "NOTHING": ""},
    )
    assert parse_manifest({"metadata.json": (out / "metadata.json").read_bytes()}) == manifest

    staged = stage_bundle(out, tmp_path / "staged")
    assert staged.manifest == manifest
    assert [module.name.rpartition("-")[2] for module in staged.modules] == ["text.txt", "worker.js"]
    assert staged.ignored == ("worker.js.map",)
    assert "toUpperCase" in (out / "worker.js").read_text()

    again = tmp_path / "again"
    again.mkdir()
    prepare_project(project, toolchain, again)
    assert stage_bundle(again, tmp_path / "staged again").sha256 == staged.sha256


def test_a_mistake_in_the_source_is_told(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "project", {**PROJECT, "src/shout.ts": "export const shout = ("})
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BuildStepFailed) as caught:
        prepare_project(project, toolchain, out)
    assert caught.value.command.startswith("wrangler deploy --dry-run --config wrangler.toml ")
    assert "src/shout.ts:1:" in caught.value.output
    assert "\x1b" not in caught.value.output


def test_a_source_that_is_not_there_is_told(toolchain: Toolchain, tmp_path: Path) -> None:
    project = write(tmp_path / "project", {"wrangler.json": '{"name": "a", "main": "src/none.ts"}'})
    with pytest.raises(BuildStepFailed) as caught:
        prepare_project(project, toolchain, tmp_path / "out")
    assert "src/none.ts" in caught.value.output


def test_every_key_that_wrangler_knows_is_in_one_table(toolchain: Toolchain) -> None:
    schema = json.loads((toolchain.node_modules / "wrangler" / "config-schema.json").read_bytes())
    known = schema["definitions"]["RawConfig"]["properties"].keys()
    assert known - USED - PASSED_OVER.keys() - REFUSED.keys() == set()


# -- a build that goes wrong -----------------------------------------------------------------------------


def plan(script: str, out: Path) -> BuildPlan:
    return BuildPlan((sys.executable, "-c", script), "wrangler deploy", out)


def test_a_build_that_fails_tells_what_it_printed(tmp_path: Path) -> None:
    script = r"import sys; print('\x1b[31mout\x1b[0m', flush=True); sys.exit('bad')"
    with pytest.raises(BuildStepFailed) as caught:
        run_build(tmp_path, plan(script, tmp_path))
    assert vars(caught.value) == {"command": "wrangler deploy", "output": "out\nbad"}


def test_a_build_that_fails_silently_tells_its_status(tmp_path: Path) -> None:
    with pytest.raises(BuildStepFailed) as caught:
        run_build(tmp_path, plan("raise SystemExit(3)", tmp_path))
    assert caught.value.output == "It ended with 3."


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildStepFailed) as caught:
        run_build(tmp_path, BuildPlan((str(tmp_path / "none"),), "none", tmp_path))
    assert caught.value.output == "No such file or directory"


def test_a_build_that_does_not_end_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    inner = "import time; time.sleep(600)"
    script = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {inner!r}]); "
        "print(child.pid, flush=True); child.wait()"
    )
    with pytest.raises(BuildStepFailed) as caught:
        run_build(tmp_path, plan(script, tmp_path), timedelta(seconds=2))
    pid, stopped = caught.value.output.split("\n")
    assert stopped == "It was stopped: it had not ended after 2 s."
    wait_until(lambda: not runs(int(pid)), 10, "what the build started has ended")


def runs(pid: int) -> bool:
    """A process that has ended and is not reaped yet does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- the digest, by hand ---------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[2] / "docs" / "bundles.md"


def test_the_digest_is_what_the_documented_command_prints(tmp_path: Path) -> None:
    modules = (
        "index.js",
        "a b.txt",
        "grüße/ü.html",
        "lib/metadata.json",
        "x.sql",
        "x.wasm",
        "x.mjs",
        "x.bin",
    )
    ignored = ("README.md", "x.js.map", ".a.js", ".git/a.js", "node_modules/a/b.js", "lib/wrangler.toml")
    files = {
        **dict.fromkeys(modules, "x"),
        **dict.fromkeys(ignored, "y"),
        "metadata.json": '{"name": "a"}',
        "wrangler.json": "{}",
        "wrangler.jsonc": "{}",
        "wrangler.toml": "",
    }
    bundle = write(tmp_path / "bundle", files)
    section = DOCUMENT.read_text().split("\n## The digest\n")[1].split("\n## ")[0]
    (command,) = section.split("```sh\n")[1:]
    printed = subprocess.run(
        ["bash", "-c", command.split("```")[0]],
        cwd=bundle,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == f"{stage_bundle(bundle, tmp_path / 'staged').sha256}  -\n"


# -- modules that are not bundled ------------------------------------------------------------------------

LOOSE = {
    "wrangler.toml": """
        name = "loose"
        main = "src/app/worker.js"
        base_dir = "src"
        BUNDLING
        [[rules]]
        type = "ESModule"
        globs = ["**/*.js"]
        [[rules]]
        type = "CommonJS"
        globs = ["**/*.cjs"]
        [[rules]]
        type = "Text"
        globs = ["**/*.md"]
        fallthrough = true
    """,
    "src/app/worker.js": 'import a from "../lib/a.cjs"; import "../lib/b.js"; export default { fetch() {} };',
    "src/lib/a.cjs": "exports.a = 1;",
    "src/lib/b.js": "export const b = 1;",
    "src/docs/README.md": "read me",
    "src/three.bin": "abc",
    "src/notes.ts": "export {};",
}


@pytest.mark.parametrize("bundling", ["find_additional_modules = true", "no_bundle = true"])
def test_what_wrangler_leaves_apart(bundling: str, toolchain: Toolchain, tmp_path: Path) -> None:
    files = {**LOOSE, "wrangler.toml": LOOSE["wrangler.toml"].replace("BUNDLING", bundling)}
    out = tmp_path / "out"
    out.mkdir()
    prepare_project(write(tmp_path / "project", files), toolchain, out)
    staged = stage_bundle(out, tmp_path / "staged")
    assert staged.manifest.main == "app/worker.js"
    assert {module.name: module.kind for module in staged.modules} == {
        "app/worker.js": ModuleKind.JS,
        "lib/a.cjs": ModuleKind.CJS,
        "lib/b.js": ModuleKind.JS,
        "docs/README.md": ModuleKind.TEXT,
        "three.bin": ModuleKind.DATA,
    }
