from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gridiron.cli.status import Status, render_status
from gridiron.cli.table import Table
from gridiron.cli.versions import ProgramVersion, Versions, render_versions

Run = Callable[..., Result]
COMPONENTS = [
    {"name": "restate admin", "ready": True, "reason": ""},
    {"name": "workers", "ready": False, "reason": "no answer within 3 s"},
]
VERSIONS = Versions(
    gridiron="0.1.0",
    python="3.11.7",
    programs={
        "workerd": ProgramVersion("1.2.3", "/bin/workerd", None),
        "haproxy": ProgramVersion(None, None, "haproxy is missing. Install it."),
    },
)


@pytest.fixture(autouse=True)
def _no_haproxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is started to ask for its version."""
    monkeypatch.setenv("GRIDIRON_HAPROXY", str(tmp_path / "haproxy"))


def test_versions_are_a_table() -> None:
    assert render_versions(VERSIONS) == Table(
        (
            ("gridiron", "0.1.0", ""),
            ("python", "3.11.7", ""),
            ("workerd", "1.2.3", "/bin/workerd"),
            ("haproxy", "missing", "haproxy is missing. Install it."),
        )
    )


def test_the_screen_has_components_places_and_versions() -> None:
    seen = Status(
        ready=False,
        components=tuple(COMPONENTS),
        urls={"manager": "http://localhost:8081", "ingress": "http://localhost:8080"},
        builds={"active": 2, "draining": 1},
        versions=VERSIONS,
    )
    assert render_status(seen) == (
        Table(
            (("restate admin", "ready", ""), ("workers", "not ready", "no answer within 3 s")),
            ("COMPONENT", "STATE", "REASON"),
        ),
        Table(
            (
                ("manager", "http://localhost:8081"),
                ("ingress", "http://localhost:8080"),
                ("builds", "2 active, 1 draining"),
            )
        ),
        render_versions(VERSIONS),
    )


@pytest.mark.parametrize(("builds", "shown"), [(None, "?"), ({}, "none")])
def test_unknown_builds_are_not_no_builds(builds: dict[str, int] | None, shown: str) -> None:
    seen = Status(ready=True, components=(), urls={}, builds=builds, versions=VERSIONS)
    assert render_status(seen)[1] == Table((("builds", shown),))


def test_a_node_that_is_not_ready_is_shown_and_is_a_failure(
    run: Run, manager: Any, make_view: Callable[..., dict[str, Any]]
) -> None:
    manager.on("GET /health/ready", {"ready": False, "components": COMPONENTS}, status=503)
    manager.on("GET /deployments", {"deployments": [make_view(), make_view(state="drained")], "next": None})
    result = run("status", "--json", "--port-offset", "100")
    seen = json.loads(result.stdout)
    assert (result.exit_code, result.stderr) == (1, "")
    assert seen["ready"] is False
    assert seen["components"] == [{"name": "manager", "ready": True, "reason": ""}, *COMPONENTS]
    assert seen["urls"] == {
        "manager": "http://manager.test",
        "ingress": "http://localhost:8180",
        "restate admin": "http://localhost:9170",
        "workers": "http://localhost:9180",
    }
    assert seen["builds"] == {"active": 1, "drained": 1}
    assert seen["versions"]["programs"]["haproxy"]["version"] is None


def test_a_node_that_is_ready_is_a_success(run: Run, manager: Any) -> None:
    manager.on("GET /health/ready", {"ready": True, "components": []})
    manager.on("GET /deployments", {"deployments": [], "next": None})
    result = run("status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(
        "COMPONENT  STATE  REASON\nmanager    ready\n\nmanager        http://manager.test\n"
    )


def test_builds_that_cannot_be_counted_are_unknown(run: Run, manager: Any) -> None:
    manager.on("GET /health/ready", {"ready": False, "components": []}, status=503)
    manager.refuse("GET /deployments", 500, "storage_failed", "Reading failed.")
    result = run("status", "--json")
    assert (result.exit_code, json.loads(result.stdout)["builds"]) == (1, None)


def test_a_missing_program_is_no_error(run: Run) -> None:
    result = run("version", "--json")
    haproxy = json.loads(result.stdout)["programs"]["haproxy"]
    assert (result.exit_code, haproxy["version"], haproxy["path"]) == (0, None, None)
    assert haproxy["problem"].startswith("haproxy is missing (looked in ")
