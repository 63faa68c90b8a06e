"""Who gets in: tokens, TLS and the audit log, on a real node."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from gridiron.access.tls import trust_only
from gridiron.cli.demo.subject import Subject
from gridiron.settings import Settings, variable_name
from gridiron.testing.probe import ProbeBundles
from tests.acceptance.nodes import Nodes
from tests.harness import Client, manager_client, manager_of, wait_until


@pytest.fixture(scope="module")
def shared(make_shared_node: Callable[..., Subject]) -> Iterator[tuple[Subject, Client]]:
    node = make_shared_node(cells=1)
    client = Client(node)
    yield node, client
    client.close()


def gridiron(node: Subject, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Type a verb on the node's machine, where no setting says anything of the node but its port."""
    named = {variable_name(field) for field in Settings.model_fields}
    bare = {name: value for name, value in os.environ.items() if name not in named}
    offset = str(node.settings.port_offset)
    return subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", *arguments, "--port-offset", offset],
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def make_token(node: Subject, *options: str) -> str:
    made = gridiron(node, "token", "create", "ci", *options)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_beginner_types_no_token_and_others_need_one(shared: tuple[Subject, Client]) -> None:
    node, client = shared
    assert gridiron(node, "ls").returncode == 0
    assert client.manager.get("/deployments", auth=None).json()["code"] == "token_missing"
    assert client.manager.get("/health/ready", auth=None).status_code == 200
    state = node.settings.manager_state_dir
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir() if path.name != "state.json"}
    assert modes == dict.fromkeys(("admin.token", "tokens.json", "audit.jsonl", "lock"), 0o600)


def test_a_token_is_good_for_its_names_until_it_is_revoked(
    shared: tuple[Subject, Client], probe: Path, tmp_path: Path
) -> None:
    node, client = shared
    token = make_token(node, "--scope", "deploy:pro*")
    bundle = str(ProbeBundles(probe, tmp_path).make("1"))
    deploy = ("deploy", bundle, "--version", "1", "--json", "--name")
    assert gridiron(node, *deploy, "probe", GRIDIRON_TOKEN=token).returncode == 0
    assert '"scope_missing"' in gridiron(node, *deploy, "other", GRIDIRON_TOKEN=token).stdout
    assert client.manager.get("/tokens", auth=None, headers=bearer(token)).json()["code"] == "scope_missing"
    revoked = gridiron(node, "token", "revoke", token.split("_")[1])
    assert revoked.returncode == 0, revoked.stderr
    assert client.manager.get("/workers", auth=None, headers=bearer(token)).json()["code"] == "token_invalid"
    entries = client.manager.get("/audit").json()["entries"]
    mine = [(entry["event"], entry["route"], entry.get("code")) for entry in entries if entry["name"] == "ci"]
    assert ("done", "/activate", None) in mine
    assert ("refused", "/activate", "scope_missing") in mine
    assert ("refused", "/tokens", "scope_missing") in mine


def test_wrong_tokens_are_answered_ever_later_and_the_right_one_at_once(
    shared: tuple[Subject, Client],
) -> None:
    _, client = shared
    took = []
    for _ in range(13):
        began = time.monotonic()
        answer = client.manager.get("/deployments", auth=None, headers=bearer("nonsense"))
        took.append(time.monotonic() - began)
        assert answer.status_code == 401
    assert took[-1] > 0.9
    assert sum(took[:10]) < sum(took[10:])
    began = time.monotonic()
    assert client.manager.get("/workers").status_code == 200
    assert time.monotonic() - began < took[-1]


def test_what_was_done_is_still_known_when_the_manager_was_killed(
    shared: tuple[Subject, Client], probe: Path, tmp_path: Path
) -> None:
    node, client = shared
    build_id = client.activate(ProbeBundles(probe, tmp_path).make("2"), "2")["build_id"]
    before = client.manager.get("/audit", params={"limit": 2}).json()["entries"]
    assert [(entry["event"], entry["about"].get("build_id")) for entry in before] == [
        ("done", build_id),
        ("began", None),
    ]
    killed = manager_of(node)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: client.is_ready() and manager_of(node) != killed)
    assert client.manager.get("/audit", params={"limit": 2}).json()["entries"] == before
    shown = gridiron(node, "audit", "-n", "2", "--json")
    assert json.loads(shown.stdout) == before[::-1]


class Pair:
    """A certificate and its key, as files that a test replaces."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.chain, self.key = directory / "cert.pem", directory / "key.pem"

    def issue(self, name: str) -> None:
        pair = self.authority.issue_cert(name)
        self.key.write_bytes(pair.private_key_pem.bytes())
        self.chain.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))


def shown_name(settings: Settings, context: ssl.SSLContext) -> Any:
    """The name in the certificate that the manager shows."""
    with (
        socket.create_connection(("127.0.0.1", settings.ports.manager), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return dict(secure.getpeercert() or {})["subjectAltName"]


def test_tls_is_renewed_while_the_node_runs(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.issue("one.example")
    nodes = Nodes(tmp_path)
    try:
        node = nodes.make(tls_cert=pair.chain, tls_key=pair.key, cells=1)  # which is ready only by TLS
        assert gridiron(node, "ls").returncode == 0
        trusting = ssl.create_default_context()
        pair.authority.configure_trust(trusting)
        trusting.check_hostname = False
        assert shown_name(node.settings, trusting) == (("DNS", "one.example"),)
        with manager_client(node, verify=trust_only(pair.chain)) as client:
            assert client.get("/deployments").status_code == 200
            pair.issue("two.example")
            wait_until(lambda: shown_name(node.settings, trusting) == (("DNS", "two.example"),))
            assert client.get("/deployments").status_code == 200  # on the connection that there was
        pair.chain.write_text("no certificate")
        wait_until(lambda: "tls.not_renewed" in node.log)
        assert shown_name(node.settings, trusting) == (("DNS", "two.example"),)
        pair.issue("node.example")
        wait_until(lambda: shown_name(node.settings, trusting) == (("DNS", "node.example"),))
        assert gridiron(node, "ls").returncode == 0
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://localhost:{node.settings.ports.manager}/health/live", timeout=5)
    finally:
        nodes.stop()
