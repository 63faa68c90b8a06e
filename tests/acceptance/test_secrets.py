"""Secrets on a real node: workers have them, and nothing else shows them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
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
from gridiron.testing.processes import descendants
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


READS = (
    "/deployments",
    "/secrets/keeper",
    "/workers",
    "/metrics",
    "/health/live",
    "/health/ready",
    "/openapi.json",
)


def forms_of(value: str) -> list[bytes]:
    """What a value may look like where it shows."""
    raw = value.encode()
    return [
        raw,
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw),
        raw.hex().encode(),
        value.encode("utf-16-le"),
    ]


def find_in_files(directory: Path, value: str) -> list[str]:
    """The files below a directory that hold a value."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path)] if any(form in content for form in forms_of(value)) else []
    return found


def find_in_processes(pid: int, value: str) -> list[str]:
    """The processes below one that have a value among their arguments or variables."""
    found = []
    for each in descendants(pid):
        for file in ("cmdline", "environ"):
            content = Path(f"/proc/{each}/{file}").read_bytes()
            found += [f"{each}/{file}"] if any(form in content for form in forms_of(value)) else []
    return found


def test_a_secret_shows_nowhere(make_node: Callable[..., Subject], bundle: Path) -> None:
    node = make_node(**ONE_CELL)
    shown = f"shown-{secrets.token_hex(16)}"
    values = {name: f"planted-{name}-{secrets.token_hex(16)}" for name in ("put", "again", "given", "failed")}
    with client_of(node) as client:
        printed = [run(node, "put", "keeper", "TOKEN", typed=values["put"])]
        build_ids = [deploy(client, bundle, "1", vars={"PLAIN": shown})]
        printed.append(run(node, "put", "keeper", "TOKEN", "--json", typed=values["again"]))
        build_ids.append(
            deploy(client, bundle, "2", secrets={"GIVEN": values["given"]}, vars={"PLAIN": shown})
        )
        for key, value in (("TOKEN", "again"), ("GIVEN", "given")):
            assert client.call("keeper", "tell", key) == digest(values[value])
        refused = [
            client.manager.put("/secrets/keeper/PLAIN", json={"value": values["failed"]}),  # a variable
            client.manager.put(f"/secrets/keeper/A={values['failed']}", json={"value": "x"}),
            client.manager.put("/secrets/keeper/TOKEN", content=json.dumps({"value": [values["failed"]]})),
            client.manager.post("/activate", json={"secrets": {"A": [values["failed"]]}}),
        ]
        assert {each.status_code for each in refused} == {422}
        printed += [run(node, "list", "keeper"), run(node, "list", "keeper", "--json")]
        answers = [client.manager.get(path) for path in READS]
        answers += [client.manager.get(f"/deployments/{build_id}") for build_id in build_ids]
        answers += [client.admin.get("/deployments"), client.workers.get("/-/health")]
        assert {each.status_code for each in answers} == {200}
    said = "".join(
        [*(each.text for each in (*refused, *answers)), *(f"{each.stdout}{each.stderr}" for each in printed)]
    )
    assert node.pid is not None
    for value in values.values():
        assert find_in_processes(node.pid, value) == []
        assert value not in node.log
        assert value not in said
        assert find_in_files(node.settings.data_dir, value) == []
    # what is no secret shows in all of these places but the answers, so that the search finds something
    directory = str(node.settings.data_dir)
    assert find_in_processes(node.pid, directory) != []
    assert sorted(find_in_files(node.settings.bundles_dir, shown)) == sorted(
        str(path) for path in node.settings.bundles_dir.glob("*/metadata.json")
    )
    assert "build.activated" in node.log
    assert "TOKEN" in said
    node.stop()
    for value in values.values():
        assert find_in_files(node.settings.data_dir, value) == []
