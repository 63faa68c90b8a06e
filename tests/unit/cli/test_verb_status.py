from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gridiron.cli.status import Status, render_status
from gridiron.cli.table import Table
from gridiron.cli.versions import ProgramVersion, Versions, render_versions
from gridiron.cli.warnings import find_warnings
from gridiron.manager.api import DeploymentView, Health, NodeStatus
from gridiron.workers.status import PoolStatus
from tests.unit.cli.conftest import NOW

Run = Callable[..., Result]
MakeView = Callable[..., dict[str, Any]]
SINCE = (NOW - timedelta(minutes=5)).isoformat()
GIGABYTE = 1_000_000_000


def component(name: str, reason: str = "", *, ready: bool = True, required: bool = True) -> dict[str, Any]:
    state = {"name": name, "ready": ready, "required": required, "reason": reason}
    return {**state, "since": SINCE, "age_seconds": 0.2}


HERE = {"host": "127.0.0.1", "is_loopback": True, "is_encrypted": False}
MESH = {"host": "10.0.0.1", "is_loopback": False, "is_encrypted": False}
OUTSIDE = {"host": "0.0.0.0", "is_loopback": False, "is_encrypted": False}  # noqa: S104


def health(*components: dict[str, Any]) -> dict[str, Any]:
    reason = "; ".join(each["reason"] for each in components if each["required"] and not each["ready"])
    return {"ready": not reason, "reason": reason, "since": SINCE, "components": list(components)}


def node(**overrides: Any) -> dict[str, Any]:
    listens = [{"purpose": "manager", **HERE, "port": 8081}]
    return {
        "node": "n1",
        "version": "0.1.0",
        "programs": {"workerd": "1.2.3", "haproxy": None},
        "started_at": SINCE,
        "now": NOW.isoformat(),
        "listens": listens,
        "urls": {"manager": "http://localhost:8081"},
        "disk": {"free": 12 * GIGABYTE, "total": 40 * GIGABYTE, "files_free": None},
        "settings": {"live": [], "restart": [], "problem": None},
        **overrides,
    }


POOL = {
    "size": 1,
    "cells": [
        {
            "cell": "cell-1",
            "pid": 1,
            "serving": True,
            "own": None,
            "own_in_flight": None,
            "uptime_seconds": 300,
            "memory": 64_000_000,
            "memory_limit": 512_000_000,
        }
    ],
    "restarts": {"died": 2, "order": 0},
}
VERSIONS = Versions(
    gridiron="0.1.0",
    python="3.11.7",
    programs={
        "workerd": ProgramVersion("1.2.3", "/bin/workerd", None),
        "haproxy": ProgramVersion(None, None, "haproxy is missing. Install it."),
    },
)


def test_versions_are_a_table() -> None:
    assert render_versions(VERSIONS) == Table(
        (
            ("gridiron", "0.1.0", ""),
            ("python", "3.11.7", ""),
            ("workerd", "1.2.3", "/bin/workerd"),
            ("haproxy", "missing", "haproxy is missing. Install it."),
        )
    )


def test_the_screen_has_components_cells_and_the_node() -> None:
    seen = Status(
        health=Health.model_validate(health(component("cells", "0 of 1 serve", ready=False))),
        node=NodeStatus.model_validate(node()),
        pool=PoolStatus.model_validate(POOL),
        builds={"active": 2, "draining": 1},
        warnings=(),
    )
    assert render_status(seen, NOW) == (
        Table((("cells", "not ready", "5m", "0 of 1 serve"),), ("COMPONENT", "STATE", "SINCE", "REASON")),
        Table(
            (("cell-1", "serving", "5m", "64.0 MB of 512 MB", ""),),
            ("CELL", "STATE", "UP", "MEMORY", "ONLY FOR"),
        ),
        Table(
            (
                ("node", "n1, its manager up for 5m"),
                ("versions", "gridiron 0.1.0, workerd 1.2.3, haproxy missing"),
                ("manager", "http://localhost:8081"),
                ("ports", "manager 127.0.0.1:8081"),
                ("disk", "12.0 GB free of 40.0 GB"),
                ("builds", "2 active, 1 draining"),
                ("restarts", "2 cells died"),
            )
        ),
    )


@pytest.mark.parametrize(("builds", "shown"), [(None, "?"), ({}, "none")])
def test_what_is_unknown_is_not_nothing(builds: dict[str, int] | None, shown: str) -> None:
    seen = Status(Health.model_validate(health()), node=None, pool=None, builds=builds, warnings=())
    assert render_status(seen, NOW)[1:] == (Table((("builds", shown), ("restarts", "?"))),)


def test_a_node_that_is_not_ready_is_shown_and_is_a_failure(
    run: Run, manager: Any, make_view: MakeView
) -> None:
    said = health(component("cells", "0 of 1 serve", ready=False), component("haproxy"))
    manager.on("GET /health/ready", said, status=503)
    manager.on("GET /deployments", {"deployments": [make_view(), make_view(state="failed")], "next": None})
    manager.on("GET /node", node())
    manager.on("GET /workers", POOL)
    result = run("status", "--json")
    seen = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (1, "")
    assert (seen["ready"], seen["reason"]) == (False, "0 of 1 serve")
    assert [each["name"] for each in seen["components"]] == ["cells", "haproxy"]
    assert (seen["node"]["node"], seen["cells"]["size"]) == ("n1", 1)
    assert seen["builds"] == {"active": 1, "failed": 1}
    assert seen["warnings"] == ["greeter-1.0.0-1 has failed: `gridiron show BUILD` says why."]


def test_a_node_that_is_ready_is_a_success_with_its_warnings(run: Run, manager: Any) -> None:
    manager.on("GET /health/ready", health(component("cells", "1 of 2 serve")))
    manager.on("GET /deployments", {"deployments": [], "next": None})
    manager.on("GET /node", node(disk=None))
    manager.on("GET /workers", {"size": 1, "cells": [], "restarts": {}})
    result = run("status")
    assert (result.exit_code, result.stderr) == (
        0,
        "warning: cells: only 1 of 2 serve.\nwarning: The disk of the bundle directory does not answer.\n",
    )
    assert result.stdout.startswith(
        "COMPONENT  STATE  SINCE  REASON\ncells      ready  5m     1 of 2 serve\n\nnode      n1, its manager"
    )


def test_what_the_manager_cannot_say_is_unknown(run: Run, manager: Any) -> None:
    manager.on("GET /health/ready", health(component("bundle directory", "no room", ready=False)), status=503)
    for path in ("/deployments", "/node", "/workers"):
        manager.refuse(f"GET {path}", 500, "storage_failed", "Reading failed.")
    seen = json.loads(run("status", "--json").stdout)
    assert (seen["builds"], seen["node"], seen["cells"], seen["warnings"]) == (None, None, None, [])


def views(make_view: MakeView, *changes: dict[str, Any]) -> list[DeploymentView]:
    return [DeploymentView.model_validate(make_view(**each)) for each in changes]


def test_who_may_not_see_the_node_is_told_so(run: Run, manager: Any) -> None:
    manager.on("GET /health/ready", health(component("cells")))
    manager.refuse("GET /node", 401, "token_missing", "This needs a token.")
    result = run("status")
    assert (result.exit_code, result.stderr) == (1, "error: This needs a token.  [token_missing]\n")


def test_builds_that_want_attention_are_named(make_view: MakeView) -> None:
    days_ago = [(NOW - timedelta(days=days)).isoformat() for days in range(5)]
    quarantine = {"since": SINCE, "reason": "hung", "cell": None}
    builds = views(
        make_view,
        {"build_id": "a-1-1", "state": "draining", "draining_at": days_ago[3]},
        {"build_id": "a-2-2", "state": "draining", "draining_at": days_ago[1]},
        {
            "build_id": "a-3-3",
            "activated_at": days_ago[0],
            "created_at": (NOW + timedelta(hours=2)).isoformat(),
        },
        *({"build_id": f"b-{n}-{n}", "name": "b", "quarantine": quarantine} for n in range(7)),
        {"build_id": "c-1-1", "name": "c", "state": "unknown"},
    )
    named = ", ".join(f"b-{n}-{n}" for n in range(5))
    assert find_warnings(Health.model_validate(health()), NodeStatus.model_validate(node()), builds) == (
        f"{named} and 2 more are in quarantine: deploy a version that brings no cell down.",
        "The state of 1 build is unknown, so nothing of it is removed.",
        "a-1-1 has been draining for 3d: `gridiron show a-1-1` says why.",
        "The node's clock is 2h behind the newest build: set it.",
    )


@pytest.mark.parametrize(
    ("overrides", "warnings"),
    [
        ({}, ()),
        (
            {"disk": {"free": GIGABYTE - 1, "total": 40 * GIGABYTE, "files_free": 9}},
            (
                "The disk of the bundle directory has only 1.0 GB of 40.0 GB left: make room.",
                "The disk of the bundle directory has room for 9 files only: remove some.",
            ),
        ),
        ({"disk": {"free": 11_000_000, "total": 100_000_000, "files_free": None}}, ()),  # a small one
        (
            {"settings": {"live": ["retain"], "restart": ["cells", "workerd"], "problem": None}},
            (
                "Written and not taken up yet: retain. Send SIGHUP.",
                "Written and not taken up before a restart: cells, workerd.",
            ),
        ),
        (
            {"settings": {"live": [], "restart": [], "problem": "cells: no."}},
            ("The settings that are written cannot be used, and no role starts with them. cells: no.",),
        ),
        (
            {
                "listens": [
                    {"purpose": "admin", **OUTSIDE, "port": 1},
                    {"purpose": "ingress", **OUTSIDE, "port": 2},
                    {"purpose": "manager", **OUTSIDE, "port": 3, "is_encrypted": True},
                ]
            },
            ("The port of admin is open at 0.0.0.0:1: whoever reaches it there commands Restate.",),
        ),
        (
            {
                "listens": [
                    {"purpose": "fabric", **MESH, "port": 5122},
                    {"purpose": "peers", **MESH, "port": 8082},
                ]
            },
            (),
        ),
        (
            {
                "listens": [
                    {"purpose": "fabric", **OUTSIDE, "port": 5122},
                    {"purpose": "peers", **MESH, "port": 8082},
                ]
            },
            ("The port of fabric is open at 0.0.0.0:5122: whoever reaches it there commands Restate.",),
        ),
        (
            {"listens": [{"purpose": "fabric", **MESH, "port": 5122}]},
            ("The port of fabric is open at 10.0.0.1:5122: whoever reaches it there commands Restate.",),
        ),
    ],
)
def test_what_of_the_node_wants_attention(overrides: dict[str, Any], warnings: tuple[str, ...]) -> None:
    seen = NodeStatus.model_validate(node(**overrides))
    assert find_warnings(Health.model_validate(health()), seen, []) == warnings


def test_a_missing_program_is_no_error(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRIDIRON_HAPROXY", str(tmp_path / "haproxy"))
    result = run("version", "--json")
    haproxy = json.loads(result.stdout)["programs"]["haproxy"]
    assert (result.exit_code, haproxy["version"], haproxy["path"]) == (0, None, None)
    assert haproxy["problem"].startswith("haproxy is missing (looked in ")
