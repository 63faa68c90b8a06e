from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from gridiron.bundles.build import MAX_OUTPUT_LINES, BuildPlan, plain_lines, plan_advice, plan_environment
from gridiron.bundles.esbuild import (
    NODE_MODULES,
    OPTIONS,
    REQUIRE,
    SDK_FOR_NODE,
    SDK_FOR_WORKERD,
    finish_script,
    plan_esbuild,
)
from gridiron.bundles.identity import Identity, parse_package, plan_name
from gridiron.bundles.project import Project, prepare_project
from gridiron.bundles.sdk import fetch_sdk
from gridiron.bundles.wrangler import Wrangler
from gridiron.bundles.wrangler_build import WRANGLER_ENVIRONMENT, plan_build
from gridiron.errors import GridironError
from gridiron.model import Compatibility
from gridiron.toolchain.packages import SDK_PACKAGE
from gridiron.toolchain.programs import Program
from tests.files import write

SDK = {"sdk": Path("/sdk/index.js"), "sdk/fetch": Path("/sdk/fetch.js")}


class Toolchain:
    """Has commands that only a plan may hold."""

    def wrangler_command(self) -> tuple[str, ...]:
        return ("/tools/bin/node", "/tools/wrangler.js")

    def esbuild(self) -> Program:
        return Program("esbuild", Path("/tools/esbuild"), "0.1.0")

    def sdk_entries(self) -> Mapping[str, Path]:
        return SDK


class Asked(Exception):
    """Which program a build was to be made with."""


class NoToolchain:
    """Nothing is built here: it says what would be."""

    def wrangler_command(self) -> tuple[str, ...]:
        raise Asked("wrangler")

    def esbuild(self) -> Program:
        raise Asked("esbuild")

    def sdk_entries(self) -> Mapping[str, Path]:
        return {}


# -- what is a bundle already ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "name", "version"),
    [
        ({"index.js": ""}, None, None),
        ({"index.js": "", "README.md": "", "index.js.map": ""}, None, None),
        ({"index.js": "", "src/index.js": ""}, None, None),
        ({"index.js": "", "metadata.json": "{}", "package.json": '{"name": "b", "main": 1}'}, "b", None),
        ({"index.js": "", "metadata.json": "{}", "index.ts": "", "package.json": "{}"}, None, None),
        ({"a.mjs": "", "metadata.json": '{"main": "a.mjs", "name": "a"}'}, "a", None),
        (
            {
                "index.js": "",
                "metadata.json": '{"version": "1.0.0"}',
                "package.json": '{"version": "2", "name": "@scope/a"}',
                "wrangler.toml": 'main = "index.js"',
            },
            "a",
            "1.0.0",
        ),
        (
            {
                "index.js": "",
                "package.json": '{"version": "2"}',
                "wrangler.toml": 'name = "a"\nmain = "src/gone.ts"',
            },
            "a",
            "2",
        ),
        ({"index.js": "", "wrangler.jsonc": '{"name": "a"} // no main'}, "a", None),
    ],
)
def test_a_bundle_is_used_as_it_is(
    files: dict[str, str], name: str | None, version: str | None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    directory = write(tmp_path / "bundle", files)
    prepared = prepare_project(directory, NoToolchain(), out)
    assert prepared == Project(directory, name, version, built=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("files", "program"),
    [
        ({"index.ts": ""}, "esbuild"),
        ({"src/index.ts": "", "index.js": ""}, "esbuild"),
        ({"index.js": "", "package.json": "{}"}, "esbuild"),
        ({"src/index.js": "", "package.json": "{}"}, "esbuild"),
        ({"src/a.ts": "", "index.ts": "", "wrangler.toml": 'main = "src/a.ts"'}, "wrangler"),
        ({"index.ts": "", "wrangler.toml": 'main = "src/gone.ts"'}, "wrangler"),
        ({"index.js": "", "package.json": "{}", "wrangler.toml": 'main = "index.js"'}, "wrangler"),
    ],
)
def test_what_a_project_is_built_with(files: dict[str, str], program: str, tmp_path: Path) -> None:
    with pytest.raises(Asked, match=f"^{program}$"):
        prepare_project(write(tmp_path / "project", files), NoToolchain(), tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"src/index.js": "", "lib/index.ts": ""}, "project_not_recognised"),
        ({"package.json": '{"version": "1"}', "main.ts": ""}, "project_not_recognised"),
        ({"README.md": ""}, "project_not_recognised"),
        ({"index.js": "", "metadata.json": '{"main": "main.js"}'}, "main_module_missing"),
        (
            {"metadata.json": "{}", "wrangler.toml": 'main = "src/a.ts"', "src/a.ts": ""},
            "main_module_missing",
        ),
        ({"index.js": "", "metadata.json": "{"}, "manifest_invalid"),
        ({"index.js": "", "package.json": '{"version": 1}'}, "manifest_invalid"),
        ({"index.js": "", "package.json": "{"}, "manifest_invalid"),
        ({"src/a.ts": "", "wrangler.toml": 'main = "src/a.ts"\nminify = true'}, "manifest_invalid"),
        ({"src/a.ts": "", "wrangler.json": '{"main": "src/a.ts", "queues": {}}'}, "manifest_invalid"),
        ({"index.js": "", "wrangler.toml": f'main = "{"x" * 300}"'}, "source_unreadable"),
    ],
)
def test_what_cannot_be_prepared(files: dict[str, str], code: str, tmp_path: Path) -> None:
    with pytest.raises(GridironError) as caught:
        prepare_project(write(tmp_path, files), NoToolchain(), tmp_path / "out")
    assert caught.value.code == code


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, {"file": ""})
    codes = []
    for name in ("none", "file"):
        with pytest.raises(GridironError) as caught:
            prepare_project(tmp_path / name, NoToolchain(), tmp_path / "out")
        codes.append((caught.value.code, vars(caught.value)))
    assert codes == [
        ("source_missing", {"path": str(tmp_path / "none")}),
        ("source_not_a_directory", {"path": str(tmp_path / "file")}),
    ]


# -- how a project is built ------------------------------------------------------------------------------


def test_the_call_of_wrangler() -> None:
    compatibility = Compatibility(date=dt.date(2025, 1, 31), flags=("nodejs_compat",))
    wrangler = Wrangler(name="a", main="src/a.ts", compatibility=compatibility, vars={})
    plan = plan_build("wrangler.jsonc", wrangler, Toolchain(), Path("/out"), {})
    shown = "deploy --dry-run --config wrangler.jsonc --env= --outdir /out --compatibility-date 2025-01-31"
    assert plan == BuildPlan(
        ("/tools/bin/node", "/tools/wrangler.js", *shown.split()),
        f"wrangler {shown}",
        Path("/out"),
        WRANGLER_ENVIRONMENT,
    )


def test_the_call_of_esbuild() -> None:
    own = plan_esbuild("src/index.ts", Toolchain(), Path("/out"), {})
    aliases = (
        *(f"--alias:{name}=node:{name}" for name in NODE_MODULES),
        "--alias:@restatedev/restate-sdk=@restatedev/restate-sdk-cloudflare-workers/fetch",
        "--alias:@restatedev/restate-sdk/fetch=@restatedev/restate-sdk-cloudflare-workers/fetch",
    )
    where = ("--outdir=/out", "--metafile=/out/.esbuild.json")
    assert own == BuildPlan(
        ("/tools/esbuild", "src/index.ts", *OPTIONS, *aliases, *where),
        "esbuild src/index.ts --bundle",
        Path("/out"),
        {"NODE_PATH": ""},
    )
    copied = {option for option in OPTIONS if option.endswith("=copy")}
    assert copied == {f"--loader:.{ending}=copy" for ending in ("wasm", "txt", "html", "sql", "bin")}
    assert not [option for option in OPTIONS if "minify" in option]


@pytest.mark.parametrize(
    ("script", "imports", "finished"),
    [
        ("main", [], "main"),
        ("main", [{"path": "node:fs", "kind": "import-statement", "external": True}], "main"),
        ("main", [{"path": "a.txt", "kind": "require-call"}], "main"),
        ("main", [{"path": "node:fs", "kind": "require-call", "external": True}], f"{REQUIRE}main"),
        (
            'f("node:buffer/"); g("node:fs/"); import a from "./a-1.wasm?module"; import "./b.wasm?module";',
            [{"path": "node:buffer/", "kind": "import-statement", "external": True}],
            'f("node:buffer"); g("node:fs/"); import a from "./a-1.wasm"; import "./b.wasm?module";',
        ),
    ],
)
def test_a_script_is_finished(script: str, imports: list[dict[str, object]], finished: str) -> None:
    outputs = {"../out/index.js": {"imports": imports, "bytes": 1}, "../out/a-1.wasm": {"imports": []}}
    assert finish_script(script, json.dumps({"inputs": {}, "outputs": outputs}).encode()) == finished


def test_the_sdk_is_given_to_a_project_without(tmp_path: Path) -> None:
    assert fetch_sdk(tmp_path, Toolchain()) == SDK
    wrangler = Wrangler(name="a", main="src/a.ts", compatibility=Compatibility(), vars={})
    plans = (
        plan_build("wrangler.toml", wrangler, Toolchain(), Path("/out"), SDK),
        plan_esbuild("src/index.ts", Toolchain(), Path("/out"), SDK),
    )
    assert [[part for part in plan.command if "sdk" in part] for plan in plans] == [
        ["--alias=sdk:/sdk/index.js", "--alias=sdk/fetch:/sdk/fetch.js"],
        [
            "--alias:sdk=/sdk/index.js",
            "--alias:sdk/fetch=/sdk/fetch.js",
            *(f"--alias:{name}={SDK_FOR_WORKERD}" for name in SDK_FOR_NODE),
        ],
    ]
    write(tmp_path, {f"node_modules/{SDK_PACKAGE}/package.json": "{}", "deep/index.ts": ""})
    assert fetch_sdk(tmp_path / "deep", Toolchain()) == {}


def test_the_sdk_for_node_becomes_that_for_workerd() -> None:
    given = {SDK_FOR_WORKERD: Path("/sdk/fetch.js")}
    plan = plan_esbuild("index.ts", Toolchain(), Path("/out"), given)
    assert [part for part in plan.command if "restate-sdk" in part] == [
        "--alias:@restatedev/restate-sdk-cloudflare-workers/fetch=/sdk/fetch.js",
        "--alias:@restatedev/restate-sdk=/sdk/fetch.js",
        "--alias:@restatedev/restate-sdk/fetch=/sdk/fetch.js",
    ]


def test_what_is_not_installed_is_advised_about() -> None:
    printed = '✘ [ERROR] Could not resolve "@scope/a/b"\n\n    src/index.ts:1:14:'
    advice = "\nIs @scope/a/b installed? `npm install` in the project does it."
    assert plan_advice(printed) == advice
    assert plan_advice('✘ [ERROR] Could not resolve "./none"') == ""
    assert plan_advice("") == ""


def test_the_environment_of_a_build() -> None:
    plan = BuildPlan(("/t/node", "wrangler.js"), "", Path("/out"), WRANGLER_ENVIRONMENT)
    given = {"PATH": "/usr/bin", "HOME": "/root", "WRANGLER_SEND_METRICS": "true"}
    assert plan_environment(given, plan) == {
        "PATH": "/usr/bin:/t",
        "HOME": "/root",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_WRITE_LOGS": "false",
        "WRANGLER_HIDE_BANNER": "true",
    }
    assert plan_environment({}, plan)["PATH"] == "/t"


@pytest.mark.parametrize(
    ("output", "plain"),
    [
        ("", ""),
        ("\n\n one \n\ntwo\n\n", " one\n\ntwo"),
        (
            "\x1b[31m✘ \x1b[41;31m[\x1b[41;97mERROR\x1b[41;31m]\x1b[0m \x1b[1mBuild failed\x1b[0m",
            "✘ [ERROR] Build failed",
        ),
        ("\x1b]8;;https://a.example\x07link\x1b]8;;\x1b\\!", "link!"),
        ("\x1b[?25lspin\r\x1b[2Kdone\x1b[?25h\x1bM\x1b(B", "spindone"),
        ("cut off \x1b", "cut off"),
        ("a\tb\0", "a\tb"),
        ("\n".join(map(str, range(100))), "\n".join(map(str, range(100 - MAX_OUTPUT_LINES, 100)))),
    ],
)
def test_output_as_plain_text(output: str, plain: str) -> None:
    assert plain_lines(output) == plain


@pytest.mark.parametrize(
    ("package", "identity"),
    [
        (None, Identity()),
        (b"{}", Identity()),
        (b'{"version": "1.0.0-rc.1", "private": true}', Identity(None, "1.0.0-rc.1")),
        (b'{"name": "@scope/cart", "version": "2.0.0"}', Identity("cart", "2.0.0")),
        (b'{"name": "My_Cart", "version": "2.0.0"}', Identity(None, "2.0.0")),
    ],
)
def test_what_a_package_says(package: bytes | None, identity: Identity) -> None:
    assert parse_package(package) == identity


def test_names_that_a_bundle_can_have() -> None:
    given = ("cart", "@scope/cart", "Cart", "9lives", "a" * 63, "a" * 64, "", None, "cart.js")
    names = [plan_name(name) for name in given]
    assert names == ["cart", "cart", None, None, "a" * 63, None, None, None, None]


def test_what_is_said_first_counts() -> None:
    assert Identity("a").over(Identity("b", "1")) == Identity("a", "1")
    assert Identity().over(Identity()) == Identity()
