"""Secrets on a real node: workers have them, and nothing else shows them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.secrets.key import KEY_FILE
from gridiron.settings import load_settings
from gridiron.testing.probe import build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.nodes import Nodes
from tests.harness import Client, wait_until

WORKER = Path(__file__).with_name("secret_worker.js")
ONE_CELL = {"cells": 1}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    toolchain = find_toolchain(load_settings())
    return build_probe(toolchain, tmp_path_factory.mktemp("secrets"), WORKER.read_text())


@contextmanager
def client_of(node: Subject) -> Iterator[Client]:
    client = Client(node)
    try:
        yield client
    finally:
        client.close()


def run(node: Subject, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run `gridiron secret …` as a user does."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", "secret", *arguments],
        env={**os.environ, **node.settings.environment()},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def deploy(client: Client, bundle: Path, version: str, **more: Any) -> str:
    return str(client.activate(bundle, version, name="keeper", **more)["build_id"])


def test_a_secret_is_live_at_once_and_what_is_in_flight_keeps_its_own(
    make_node: Callable[..., Subject], bundle: Path
) -> None:
    node = make_node(**ONE_CELL)
    with client_of(node) as client:
        first = deploy(client, bundle, "1")
        assert client.call("keeper", "tell", "TOKEN") is None
        set_ = run(node, "put", "keeper", "TOKEN", "--json", typed="old\n")
        assert set_.returncode == 0, set_.stderr
        second = json.loads(set_.stdout)["activated"]["build_id"]
        assert second not in {None, first}
        assert client.call("keeper", "tell", "TOKEN") == digest("old")
        invocation = client.send("keeper", "tellTwice", {"key": "TOKEN", "millis": 3000})
        wait_until(lambda: client.show(second)["invocations"]["pinned"] > 0)
        assert run(node, "put", "keeper", "TOKEN", typed="new\n").returncode == 0
        assert client.call("keeper", "tell", "TOKEN") == digest("new")
        answer = client.ingress.get(f"/restate/invocation/{invocation}/attach").json()
        assert answer == {"begun": digest("old"), "ended": digest("old")}
        listed = json.loads(run(node, "list", "keeper", "--json").stdout)
        assert [each["key"] for each in listed["secrets"]] == ["TOKEN"]
        builds = len(client.builds())
        again = run(node, "put", "keeper", "TOKEN", typed="new\n")
        assert again.stdout == "TOKEN of keeper has this value already: nothing was changed.\n"
        assert len(client.builds()) == builds
        back = client.manager.post("/rollback", json={"name": "keeper", "build_id": first})
        assert back.json()["outcome"] == "unchanged"  # its code is active, with the secrets of now
        assert run(node, "delete", "keeper", "TOKEN", "-y").returncode == 0
        assert client.call("keeper", "tell", "TOKEN") is None


def test_secrets_outlive_a_restart_and_a_lost_key_costs_no_more_than_a_wait(
    nodes: Nodes, bundle: Path, tmp_path: Path
) -> None:
    node = nodes.make(**ONE_CELL)
    with client_of(node) as client:
        deploy(client, bundle, "1", secrets={"TOKEN": "value"})
    node = nodes.restart(node)
    with client_of(node) as client:
        assert client.call("keeper", "tell", "TOKEN") == digest("value")
    node.stop()
    key = node.settings.secrets_dir / KEY_FILE
    key.rename(tmp_path / KEY_FILE)
    node = nodes.restart(node)
    assert not key.exists()
    assert "secrets.key_missing" in node.log
    with client_of(node) as client:
        invocation = client.send("keeper", "tell", "TOKEN")
        refused = run(node, "put", "keeper", "TOKEN", "--json", typed="other")
        assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "secrets_unreadable")
        (tmp_path / KEY_FILE).rename(key)
        answer = client.ingress.get(f"/restate/invocation/{invocation}/attach").json()
        assert answer == digest("value")
        assert run(node, "put", "keeper", "TOKEN", typed="other").returncode == 0
        assert client.call("keeper", "tell", "TOKEN") == digest("other")


def test_what_a_bundle_requires_has_to_be_there(
    make_node: Callable[..., Subject], bundle: Path, tmp_path: Path
) -> None:
    node = make_node(**ONE_CELL)
    requires = tmp_path / "requires"
    requires.mkdir()
    for file in bundle.iterdir():
        (requires / file.name).write_bytes(file.read_bytes())
    (requires / "wrangler.toml").write_text('[secrets]\nrequired = ["TOKEN", "OTHER"]\n')
    with client_of(node) as client:
        body = {"source": requires.as_uri(), "name": "keeper", "version": "1"}
        refused = client.manager.post("/activate", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "secrets_missing")
        for key in ("TOKEN", "OTHER"):
            assert f"gridiron secret put keeper {key}" in refused.json()["detail"]
            assert run(node, "put", "keeper", key, typed="v").returncode == 0
        assert client.manager.post("/activate", json=body).status_code == 201
