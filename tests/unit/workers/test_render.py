"""Each file in golden/ is a case: the input as JSON, a line of dashes, the output or `error code: sentence`.

A case with a template of its own has it between two such lines; the others render the one that is shipped.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gridiron.errors import GridironError, SettingsInvalid
from gridiron.settings import load_settings, shared_path
from gridiron.workers.config import plan_workerd_values
from gridiron.workers.render import (
    HaproxyValues,
    Template,
    capnp_value,
    haproxy_value,
    plan_address,
    plan_max_connections,
    render_haproxy_config,
    render_workerd_config,
)

GOLDEN = Path(__file__).parent / "golden"
DASHES = re.compile(r"^-{10,}\n", re.MULTILINE)
SHIPPED = {"workerd": "config/workerd-template.capnp", "haproxy": "config/haproxy-template.cfg"}


def render(kind: str, template: Template, given: dict[str, Any]) -> str:
    if kind == "workerd":
        settings = load_settings(
            bundles_dir=given["bundles_dir"],
            secrets_dir=given.get("secrets_dir", "/data/secrets"),
            identity_dir=given.get("identity_dir", "/data/identity"),
            egress_allow=given.get("egress_allow", []),
            run_dir=given.get("run_dir", "/data/run"),
            cluster=given.get("cluster"),
            node_name="n1",
        )
        scripts = {name: content.encode() for name, content in given["scripts"].items()}
        values = plan_workerd_values(settings, scripts, tuple(given["cores"]))
        return render_workerd_config(template, values)
    return render_haproxy_config(
        template,
        HaproxyValues(
            address=plan_address(given["host"], given["port"]),
            max_connections=plan_max_connections(given["descriptors"]),
        ),
    )


@pytest.mark.parametrize("case", sorted(path.name for path in GOLDEN.iterdir()))
def test_golden(case: str) -> None:
    sections = DASHES.split((GOLDEN / case).read_text())
    given, expected = json.loads(sections[0]), sections[-1]
    kind = case.partition("-")[0]
    text = sections[1] if len(sections) == 3 else shared_path(SHIPPED[kind]).read_text()
    try:
        rendered = render(kind, Template("the template", text), given)
    except GridironError as error:
        rendered = f"error {error.code}: {error}\n"
    assert rendered == expected


def test_the_shipped_templates_have_a_case_without_an_error() -> None:
    for kind in SHIPPED:
        assert any("error" not in path.name for path in GOLDEN.glob(f"{kind}-*"))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("/data/bundles", '"/data/bundles"'),
        ('/a "b"\\c', '"/a \\"b\\"\\\\c"'),
        ("/grüße/日本", '"/grüße/日本"'),
        ("a\nb\tc\x7f", '"a\\x0ab\\x09c\\x7f"'),
        (7, "7"),
    ],
)
def test_a_text_of_capnp(value: object, written: str) -> None:
    assert capnp_value(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [("127.0.0.1:9080", '"127.0.0.1:9080"'), ('a "b" $c \\', '"a \\"b\\" \\$c \\\\"'), (7, "7")],
)
def test_a_word_of_haproxy(value: object, written: str) -> None:
    assert haproxy_value(value) == written


@pytest.mark.parametrize("write", [capnp_value, haproxy_value])
def test_other_values_cannot_be_written(write: Any) -> None:
    with pytest.raises(TypeError):
        write(["a"])


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:9080"),
        ("0.0.0.0", "0.0.0.0:9080"),  # noqa: S104 - nothing listens here
        ("::1", "[::1]:9080"),
        ("[::]", "[::]:9080"),
        ("node-1.internal", "node-1.internal:9080"),
        ("*", "*:9080"),
    ],
)
def test_an_address(host: str, address: str) -> None:
    assert plan_address(host, 9080) == address


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1 ssl", 'x"', "/run/x.sock", "a\nbind :1"])
def test_no_address(host: str) -> None:
    with pytest.raises(SettingsInvalid, match="workers_host"):
        plan_address(host, 9080)


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(202, 1), (1024, 412), (20_000, 9_900), (10**9, 32_668)]
)
def test_connections_take_at_most_half_of_the_open_files(descriptors: int, connections: int) -> None:
    assert plan_max_connections(descriptors) == connections
    assert connections <= descriptors / 2


def test_too_few_open_files() -> None:
    with pytest.raises(SettingsInvalid, match="ulimit -n: 201 open files are too few"):
        plan_max_connections(201)
