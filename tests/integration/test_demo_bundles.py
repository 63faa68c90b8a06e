from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gridiron.model import ModuleKind, module_kind
from gridiron.settings import load_settings, shared_path
from gridiron.toolchain.programs import Toolchain, find_toolchain

SDK_CORE = "sdk_shared_core_wasm_bindings_bg.wasm"
BUILD_LIMIT_SECONDS = 120
HASH_PREFIX = re.compile(r"(?P<sha1>[0-9a-f]{40})-(?P<name>.+)")
IMPORT = re.compile(r'^import .* from "(?P<module>[^"]+)";$', re.MULTILINE)
BELOW = (0, 1, 2, 3, 4, 5, 9, 10, 25, 26, 7919, 7920, 50_000, 100, 2)  # a smaller one after a larger, too

COMPARE_PRIMES = """
import { readFileSync } from "node:fs";
const module = new WebAssembly.Module(readFileSync(process.argv[1]));
const sieve = new WebAssembly.Instance(module).exports;
const primesBelow = (below) => {
  const found = [];
  for (let n = 2; n < below; n++) if (found.every((prime) => n % prime !== 0)) found.push(n);
  return found;
};
console.log(JSON.stringify({
  imports: WebAssembly.Module.imports(module),
  limit: sieve.LIMIT.value,
  atLimit: [sieve.count(sieve.LIMIT.value), sieve.largest(sieve.LIMIT.value)],
  wasm: JSON.parse(process.argv[2]).map((below) => [below, sieve.count(below), sieve.largest(below)]),
  js: JSON.parse(process.argv[2]).map((below) => {
    const found = primesBelow(below);
    return [below, found.length, found.at(-1) ?? 0];
  }),
}));
"""


class Workshop:
    """Builds copies of the demos, so that the checkout stays as it is."""

    def __init__(self, toolchain: Toolchain, directory: Path) -> None:
        self._toolchain = toolchain
        self._directory = directory
        node = toolchain.node().path
        self.environment = {
            **os.environ,
            "PATH": f"{node.parent}{os.pathsep}{os.environ['PATH']}",  # for a project's own build command
            "XDG_CONFIG_HOME": str(directory / "config"),
            "WRANGLER_SEND_METRICS": "false",
            "WRANGLER_HIDE_BANNER": "true",
        }

    def copy(self, demo: str, name: str) -> Path:
        """Give a copy that has a node_modules beside it, at any depth that `name` says."""
        project = self._directory / name
        shutil.copytree(
            shared_path("demo") / demo, project, ignore=shutil.ignore_patterns("*.wasm", ".wrangler")
        )
        (project / "node_modules").symlink_to(self._toolchain.node_modules)
        return project

    def run(self, project: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_SECONDS,
            check=False,
        )

    def wrangle(self, project: Path) -> subprocess.CompletedProcess[str]:
        return self.run(
            project, *self._toolchain.wrangler_command(), "deploy", "--dry-run", "--outdir", "dist"
        )

    def build(self, project: Path) -> Path:
        done = self.wrangle(project)
        assert done.returncode == 0, done.stdout + done.stderr
        return project / "dist"


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return find_toolchain(load_settings())


@pytest.fixture(scope="module")
def workshop(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(toolchain, tmp_path_factory.mktemp("demos"))


@pytest.fixture(scope="module")
def bundle(workshop: Workshop) -> Callable[[str], Path]:
    built: dict[str, Path] = {}

    def get(demo: str) -> Path:
        if demo not in built:
            built[demo] = workshop.build(workshop.copy(demo, demo))
        return built[demo]

    return get


def read_modules(bundle: Path) -> dict[str, ModuleKind]:
    return {file.name: kind for file in bundle.iterdir() if (kind := module_kind(file.name)) is not None}


def strip_prefix(name: str) -> str:
    """Wrangler puts the SHA-1 of a module's content before its name, except for the main module."""
    match = HASH_PREFIX.fullmatch(name)
    return match["name"] if match else name


def find_module(bundle: Path, name: str) -> Path:
    (found,) = [file for file in bundle.iterdir() if strip_prefix(file.name) == name]
    return found


DEMOS: Mapping[str, Mapping[str, ModuleKind]] = {
    "counter": {"index.js": ModuleKind.JS, SDK_CORE: ModuleKind.WASM},
    "greeter": {"index.js": ModuleKind.JS, SDK_CORE: ModuleKind.WASM},
    "primes": {"index.js": ModuleKind.JS, SDK_CORE: ModuleKind.WASM, "primes.wasm": ModuleKind.WASM},
}


@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_becomes_these_modules(bundle: Callable[[str], Path], demo: str) -> None:
    modules = read_modules(bundle(demo))
    assert {strip_prefix(name): kind for name, kind in modules.items()} == DEMOS[demo]
    for name in modules.keys() - {"index.js"}:
        content = (bundle(demo) / name).read_bytes()
        assert name == f"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}-{strip_prefix(name)}"


@pytest.mark.parametrize("demo", DEMOS)
def test_the_main_module_imports_what_is_there(bundle: Callable[[str], Path], demo: str) -> None:
    imported = set(IMPORT.findall((bundle(demo) / "index.js").read_text()))
    of_workerd = {name for name in imported if name.startswith(("node:", "cloudflare:"))}
    greeter_only = {"cloudflare:workers"} if demo == "greeter" else set()
    assert of_workerd == {"node:buffer", "node:timers/promises"} | greeter_only
    assert imported - of_workerd == {f"./{name}" for name in read_modules(bundle(demo)).keys() - {"index.js"}}


@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_streams_and_is_not_minified(bundle: Callable[[str], Path], demo: str) -> None:
    script = (bundle(demo) / "index.js").read_text()
    assert f"fetch: createEndpointHandler({{ services: [{demo}], bidirectional: true }})" in script
    assert f'name: "{demo}",\n' in script
    assert "\nfunction createEndpointHandler(options) {\n" in script


@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_is_named_like_its_service(demo: str) -> None:
    package = json.loads((shared_path("demo") / demo / "package.json").read_bytes())
    assert package == {"name": demo, "version": "1.0.0", "private": True, "type": "module"}
    assert f'name = "{demo}"\n' in (shared_path("demo") / demo / "wrangler.toml").read_text()


def test_greeter_becomes_another_version_by_one_edit(
    bundle: Callable[[str], Path], workshop: Workshop
) -> None:
    newer = workshop.copy("greeter", "greeter11")
    source = newer / "src" / "index.ts"
    assert source.read_text().count("1.0.0") == 1
    source.write_text(source.read_text().replace("1.0.0", "1.1.0"))

    scripts = [
        (built / "index.js").read_text().splitlines() for built in (bundle("greeter"), workshop.build(newer))
    ]
    changed = [lines for lines in zip(*scripts, strict=True) if lines[0] != lines[1]]
    assert changed == [('var VERSION = "1.0.0";', 'var VERSION = "1.1.0";')]


def test_the_wasm_of_primes_counts_as_plain_javascript_does(
    bundle: Callable[[str], Path], toolchain: Toolchain, workshop: Workshop
) -> None:
    wasm = find_module(bundle("primes"), "primes.wasm")
    node = str(toolchain.node().path)
    script = ("--input-type=module", "--eval", COMPARE_PRIMES)
    done = workshop.run(wasm.parent, node, *script, str(wasm), json.dumps(BELOW))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer == {
        "imports": [],
        "limit": 10_000_000,
        "atLimit": [664_579, 9_999_991],
        "wasm": answer["js"],
        "js": answer["js"],
    }


def test_the_wasm_of_primes_is_the_same_wherever_it_is_built(
    bundle: Callable[[str], Path], toolchain: Toolchain, workshop: Workshop
) -> None:
    elsewhere = workshop.copy("primes", "some/where/else")
    done = workshop.run(elsewhere, str(toolchain.node().path), "build.mjs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    built = (elsewhere / "src" / "primes.wasm").read_bytes()
    assert built == find_module(bundle("primes"), "primes.wasm").read_bytes()


def test_a_mistake_in_the_source_of_the_wasm_ends_the_build(workshop: Workshop) -> None:
    project = workshop.copy("primes", "broken")
    with (project / "assembly" / "primes.ts").open("a") as source:
        source.write('export function broken(): u32 { return "text"; }\n')

    done = workshop.wrangle(project)
    assert done.returncode == 1
    assert "TS2322" in done.stdout + done.stderr
    assert not (project / "dist").exists()
