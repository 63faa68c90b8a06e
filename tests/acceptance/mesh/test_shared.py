"""Tokens, secrets and the identity of a mesh: what one node is told of them holds on all."""

from __future__ import annotations

import httpx2
import pytest

from gridiron.identity.store import IdentityStore
from tests.acceptance.mesh.node import MeshNode
from tests.acceptance.mesh.rig import Mesh
from tests.harness import wait_until

REVOKED_SECONDS = 10
"""Within which a token that was revoked on another node is refused; docs/access.md says about 5."""


def test_a_token_is_made_and_revoked_on_whichever_node(mesh: Mesh) -> None:
    n1, n2, n3 = mesh.nodes
    token = n1.gridiron("token", "create", "ci", "--scope", "read")
    assert [status(node, token["text"]) for node in (n2, n3, n1)] == [200, 200, 200]
    assert {"admin.n1", "admin.n2", "admin.n3", "ci"} <= names(n3)
    n2.gridiron("token", "revoke", token["id"])
    assert status(n2, token["text"]) == 401
    for node in (n1, n3):
        wait_until(
            lambda node=node: status(node, token["text"]) == 401, REVOKED_SECONDS, f"{node!r} refuses it"
        )


def test_secrets_are_set_on_whichever_node(mesh: Mesh) -> None:
    n1, n2, n3 = mesh.nodes
    mesh.deploy(n1, "secret", "1")
    put(n2, "A")
    put(n3, "B")
    assert [keys(node) for node in mesh.nodes] == [["A", "B"]] * 3
    assert [node.answers("secret", "1") for node in mesh.nodes] == [True] * 3
    for node in mesh.nodes:
        assert not list(node.settings.secrets_dir.glob("*.json"))


def test_the_key_that_all_sign_with_is_changed_from_node_to_node(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in mesh.bucket.environment.items():
        monkeypatch.setenv(name, value)
    stores = [IdentityStore.of_node(node.settings) for node in mesh.nodes]
    (old,) = {store.fetch().signing for store in stores}
    new = set()
    for node, store in zip(mesh.nodes, stores, strict=True):
        kid = store.prepare_next()
        new.add(kid)
        wait_until(lambda store=store, kid=kid: store.fetch().is_settled_on(kid), 60, f"{node!r} signs anew")
        mesh.await_healthy()
    assert len(new) == 1
    assert old not in new


def status(node: MeshNode, token: str) -> int:
    response = httpx2.get(
        f"{node.settings.manager_url}/deployments",
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=10,
    )
    return response.status_code


def names(node: MeshNode) -> set[str]:
    return {token["name"] for token in node.gridiron("token", "ls")["tokens"]}


def put(node: MeshNode, key: str) -> None:
    response = node.client.manager.put(f"/secrets/secret/{key}", json={"value": f"value of {key}"})
    assert response.status_code == 200, response.text


def keys(node: MeshNode) -> list[str]:
    return [secret["key"] for secret in node.gridiron("secret", "list", "secret")["secrets"]]
