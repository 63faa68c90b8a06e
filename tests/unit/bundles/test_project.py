from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from gridiron.bundles.build import MAX_OUTPUT_LINES, BuildPlan, plain_lines, plan_build, plan_environment
from gridiron.bundles.project import Project, parse_version, prepare_project
from gridiron.bundles.wrangler import Wrangler
from gridiron.errors import GridironError
from gridiron.model import Compatibility


class Toolchain:
    """Has a command that only a plan may hold."""

    def wrangler_command(self) -> tuple[str, ...]:
        return ("/tools/bin/node", "/tools/wrangler.js")


class NoToolchain:
    """Nothing may be built here."""

    def wrangler_command(self) -> tuple[str, ...]:
        raise AssertionError("asked for wrangler")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


# -- what is a bundle already ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "name", "version"),
    [
        ({"index.js": ""}, None, None),
        ({"index.js": "", "package.json": '{"version": "2.0.0", "main": 1}'}, None, "2.0.0"),
        ({"index.js": "", "package.json": "{}"}, None, None),
        ({"a.mjs": "", "metadata.json": '{"main": "a.mjs", "name": "a"}'}, "a", None),
        (
            {
                "index.js": "",
                "metadata.json": '{"version": "1.0.0"}',
                "package.json": '{"version": "2"}',
                "wrangler.toml": 'main = "index.js"',
            },
            None,
            "1.0.0",
        ),
        ({"index.js": "", "wrangler.toml": 'name = "a"\nmain = "src/gone.ts"'}, "a", None),
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
    ("files", "code"),
    [
        ({"src/index.ts": "", "package.json": '{"version": "1"}'}, "project_not_recognised"),
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
    plan = plan_build("wrangler.jsonc", wrangler, Toolchain(), Path("/out"))
    shown = "deploy --dry-run --config wrangler.jsonc --env= --outdir /out --compatibility-date 2025-01-31"
    assert plan == BuildPlan(("/tools/bin/node", "/tools/wrangler.js", *shown.split()), Path("/out"))
    assert plan.shown == f"wrangler {shown}"


def test_the_environment_of_wrangler() -> None:
    assert plan_environment(
        {"PATH": "/usr/bin", "HOME": "/root", "WRANGLER_SEND_METRICS": "true"}, "/t/node"
    ) == {
        "PATH": "/usr/bin:/t",
        "HOME": "/root",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_WRITE_LOGS": "false",
        "WRANGLER_HIDE_BANNER": "true",
    }
    assert plan_environment({}, "/t/node")["PATH"] == "/t"


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
    ("package", "version"),
    [(None, None), (b"{}", None), (b'{"version": "1.0.0-rc.1", "private": true}', "1.0.0-rc.1")],
)
def test_the_version_of_a_package(package: bytes | None, version: str | None) -> None:
    assert parse_version(package) == version
