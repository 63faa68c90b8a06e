from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridiron.bundles.documents import MAX_DEPTH, plain_json
from gridiron.bundles.fields import NO_PYTHON
from gridiron.bundles.manifest import parse_manifest
from gridiron.bundles.wrangler import PASSED_OVER, REFUSED
from gridiron.errors import ManifestInvalid
from gridiron.model import Build, Compatibility, Manifest, Module, ModuleKind

OLD = Compatibility(date=dt.date(2025, 1, 31), flags=("nodejs_compat",))


def metadata(**keys: Any) -> dict[str, bytes]:
    return {"metadata.json": json.dumps(keys).encode()}


def problems(files: dict[str, bytes]) -> tuple[str, list[str]]:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(files)
    str(caught.value).encode()  # a sentence can always be written
    return caught.value.file, caught.value.problems.split("; ")


# -- metadata.json ---------------------------------------------------------------------------------------


def test_without_a_manifest_file_the_defaults_hold() -> None:
    assert parse_manifest({}) == Manifest(
        name=None, version=None, main="index.js", compatibility=Compatibility(), vars={}
    )


def test_every_key_of_metadata_json() -> None:
    files = metadata(
        name="greeter",
        version="1.0.0",
        main="./lib/main.mjs",
        compatibility={"date": "2025-01-31", "flags": ["nodejs_compat"]},
        vars={"A": "text", "B": 1, "C": {"d": [True, None, 1.5]}},
        required_secrets=["B_KEY", "A_KEY", "B_KEY"],
    )
    assert parse_manifest(files) == Manifest(
        name="greeter",
        version="1.0.0",
        main="lib/main.mjs",
        compatibility=OLD,
        vars={"A": "text", "B": 1, "C": {"d": [True, None, 1.5]}},
        required_secrets=("A_KEY", "B_KEY"),
    )


def test_metadata_json_counts_before_wrangler_files() -> None:
    files = {**metadata(name="a"), "wrangler.toml": b"name = 1", "wrangler.json": b"{"}
    assert parse_manifest(files) == Manifest(name="a")


def test_the_metadata_json_of_a_stored_build_can_be_given_again() -> None:
    build = Build(
        name="greeter",
        version="1.0.0",
        timestamp=1,
        created_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        source="file:///x",
        sha256="0" * 64,
        main="main.js",
        modules=(Module(name="main.js", kind=ModuleKind.JS, size=1, sha256="0" * 64),),
        compatibility=OLD,
        vars={"A": None},
    )
    assert parse_manifest({"metadata.json": build.model_dump_json().encode()}) == Manifest(
        name="greeter", version="1.0.0", main="main.js", compatibility=OLD, vars={"A": None}
    )


def test_a_manifest_reads_back_as_the_metadata_json_that_it_is_written_to() -> None:
    manifest = Manifest(version="1", main="a.js", compatibility=OLD, vars={"A": None})
    assert parse_manifest({"metadata.json": manifest.model_dump_json().encode()}) == manifest


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"name": 1}, "name: it must be a text"),
        ({"name": ""}, "name: it must be a text"),
        ({"version": 1.0}, "version: it must be a text"),
        ({"main": []}, "main: it must be a text"),
        ({"main": "../index.js"}, "main: '../index.js' leaves the bundle"),
        ({"main": "lib/../../a.js"}, "main: 'lib/../../a.js' leaves the bundle"),
        ({"main": "/index.js"}, "main: '/index.js' leaves the bundle"),
        ({"main": "src/index.ts"}, "main: 'src/index.ts' is no JavaScript module (.js or .mjs)"),
        ({"main": "a\\b.js"}, "main: 'a\\\\b.js' cannot be a module: it has a backslash"),
        ({"main": "a\n.js"}, "main: 'a\\n.js' cannot be a module: it has a control character"),
        ({"compatibility": "2025-01-31"}, "compatibility: it must be an object"),
        ({"compatibility": {"date": 20250131}}, 'compatibility.date: it must be a day as "YYYY-MM-DD"'),
        ({"compatibility": {"date": "2025-02-30"}}, 'compatibility.date: it must be a day as "YYYY-MM-DD"'),
        ({"compatibility": {"date": "20250131"}}, 'compatibility.date: it must be a day as "YYYY-MM-DD"'),
        ({"compatibility": {"flags": "a"}}, "compatibility.flags: it must be a list of texts"),
        ({"compatibility": {"flags": [1]}}, "compatibility.flags: it must be a list of texts"),
        ({"compatibility": {"dates": 1}}, "compatibility.dates: it is unknown: remove it"),
        (
            {"compatibility": {"flags": ["a", "python_workers"]}},
            f"compatibility.flags: python_workers: {NO_PYTHON}",
        ),
        ({"kv_namespaces": []}, f"kv_namespaces: {REFUSED['kv_namespaces']}"),
        ({"vars": ["A"]}, "vars: it must be an object"),
        ({"colour": "red"}, "colour: it is unknown: remove it"),
        ({"compatibility_date": "2025-01-31"}, 'compatibility_date: write "compatibility": {"date": …}'),
        ({"compatibility_flags": []}, 'compatibility_flags: write "compatibility": {"flags": […]}'),
    ],
)
def test_a_value_that_cannot_be_used(keys: dict[str, Any], told: str) -> None:
    assert problems(metadata(**keys)) == ("metadata.json", [told])


def test_everything_that_is_wrong_is_told_at_once() -> None:
    files = metadata(name=1, main="x.ts", compatibility={"date": 1, "x": 1}, colour=1, r2_buckets=[])
    assert problems(files) == (
        "metadata.json",
        [
            "name: it must be a text",
            "main: 'x.ts' is no JavaScript module (.js or .mjs)",
            'compatibility.date: it must be a day as "YYYY-MM-DD"',
            "compatibility.x: it is unknown: remove it",
            "colour: it is unknown: remove it",
            f"r2_buckets: {REFUSED['r2_buckets']}",
        ],
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it cannot be read (Expecting value: line 1 column 1 (char 0))"),
        (b'{"name": "a"', "it cannot be read (Expecting ',' delimiter: line 1 column 13 (char 12))"),
        (b'{"name": "\xff"}', "it is not UTF-8"),
        (b'{"name": "\\ud800"}', "it is not UTF-8"),
        (b'{"\\ud800": 1}', "it is not UTF-8"),
        (b"[]", "it is not an object"),
        (b"null", "it is not an object"),
        (b'{"vars": {"A": NaN}}', "vars.A: it must be a value that JSON has: no date, no infinite number"),
        (
            b'{"vars": {"A": [1e999]}}',
            "vars.A: it must be a value that JSON has: no date, no infinite number",
        ),
    ],
)
def test_a_metadata_json_that_cannot_be_read(content: bytes, told: str) -> None:
    assert problems({"metadata.json": content}) == ("metadata.json", [told])


def test_of_very_much_that_is_wrong_some_is_told() -> None:
    long = "k" * 2000
    found = problems({"metadata.json": json.dumps({long: 1, **{f"key {n}": 1 for n in range(99)}}).encode()})
    told = [f"key {n}: it is unknown: remove it" for n in range(49)]
    assert found == ("metadata.json", ["k" * 100 + "…", *told, "and 50 more"])


def test_a_byte_order_mark_does_no_harm() -> None:
    assert parse_manifest({"metadata.json": b'\xef\xbb\xbf{"name": "a"}'}) == Manifest(name="a")


# -- wrangler files --------------------------------------------------------------------------------------

WRANGLER = Manifest(name="greeter", compatibility=OLD, vars={"A": "b", "N": {"x": 1}})


def test_a_wrangler_toml() -> None:
    text = """
        name = "greeter"
        main = "src/index.ts"  # a source: the bundle's main module is index.js
        compatibility_date = "2025-01-31"
        compatibility_flags = ["nodejs_compat"]
        minify = false
        workers_dev = true
        [vars]
        A = "b"
        N = { x = 1 }
        [build]
        command = "npm run build"
        [env.production]
        kv_namespaces = []
    """
    assert parse_manifest({"wrangler.toml": text.encode()}) == WRANGLER


def test_a_wrangler_jsonc() -> None:
    text = r"""{
        "$schema": "./node_modules/wrangler/config-schema.json", // for the editor
        /* the name,
           and so on */
        "name": "greeter",
        "main": "src/index.ts",
        "compatibility_date": "2025-01-31",
        "compatibility_flags": ["nodejs_compat",],
        "vars": { "A": "b", "N": { "x": 1, }, }, // trailing commas
    }"""
    assert parse_manifest({"wrangler.jsonc": text.encode()}) == WRANGLER


def test_the_first_wrangler_file_counts() -> None:
    files = {
        "wrangler.toml": b'name = "c"',
        "wrangler.jsonc": b'{"name": "b"}',
        "wrangler.json": b'{"name": "a"}',
    }
    assert parse_manifest(files) == Manifest(name="a")
    del files["wrangler.json"]
    assert parse_manifest(files) == Manifest(name="b")
    del files["wrangler.jsonc"]
    assert parse_manifest(files) == Manifest(name="c")


@pytest.mark.parametrize("key", sorted(PASSED_OVER))
def test_a_key_that_does_no_harm_is_passed_over(key: str) -> None:
    assert parse_manifest({"wrangler.json": json.dumps({key: "any"}).encode()}) == Manifest()


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_a_key_that_a_node_cannot_do_is_refused(key: str) -> None:
    files = {"wrangler.json": json.dumps({key: "any"}).encode()}
    assert problems(files) == ("wrangler.json", [f"{key}: {REFUSED[key]}"])


def test_the_secrets_that_a_wrangler_file_requires() -> None:
    text = b'name = "greeter"\n[secrets]\nrequired = ["B", "A"]\n'
    assert parse_manifest({"wrangler.toml": text}) == Manifest(name="greeter", required_secrets=("A", "B"))


RULE = "the name of a secret has a letter or '_' first, then up to 63 of those and digits"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"required": ["A-B"]}, f"secrets.required: {RULE}"),
        ({"required": "A"}, "secrets.required: it must be a list of texts"),
        (["A"], "secrets: it must be an object"),
        ({"optional": []}, "secrets.optional: it is unknown to Gridiron: remove this"),
    ],
)
def test_secrets_of_a_wrangler_file_that_are_none(value: Any, told: str) -> None:
    files = {"wrangler.json": json.dumps({"secrets": value}).encode()}
    assert problems(files) == ("wrangler.json", [told])
    files = {"wrangler.json": json.dumps({"secrets": {"required": []}}).encode()}
    assert parse_manifest(files) == Manifest()


def test_no_key_is_both_passed_over_and_refused() -> None:
    assert PASSED_OVER.keys() & REFUSED.keys() == set()


def test_all_that_a_node_cannot_do_is_told_at_once() -> None:
    text = """
        minify = true
        colour = "red"
        compatibility_flags = ["nodejs_compat", "python_workers_20250116"]
        compatibility_date = 2025-01-31
        kv_namespaces = [{ binding = "KV", id = "1" }]
        [vars]
        day = 2025-01-31
        far = inf
        [durable_objects]
        bindings = []
    """
    assert problems({"wrangler.toml": text.encode()}) == (
        "wrangler.toml",
        [
            'compatibility_date: it must be a day as "YYYY-MM-DD"',
            f"compatibility_flags: python_workers_20250116: {NO_PYTHON}",
            "vars.day: it must be a value that JSON has: no date, no infinite number",
            "vars.far: it must be a value that JSON has: no date, no infinite number",
            "minify: the Restate SDK breaks when it is minified: remove this",
            "colour: it is unknown to Gridiron: remove this",
            f"kv_namespaces: {REFUSED['kv_namespaces']}",
            f"durable_objects: {REFUSED['durable_objects']}",
        ],
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"name = ", "it cannot be read (Invalid value (at end of document))"),
        (b'name = "\xff"', "it is not UTF-8"),
        (b"a = " + b"[" * 100_000, "it is nested too deeply"),
        *(
            (
                beginning + b"a." * 30_000 + end,  # which Python's reader needs a second for
                "it cannot be read (a line in it has more than 256 dots: write it in several, or as JSON)",
            )
            for beginning, end in ((b"", b"a=1"), (b"[", b"a]"), (b"a={", b"a=1}"))
        ),
    ],
)
def test_a_wrangler_toml_that_cannot_be_read(content: bytes, told: str) -> None:
    assert problems({"wrangler.toml": content}) == ("wrangler.toml", [told])


# -- JSON with comments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[1, 2]", "[1, 2]"),
        ("[1, 2,]", "[1, 2 ]"),
        ('{"a": 1, // one\n}', '{"a": 1        \n}'),
        ("[1, /*,*/ 2 /**/, ]", "[1,       2       ]"),
        ('["// no", "/* no */", ",]", "\\",]"]', '["// no", "/* no */", ",]", "\\",]"]'),
        ("/* a\n b */[]", "    \n     []"),
        # what is wrong stays wrong
        ("[,]", "[,]"),
        ("[1,,]", "[1,,]"),
        ('{"a":,}', '{"a":,}'),
        ("[1] /* open", "[1] /* open"),
        ("[1] /*/", "[1] /*/"),
        ('["open, // x\n]', '["open, // x\n]'),
    ],
)
def test_comments_and_trailing_commas_become_spaces(text: str, plain: str) -> None:
    assert plain_json(text) == plain


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_plain_json_stays_as_it_is(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert plain_json(text) == text


@pytest.mark.parametrize("text", ["/*" * 500_000, '"\\"' * 500_000, "," * 500_000, ", " * 500_000])
def test_no_text_takes_long(text: str) -> None:
    assert len(plain_json(text)) == len(text)


# -- anything --------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["name", "version", "main", "compatibility", "vars", "compatibility_date", "minify"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
)
CONTENTS = st.binary() | st.dictionaries(KEYS | st.text(), VALUES).map(
    lambda value: json.dumps(value).encode()
)
FILES = st.sampled_from(["metadata.json", "wrangler.json", "wrangler.jsonc", "wrangler.toml"])


@given(st.dictionaries(FILES, CONTENTS))
def test_anything_is_a_manifest_or_refused(files: dict[str, bytes]) -> None:
    try:
        manifest = parse_manifest(files)
    except ManifestInvalid as error:
        str(error).encode()
    else:
        assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def nested(depth: int) -> dict[str, bytes]:
    return {"metadata.json": b'{"vars": {"A": ' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"}


def test_vars_may_be_nested_deeply() -> None:
    manifest = parse_manifest(nested(MAX_DEPTH))
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 900, 100_000])
def test_vars_may_not_be_nested_more_deeply(depth: int) -> None:
    assert problems(nested(depth)) == ("metadata.json", ["it is nested too deeply"])
