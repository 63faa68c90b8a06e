from __future__ import annotations

from pathlib import Path

import pytest

from gridiron.bundles.esbuild import plan_arguments
from gridiron.bundles.incremental import Mistake, parse_mistakes, plan_extra, plan_options
from gridiron.bundles.wrangler import parse_wrangler

WRANGLER = 'name = "a"\nmain = "src/index.ts"\n'


def test_options_are_those_of_the_command_line_under_other_names() -> None:
    arguments = (
        "src/index.ts",
        "--bundle",
        "--format=esm",
        "--conditions=workerd,worker",
        "--supported:using=true",
        "--loader:.js=jsx",
        "--loader:.wasm=copy",
        '--define:process.env.NODE_ENV="production"',
        "--external:node:*",
        "--external:cloudflare:*",
        "--alias:fs=node:fs",
        "--entry-names=index",
        "--color=false",
        "--outdir=/out",
    )
    assert plan_options(arguments) == {
        "entryPoints": ["src/index.ts"],
        "bundle": True,
        "format": "esm",
        "conditions": ["workerd", "worker"],
        "supported": {"using": True},
        "loader": {".js": "jsx", ".wasm": "copy"},
        "define": {"process.env.NODE_ENV": '"production"'},
        "external": ["node:*", "cloudflare:*"],
        "alias": {"fs": "node:fs"},
        "entryNames": "index",
        "color": False,
        "outdir": "/out",
    }


def test_every_option_of_a_build_has_one() -> None:
    options = plan_options(plan_arguments("index.ts", Path("/out"), {}))
    assert (options["logLevel"], options["target"], options["platform"]) == ("warning", "es2024", "browser")
    assert options["loader"][".wasm"] == "copy"
    assert options["alias"]["crypto"] == "node:crypto"


def test_a_wrangler_file_says_more() -> None:
    content = f"""{WRANGLER}
        [define]
        RELEASE = "'1'"
        [alias]
        one = "./src/one.ts"
        [[rules]]
        type = "Text"
        globs = ["**/*.md", "*.sql"]
        [[rules]]
        type = "ESModule"
        globs = ["lib/*.js"]
    """
    assert plan_extra(parse_wrangler("wrangler.toml", content.encode())) == (
        "--define:RELEASE='1'",
        "--alias:one=./src/one.ts",
        "--loader:.md=copy",
        "--loader:.sql=copy",
    )


@pytest.mark.parametrize(
    "more", ["no_bundle = true", 'tsconfig = "other.json"', '[[rules]]\ntype = "Text"\nglobs = ["texts/**"]']
)
def test_what_only_wrangler_builds_is_left_to_it(more: str) -> None:
    assert plan_extra(parse_wrangler("wrangler.toml", (WRANGLER + more).encode())) is None


def test_a_command_of_the_project_is_found() -> None:
    content = f'{WRANGLER}[build]\ncommand = "make"\ncwd = "native"\n'
    wrangler = parse_wrangler("wrangler.toml", content.encode())
    assert (wrangler.command, wrangler.command_cwd) == ("make", "native")
    for nothing in (WRANGLER, f"{WRANGLER}[build]\nwatch_dir = 'x'\n", f"{WRANGLER}build = 1\n"):
        wrangler = parse_wrangler("wrangler.toml", nothing.encode())
        assert (wrangler.command, wrangler.command_cwd) == (None, ".")


def test_mistakes() -> None:
    location = {"file": "src/index.ts", "line": 3, "column": 4, "lineText": "x"}
    messages = [{"text": "no", "location": location}, {"text": "nowhere", "location": None}]
    assert parse_mistakes(messages) == (Mistake("no", "src/index.ts", 3, 5), Mistake("nowhere"))
