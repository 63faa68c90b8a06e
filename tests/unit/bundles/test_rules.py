from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.fields import NO_PYTHON
from gridiron.bundles.manifest import parse_manifest
from gridiron.bundles.rules import kind_of, matches, plan_globs
from gridiron.errors import ManifestInvalid
from gridiron.model import Manifest, ModuleKind, Rule


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.sql", ["a.sql", "lib/deep/a.sql", ".sql"], ["a.sq", "a.sql/b", "a.SQL"]),
        ("**/*.sql", ["a.sql", "lib/deep/a.sql"], ["a.sql.txt"]),
        ("./lib/*.sql", ["lib/a.sql"], ["lib/deep/a.sql", "a.sql", "x/lib/a.sql"]),
        ("lib/**", ["lib/a", "lib/deep/a"], ["a", "libs/a"]),
        ("lib/**/b/*", ["lib/b/c", "lib/a/b/c", "lib/b/b/c"], ["lib/b", "lib/c", "lib/b/c/d"]),
        ("a*b*c.txt", ["abc.txt", "aXbYc.txt", "abbcc.txt", "x/abc.txt"], ["acb.txt", "abc.txt2", "ab.txt"]),
        ("aa*aa", ["aaaa", "aaXaa"], ["aaa"]),
        ("query.gql", ["query.gql", "lib/query.gql"], ["queryXgql", "a-query.gql"]),
        ("**", ["a", "a/b"], []),
        ("a?[b]{c}.*", ["a?[b]{c}.x"], ["ax[b]{c}.x", "ab.x"]),
        ("", [], ["a", "a/b"]),
    ],
)
def test_globs(glob: str, matching: list[str], others: list[str]) -> None:
    assert [path for path in (*matching, *others) if matches(glob, path)] == matching


def matches_slowly(pattern: list[str], names: list[str]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return matches_slowly(pattern[1:], names) or (bool(names) and matches_slowly(pattern, names[1:]))
    expression = re.escape(pattern[0]).replace(r"\*", ".*")
    return bool(names and re.fullmatch(expression, names[0])) and matches_slowly(pattern[1:], names[1:])


@given(st.text("ab*/", max_size=8), st.text("ab/", min_size=1, max_size=10))
def test_globs_match_as_tried_one_by_one(glob: str, path: str) -> None:
    pattern = glob.split("/") if "/" in glob else ["**", glob]
    assert matches(glob, path) == matches_slowly(pattern, path.split("/"))


def test_no_glob_takes_long() -> None:
    assert not matches("*a" * 5000 + "b", "a" * 50_000)
    assert not matches("**/a/" * 300 + "b", "a/" * 500 + "c")


def test_the_first_rule_that_matches_counts_and_then_the_ending() -> None:
    rules = (
        Rule(type=ModuleKind.TEXT, globs=("*.md", "*.js")),
        Rule(type=ModuleKind.DATA, globs=("*.md", "docs/**")),
    )
    paths = ("a.md", "docs/a.js", "docs/a.png", "a.wasm", "a.png")
    assert [kind_of(path, rules) for path in paths] == [
        ModuleKind.TEXT,
        ModuleKind.TEXT,
        ModuleKind.DATA,
        ModuleKind.WASM,
        None,
    ]


def parse(file: str, *rules: Any, **more: Any) -> Manifest:
    return parse_manifest({file: json.dumps({"rules": list(rules), **more}).encode()})


def problems(file: str, *rules: Any) -> list[str]:
    with pytest.raises(ManifestInvalid) as caught:
        parse(file, *rules)
    return caught.value.problems.split("; ")


def test_the_rules_of_a_metadata_json() -> None:
    rules = [{"type": kind.value, "globs": [f"*.{kind.value}"]} for kind in ModuleKind]
    manifest = parse("metadata.json", *rules)
    assert manifest == Manifest(rules=tuple(Rule.model_validate(rule) for rule in rules))
    assert parse_manifest({"metadata.json": manifest.model_dump_json().encode()}) == manifest


def test_rules_that_cannot_be_used_are_told_at_once() -> None:
    rules = ({"type": "python", "globs": "*.py"}, {"type": "Text", "globs": [], "fallthrough": True}, {})
    kinds = "js, cjs, wasm, json, text, data"
    assert problems("metadata.json", *rules) == [
        f"rules[0].type: {NO_PYTHON}",
        "rules[0].globs: it must be a list of texts",
        f"rules[1].type: 'Text' is none of {kinds}",
        "rules[1].fallthrough: it is unknown: remove it",
        f"rules[2].type: '' is none of {kinds}",
    ]
    assert problems("metadata.json", "text") == ["rules: it must be a list of objects"]


def test_the_rules_of_a_wrangler_file() -> None:
    types = ("ESModule", "CommonJS", "CompiledWasm", "Text", "Data")
    rules = [{"type": name, "globs": [f"**/*.{name}"], "fallthrough": True} for name in types]
    kinds = (ModuleKind.JS, ModuleKind.CJS, ModuleKind.WASM, ModuleKind.TEXT, ModuleKind.DATA)
    assert parse("wrangler.json", *rules).rules == tuple(
        Rule(type=kind, globs=(f"**/*.{name}",)) for name, kind in zip(types, kinds, strict=True)
    )


def test_a_rule_of_wrangler_ends_those_of_its_type() -> None:
    rules = [
        {"type": "Text", "globs": ["*.a"], "fallthrough": True},
        {"type": "Text", "globs": ["*.b"]},
        {"type": "Data", "globs": ["*.c"], "fallthrough": False},
        {"type": "Text", "globs": ["*.d"]},
        {"type": "Data", "globs": ["*.e"], "fallthrough": True},
    ]
    assert [rule.globs for rule in parse("wrangler.json", *rules).rules] == [("*.a",), ("*.b",), ("*.c",)]


def test_rules_of_wrangler_that_a_node_cannot_do() -> None:
    rules = [{"type": "PythonModule", "globs": ["*.py"]}, {"type": "Bread"}, {"type": "Text", "glob": "a"}]
    types = "ESModule, CommonJS, CompiledWasm, Text, Data"
    assert problems("wrangler.json", *rules) == [
        f"rules[0].type: {NO_PYTHON}",
        f"rules[1].type: 'Bread' is none of {types}",
        "rules[2].glob: it is unknown to Gridiron: remove this",
    ]


@pytest.mark.parametrize(
    ("glob", "globs"),
    [
        ("**/*.md", ("**/*.md",)),
        ("*.md", ("*.md",)),
        ("**/*.wasm?module", ("**/*.wasm",)),
        ("docs/*.md", ("docs/*.md", "*-*.md")),
        ("**/docs/a.md", ("**/docs/a.md", "*-a.md")),
        ("a.md", ("a.md", "*-a.md")),
    ],
)
def test_wrangler_puts_what_is_imported_at_the_root(glob: str, globs: tuple[str, ...]) -> None:
    assert plan_globs(glob) == globs
    name = f"{'0' * 40}-{glob.rpartition('/')[2].partition('?')[0].replace('*', 'x')}"
    assert any(matches(each, name) for each in globs)
