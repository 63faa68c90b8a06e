"""Only Restate reaches the builds of a node, and its key is changed without the loss of a call."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.ed25519 import parse_private_key
from gridiron.identity.accepted import kid_of
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.testing.signing import make_token
from gridiron.toolchain.programs import find_toolchain
from tests.acceptance.nodes import Nodes
from tests.harness import Client, wait_until
from tests.load import lasting_load

WORKER = Path(__file__).with_name("identified_worker.js")


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    return make_shared_node()


@pytest.fixture(scope="module")
def shared_client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


@pytest.fixture(scope="module")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    directory = tmp_path_factory.mktemp("identified")
    built = build_probe(find_toolchain(load_settings()), directory / "built", WORKER.read_text())
    return ProbeBundles(built, directory / "made").make


def run(node: Subject, *arguments: str) -> Any:
    """Run `gridiron identity … --json` beside a node, as its user does; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", "identity", *arguments, "--json"],
        env={**os.environ, **node.settings.environment()},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


def send(node: Subject, path: str, token: str) -> httpx2.Response:
    headers = {"x-restate-signature-scheme": "v1", "x-restate-jwt-v1": token}
    return httpx2.post(f"{node.settings.workers_url}{path}", headers=headers)


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@pytest.mark.parametrize("bidirectional", [True, False])
def test_restate_is_answered_and_nobody_else(
    node: Subject, shared_client: Client, make_bundle: Callable[..., Path], *, bidirectional: bool
) -> None:
    name = f"open-{bidirectional}".lower()
    bundle = make_bundle("1", name, bidirectional=bidirectional)
    build = shared_client.activate(bundle, "1", name=name)
    assert shared_client.call(name, "work", {"steps": 3}) == "1"
    path = f"{build['path']}/invoke/{name}/work"
    refused = httpx2.post(f"{node.settings.workers_url}{path}")
    assert (refused.status_code, refused.json()["code"]) == (401, "request_unsigned")
    assert httpx2.get(f"{node.settings.workers_url}/-/health").status_code == 200


def test_a_token_of_restate_is_as_the_signer_of_tests_makes_it(
    node: Subject, shared_client: Client, make_bundle: Callable[..., Path]
) -> None:
    build = shared_client.activate(make_bundle("1", "telling"), "1", name="telling")
    token = shared_client.call("telling", "token")
    file = node.settings.identity_dir / "signing.pem"
    key = parse_private_key(str(file), file.read_bytes())
    assert token == make_token(key, "/invoke/telling/token", claims_of(token)["iat"])
    # what it is not good for, and what the signature does not cover: see SECURITY.md
    misdirected = send(node, f"{build['path']}/invoke/telling/work", token)
    assert misdirected.json()["code"] == "request_signature_misdirected"
    replayed = send(node, f"{build['path']}/invoke/telling/token", token)
    assert replayed.status_code != 401


def test_a_bundle_may_check_the_signature_itself(
    node: Subject, shared_client: Client, make_bundle: Callable[..., Path]
) -> None:
    kid = run(node, "show")["signing"]
    bundle = make_bundle("1", "strict")
    shared_client.activate(bundle, "1", name="strict", vars={"KEY": kid})
    assert shared_client.call("strict", "work") == "1"
    foreign = kid_of(parse_private_key("foreign", FOREIGN).public_key())
    body = {"source": bundle.as_uri(), "name": "strict", "version": "2", "vars": {"KEY": foreign}}
    refused = shared_client.manager.post("/activate", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_restate_service")


def test_a_rotation_under_load_loses_no_call(
    node: Subject, shared_client: Client, make_bundle: Callable[..., Path]
) -> None:
    build = shared_client.activate(make_bundle("1", "kept"), "1", name="kept")
    token = shared_client.call("kept", "token")
    before = run(node, "show")
    sleeping = [shared_client.send("kept", "work", {"millis": 6_000}) for _ in range(10)]
    with lasting_load(node.settings.ingress_url, "kept") as load:
        wait_until(lambda: len(load.answers) > 10)
        after = run(node, "rotate")
        seen = len(load.answers)
        wait_until(lambda: len(load.answers) > seen + 10)
    assert load.failures == []
    for invocation in sleeping:
        assert shared_client.ingress.get(f"/restate/invocation/{invocation}/attach").json() == "1"
    assert before["signing"] != after["signing"]
    assert [each["kid"] for each in after["accepted"]] == [after["signing"]]
    assert claims_of(token)["aud"] == "/invoke/kept/token"
    refused = send(node, f"{build['path']}/invoke/kept/token", token)
    assert (refused.status_code, refused.json()["code"]) == (401, "request_signature_invalid")
    assert (
        claims_of(token)["exp"] > claims_of(shared_client.call("kept", "token"))["iat"]
    )  # it would hold yet


def test_a_node_takes_the_key_that_it_is_given(
    nodes: Nodes, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    given = tmp_path / "given.pem"
    given.write_bytes(FOREIGN)
    given.chmod(0o600)
    node = nodes.make(identity_key=given, cells=1)
    client = Client(node)
    try:
        client.activate(make_bundle("1", "given"), "1", name="given")
        assert client.call("given", "work") == "1"
        assert run(node, "show")["signing"] == kid_of(parse_private_key("given", FOREIGN).public_key())
        assert not (node.settings.identity_dir / "signing.pem").exists()
    finally:
        client.close()


FOREIGN = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
"""The first key of RFC 8032, section 7.1."""
