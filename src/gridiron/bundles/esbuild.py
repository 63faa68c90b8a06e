"""Build a plain project, one with no wrangler file, by esbuild: for workerd, and not minified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from gridiron.bundles.build import BuildPlan, BuildToolchain, run_build
from gridiron.bundles.disk import storing
from gridiron.bundles.sdk import fetch_sdk
from gridiron.model import MODULE_KINDS, Manifest, ModuleKind
from gridiron.toolchain.packages import SDK_PACKAGE

OUTPUT = "index.js"
METAFILE = ".esbuild.json"
"""Where esbuild tells what it made: beside the bundle, under a name that is no part of one."""

COPIED = tuple(
    ending for ending, kind in MODULE_KINDS.items() if kind not in {ModuleKind.JS, ModuleKind.JSON}
)
"""Files that stay modules of their own. Cells share the SDK's core only where it is the file they know."""

OPTIONS = (
    "--bundle",
    "--format=esm",
    # of wrangler 4 (`COMMON_ESBUILD_OPTIONS`): what packages for workerd go by, what its V8 understands
    "--platform=browser",
    "--conditions=workerd,worker,browser",
    "--target=es2024",
    "--supported:using=true",
    "--supported:import-source=true",
    "--loader:.js=jsx",
    "--loader:.mjs=jsx",
    "--loader:.cjs=jsx",
    '--define:process.env.NODE_ENV="production"',
    '--define:globalThis.process.env.NODE_ENV="production"',
    "--external:node:*",
    "--external:cloudflare:*",
    *(f"--loader:{ending}=copy" for ending in COPIED),
    "--entry-names=index",
    "--asset-names=[name]-[hash]",
    "--color=false",
    "--log-level=warning",
)

_NODE_MODULES = """
assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain
events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl
stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib
"""
NODE_MODULES = tuple(_NODE_MODULES.split())
"""What of Node may be imported without `node:` (https://nodejs.org/api/module.html#modulebuiltinmodules)."""

SDK_FOR_NODE = ("@restatedev/restate-sdk", "@restatedev/restate-sdk/fetch")
SDK_FOR_WORKERD = f"{SDK_PACKAGE}/fetch"
"""The Restate SDK has editions with the same API. Node's compiles its Wasm, which workerd does not allow."""

REQUIRE = (
    'import { createRequire as __gridironCreateRequire } from "node:module";\n'
    'const require = __gridironCreateRequire("/");\n'
)
"""What packages that are no ES modules get Node's modules with: esbuild leaves their `require` as it is."""


def build_by_esbuild(directory: Path, entry: str, toolchain: BuildToolchain, out: Path) -> Manifest:
    """Build the project in `directory` into `out`, from its script `entry`; give its manifest.

    The same content gives the same bundle, at the same place. Raises BuildStepFailed, StorageFailed, and
    what the toolchain raises.
    """
    run_build(directory, plan_esbuild(entry, toolchain, out, fetch_sdk(directory, toolchain)))
    script, metafile = out / OUTPUT, out / METAFILE
    with storing("Writing", script):
        script.write_text(finish_script(script.read_text("utf-8"), metafile.read_bytes()), "utf-8")
        metafile.unlink()
    return Manifest(main=OUTPUT)


def plan_esbuild(entry: str, toolchain: BuildToolchain, out: Path, sdk: Mapping[str, Path]) -> BuildPlan:
    """Say how esbuild builds the project of its working directory into `out`, from the script `entry`.

    `sdk` are the files of the Restate SDK, by what scripts import; none for a project that has installed it.
    """
    metafile = f"--metafile={out.absolute() / METAFILE}"
    arguments = (*plan_arguments(entry, out, sdk), metafile)
    return BuildPlan(
        command=(str(toolchain.esbuild().path), *arguments),
        shown=f"esbuild {entry} --bundle",
        out=out.absolute(),
        environment={"NODE_PATH": ""},  # packages of the project alone
    )


def plan_arguments(entry: str, out: Path, sdk: Mapping[str, Path]) -> tuple[str, ...]:
    """Say what esbuild is told, however it is started, to build into `out` from the script `entry`."""
    return (
        entry,
        *OPTIONS,
        *(f"--alias:{name}=node:{name}" for name in NODE_MODULES),
        *(f"--alias:{name}={file}" for name, file in sdk.items()),
        *(f"--alias:{name}={sdk.get(SDK_FOR_WORKERD, SDK_FOR_WORKERD)}" for name in SDK_FOR_NODE),
        f"--outdir={out.absolute()}",
    )


def finish_script(script: str, metafile: bytes) -> str:
    """Make a main module of the script that esbuild wrote, by esbuild's own account of it.

    What `require` asks of Node gets something that gives it. A module of Node asked for as `buffer/`, which
    means the package of that name to npm, is Node's; Wasm asked for as `a.wasm?module` is `a.wasm`.
    """
    outputs: Mapping[str, Mapping[str, list[Mapping[str, object]]]] = json.loads(metafile)["outputs"]
    outside = [
        used for output in outputs.values() for used in output.get("imports", []) if used.get("external")
    ]
    for path in {str(used["path"]) for used in outside}:
        script = script.replace(f'"{path}"', f'"{path.rstrip("/")}"')
    for name in (PurePosixPath(output).name for output in outputs):
        script = script.replace(f'"./{name}?module"', f'"./{name}"')
    return REQUIRE + script if any(used["kind"] == "require-call" for used in outside) else script
