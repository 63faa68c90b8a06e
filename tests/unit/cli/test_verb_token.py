from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

from tests.unit.cli.conftest import FakeManager

Run = Callable[..., Result]

LEFT_OUT = "refused: token_missing (2 refusals before it left out)"
TEXT = f"gridiron_271afb82_{'ab' * 32}"


def view(**overrides: Any) -> dict[str, Any]:
    token = {
        "id": "271afb82",
        "name": "ci",
        "scopes": ["deploy:shop-*", "read"],
        "created_at": "2026-11-01T11:55:00Z",
        "expires_at": None,
        "expired": False,
    }
    return {**token, **overrides}


def entry(number: int, event: str, **overrides: Any) -> dict[str, Any]:
    line = {
        "id": f"{number}",
        "at": "2026-11-01T11:55:00Z",
        "event": event,
        "token": "271afb82",
        "name": "ci",
        "address": "192.0.2.1",
        "method": "POST",
        "route": "/activate",
        "about": {"name": "shop", "version": "1"},
    }
    return {**line, **overrides}


def test_a_new_token_is_all_of_standard_output(manager: FakeManager, run: Run) -> None:
    manager.on("POST /tokens", {"token": view(expires_at="2026-12-01T12:00:00Z"), "text": TEXT}, status=201)
    result = run("token", "create", "ci", "--scope", "deploy:shop-*", "--scope", "read", "--expires", "30d")
    assert (result.exit_code, result.stdout) == (0, f"{TEXT}\n")
    assert result.stderr == "271afb82 (ci): deploy:shop-*, read, until 2026-12-01 12:00 UTC. Shown once:\n"
    body = {"name": "ci", "scopes": ["deploy:shop-*", "read"], "expires": "30d"}
    assert manager.asked == [("POST /tokens", body)]
    as_json = run("token", "create", "ci", "--scope", "read", "--json")
    assert json.loads(as_json.stdout)["text"] == TEXT
    assert as_json.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "ci", "--scope", "all"), "scope_invalid"),
        (("create", "Ci", "--scope", "read"), "token_name_invalid"),
        (("create", "ci"), "usage"),
    ],
)
def test_what_can_be_no_token_is_refused_here(
    manager: FakeManager, run: Run, arguments: Any, code: str
) -> None:
    result = run("token", *arguments)
    assert result.exit_code != 0
    assert f"[{code}]" in result.stderr
    assert manager.asked == []


def test_tokens_are_listed(manager: FakeManager, run: Run) -> None:
    old = view(id="00000000", name="old", scopes=["read"], expires_at="2026-11-01T11:56:00Z", expired=True)
    new = view(expires_at="2026-11-01T14:00:01Z")
    manager.on("GET /tokens", {"tokens": [view(), old, new]})
    assert run("token", "ls").stdout.splitlines() == [
        "ID        NAME  SCOPES              CREATED                          EXPIRES",
        "271afb82  ci    deploy:shop-* read  2026-11-01 11:55:00 UTC, 5m ago  never",
        "00000000  old   read                2026-11-01 11:55:00 UTC, 5m ago  expired",
        "271afb82  ci    deploy:shop-* read  2026-11-01 11:55:00 UTC, 5m ago  in 2h",
    ]


def test_a_token_is_revoked(manager: FakeManager, run: Run) -> None:
    manager.on("DELETE /tokens/271afb82", view())
    assert run("token", "revoke", "271afb82").stdout == "271afb82 (ci) is revoked.\n"
    manager.refuse("DELETE /tokens/00000000", 404, "token_not_found", "There is no token 00000000.")
    refused = run("token", "revoke", "00000000")
    assert refused.stderr == "error: There is no token 00000000.  [token_not_found]\n"


def test_a_token_that_is_pasted_where_its_id_belongs_goes_nowhere(manager: FakeManager, run: Run) -> None:
    manager.on("DELETE /tokens/271afb82", view())
    assert run("token", "revoke", f"{TEXT} ").stdout == "271afb82 (ci) is revoked.\n"
    refused = run("token", "revoke", TEXT[:-1])
    assert refused.stderr.startswith("error: Invalid value for ID: That is no token's id.")
    assert "ab" * 8 not in refused.output
    assert manager.asked == [("DELETE /tokens/271afb82", None)]


def test_the_audit_log_shows_a_change_once_and_the_newest_last(manager: FakeManager, run: Run) -> None:
    newest = [
        entry(4, "refused", token=None, name=None, status=401, code="token_missing", about={}, left_out=2),
        entry(3, "began"),
        entry(2, "failed", status=409, code="service_taken"),
        entry(2, "began"),
    ]
    older = [entry(1, "done", name=None, address=None), entry(1, "began")]
    manager.on("GET /audit", {"entries": newest, "next": "77"}, {"entries": older, "next": None})
    header, *lines = (line.split("  ") for line in run("audit").stdout.splitlines())
    assert [cell.strip() for cell in header if cell] == ["WHEN", "WHO", "FROM", "WHAT", "OUTCOME", "ABOUT"]
    shown = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    when, request, about = "2026-11-01 11:55:00", "POST /activate", "name=shop version=1"
    assert shown == [
        [when, "271afb82", request, "done", about],
        [when, "ci", "192.0.2.1", request, "failed: service_taken", about],
        [when, "ci", "192.0.2.1", request, "begun, end unknown", about],
        [when, "nobody", "192.0.2.1", "POST /activate", LEFT_OUT],
    ]
    assert [route for route, _ in manager.asked] == ["GET /audit?limit=50", "GET /audit?limit=46&cursor=77"]


def test_the_audit_log_for_programs_is_all_of_it(manager: FakeManager, run: Run) -> None:
    manager.on("GET /audit", {"entries": [entry(1, "done"), entry(1, "began")], "next": None})
    lines = json.loads(run("audit", "--json", "-n", "2").stdout)
    assert [line["event"] for line in lines] == ["began", "done"]


def test_a_token_goes_in_the_clear_with_a_warning_and_as_a_header(
    manager: FakeManager, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDIRON_TOKEN", TEXT)
    manager.on("GET /tokens", {"tokens": []})
    result = run("token", "ls")
    assert (result.exit_code, manager.headers[-1]["authorization"]) == (0, f"Bearer {TEXT}")
    assert result.stderr.startswith("warning: the token goes to http://manager.test as it is")
    assert TEXT not in result.output
