from __future__ import annotations

from typing import Any

import pytest

from gridiron.cli.deployed import plan_warnings, render_activated, render_headline
from gridiron.cli.table import Table
from gridiron.manager.api import Activated, NodeCopy


def activated(**overrides: Any) -> Activated:
    fields: dict[str, Any] = {
        "outcome": "activated",
        "build_id": "greeter-1.1.0-2",
        "path": "/greeter/1.1.0-2",
        "deployment_id": "dp_2",
        "protocol": "BidiStream",
        "services": ("greeter", "farewell"),
        "sha256": "0" * 64,
        "size": 1_640_000,
        "ignored": (),
        "replaces": ("greeter-1.0.0-1",),
        "changes": (),
        "takes_over": {},
        "keeps": (),
        "refusals": (),
        "timings_ms": {"stage": 1.5, "total": 20.0},
    }
    return Activated(**{**fields, **overrides})


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        ("activated", "greeter-1.1.0-2 is active."),
        ("unchanged", "greeter-1.1.0-2 is active already, with the same content: nothing was changed."),
        ("dry_run", "Dry run: greeter-1.1.0-2 would become active. Nothing was changed."),
    ],
)
def test_the_first_line_says_what_happened(outcome: str, headline: str) -> None:
    assert render_headline(activated(outcome=outcome)) == headline


def test_the_lines_after_it_say_all_the_rest() -> None:
    assert render_activated(activated(), None) == Table(
        (
            ("path", "/greeter/1.1.0-2"),
            ("services", "greeter, farewell"),
            ("deployment", "dp_2"),
            ("protocol", "BidiStream"),
            ("size", "1.6 MB"),
            ("steps", "stage 1.5 ms, in all 20.0 ms"),
            ("replaces", "greeter-1.0.0-1, which drains: what is in flight on it ends there"),
        )
    )


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ("drained", "is drained"),
        ("retired", "is retired"),
        ("gone", "is gone"),
        ("active", "stays active"),
    ],
)
def test_what_was_waited_for_is_told(end: str, shown: str) -> None:
    table = render_activated(activated(), {"greeter-1.0.0-1": end})
    assert table.rows[-1] == ("replaces", f"greeter-1.0.0-1, which {shown}")


def test_a_first_build_replaces_nothing() -> None:
    table = render_activated(activated(replaces=(), deployment_id=None), None)
    assert [row[0] for row in table.rows] == ["path", "services", "protocol", "size", "steps"]


def test_what_is_no_part_of_a_bundle_is_told() -> None:
    table = render_activated(activated(ignored=("README.md", "index.js.map")), None)
    assert ("left out", "README.md, index.js.map") in table.rows


def test_nothing_to_warn_of() -> None:
    assert plan_warnings(activated(), {"greeter-1.0.0-1": "drained"}) == []
    assert plan_warnings(activated(protocol=None), None) == []


def test_warnings() -> None:
    outcome = activated(protocol="RequestResponse")
    assert plan_warnings(outcome, {"greeter-1.0.0-1": "active"}) == [
        (
            "greeter-1.1.0-2 runs in request-response mode, which is much slower: "
            "pass `bidirectional: true` to createEndpointHandler."
        ),
        "greeter-1.0.0-1 goes on: it takes new invocations of services that the new build does not have.",
    ]


CHANGES = (
    {
        "kind": "handler_removed",
        "service": "greeter",
        "handler": "wave",
        "breaking": True,
        "detail": "greeter/wave is removed",
    },
    {
        "kind": "service_added",
        "service": "more",
        "handler": None,
        "breaking": False,
        "detail": "more is added",
    },
)


def test_what_changes_for_callers_is_told() -> None:
    outcome = activated(
        changes=CHANGES,
        takes_over={"cart": "other-1-1"},
        keeps=({"service": "old", "build_id": "greeter-1.0.0-1"},),
    )
    rows = dict(render_activated(outcome, None).rows)
    assert rows["changes"] == "greeter/wave is removed (breaking)\nmore is added"
    assert rows["takes over"] == "cart from other-1-1"
    assert rows["replaces"] == "greeter-1.0.0-1, which stays active"
    assert rows["besides it"] == "greeter-1.0.0-1 serves old"


def test_a_dry_run_that_would_be_refused_says_why() -> None:
    refused = {"code": "breaking_change", "detail": "Callers may rely on it."}
    outcome = activated(outcome="dry_run", changes=CHANGES, refusals=(refused,))
    assert render_headline(outcome) == "Dry run: greeter-1.1.0-2 would be refused. Nothing was changed."
    assert plan_warnings(outcome, None) == ["Callers may rely on it.  [breaking_change]"]


def test_a_node_without_the_files_is_named() -> None:
    copies = (
        NodeCopy(node="n2", present=True),
        NodeCopy(node="n3", present=False, reason="nobody listens there"),
    )
    assert plan_warnings(activated(copies=copies), None) == [
        "n3 does not have its files (nobody listens there): it fetches them when it is first called."
    ]
