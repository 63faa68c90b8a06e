from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from gridiron.cli import identity as verb
from gridiron.cli.identity import render
from gridiron.cli.table import Table
from gridiron.identity.accepted import AcceptedKey
from gridiron.identity.store import Identity, IdentityStore

Run = Callable[..., Result]
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
OLD, NEW = (
    AcceptedKey(kid=kid, x="x", accepted_at=NOW - timedelta(days=age))
    for kid, age in (("old", 2), ("new", 0))
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    IdentityStore(tmp_path / "identity").take_up()
    return tmp_path


def test_the_keys_of_a_rotation() -> None:
    assert render(Identity("old", "new", (OLD, NEW)), NOW) == Table(
        (
            ("old", "yes", "2026-10-30 12:00:00 UTC, 2d ago"),
            ("new", "from Restate's next start on", "2026-11-01 12:00:00 UTC, 0s ago"),
        ),
        ("KEY", "SIGNS", "ACCEPTED"),
    )


def test_a_key_that_is_not_accepted_is_shown() -> None:
    assert render(Identity("lost", None, (OLD,)), NOW).rows == (
        ("old", "no", "2026-10-30 12:00:00 UTC, 2d ago"),
        ("lost", "yes", "no"),
    )


def test_show(run: Run, data_dir: Path) -> None:
    identity = IdentityStore(data_dir / "identity").fetch()
    printed = run("identity", "show", "--data-dir", str(data_dir))
    assert printed.stdout.splitlines()[1].split()[:2] == [identity.signing, "yes"]
    told = json.loads(run("identity", "show", "--data-dir", str(data_dir), "--json").stdout)
    since = identity.accepted[0].accepted_at.isoformat()
    assert told == {
        "signing": identity.signing,
        "next": None,
        "accepted": [{"kid": identity.signing, "since": since}],
    }


def test_a_rotation_without_a_start_of_restate_is_told(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "START_LIMIT", timedelta(0))
    monkeypatch.setattr("gridiron.identity.store.SETTLE", timedelta(0))
    refused = run("identity", "rotate", "--data-dir", str(data_dir), "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["code"]) == (1, "rotation_pending")
    IdentityStore(data_dir / "identity").take_up()  # as a start of Restate does
    shown = json.loads(run("identity", "show", "--data-dir", str(data_dir), "--json").stdout)
    assert [each["kid"] for each in shown["accepted"]] == [shown["signing"]]
