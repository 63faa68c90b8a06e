"""What the manager answers and logs about secrets: never a value, whatever it was sent."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import structlog

from gridiron.process.events import configure_logging
from gridiron.settings import load_settings
from tests.unit.manager.conftest import Manager

VALUE = "hunter2-hunter2"


@pytest.fixture
async def client(manager: Manager) -> AsyncIterator[httpx2.AsyncClient]:
    async with manager.serve() as client:
        yield client


async def test_a_secret_is_set_listed_and_removed(client: httpx2.AsyncClient) -> None:
    put = await client.put("/secrets/demo/A", json={"value": VALUE})
    changed = {"name": "demo", "key": "A", "changed": True, "activated": None, "missing": []}
    assert (put.status_code, put.json()) == (200, changed)
    again = await client.put("/secrets/demo/A", json={"value": VALUE})
    assert (again.status_code, again.json()) == (200, {**changed, "changed": False})
    listed = await client.get("/secrets/demo")
    assert listed.json() == {"name": "demo", "secrets": [{"key": "A", "set_at": "2026-11-01T12:00:00Z"}]}
    removed = await client.delete("/secrets/demo/A")
    assert (removed.status_code, removed.json()) == (200, changed)
    assert (await client.get("/secrets/demo")).json() == {"name": "demo", "secrets": []}
    gone = await client.delete("/secrets/demo/A")
    assert (gone.status_code, gone.json()["code"]) == (404, "secret_not_found")


async def test_a_new_build_is_in_the_answer(client: httpx2.AsyncClient, manager: Manager) -> None:
    first = await manager.activate("1")
    put = (await client.put("/secrets/demo/A", json={"value": VALUE})).json()
    assert (put["activated"]["outcome"], put["activated"]["replaces"]) == ("activated", [first.build_id])
    shown = (await client.get(f"/deployments/{put['activated']['build_id']}")).json()
    assert (shown["state"], shown["secrets"]) == ("active", ["A"])


BODIES: dict[str, Any] = {
    "no object": VALUE,
    "a list": [VALUE],
    "another field": {"value": VALUE, "more": VALUE},
    "no field": {"values": VALUE},
    "a list as value": {"value": [VALUE]},
    "an object as value": {"value": {"a": VALUE}},
    "half a character": {"value": VALUE + "\ud800"},
    "empty": {"value": ""},
    "too large": {"value": VALUE * 10_000},
    "no JSON": f'{{"value": "{VALUE}',
    "no text": b'{"value": "' + VALUE.encode() + b'\xff"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_what_is_wrong_with_a_body_is_told_without_it(
    client: httpx2.AsyncClient, body: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    content = body if isinstance(body, str | bytes) and body != VALUE else json.dumps(body)
    headers = {"content-type": "application/json"}
    answer = await client.put("/secrets/demo/A", content=content, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in {"request_invalid", "secret_invalid", "secret_too_large"}
    assert VALUE not in answer.text + "".join(capsys.readouterr())
    assert (await client.get("/secrets/demo")).json()["secrets"] == []


async def test_a_value_in_the_place_of_the_key_is_told_to_nobody(
    client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (f"/secrets/demo/A={VALUE}", f"/secrets/demo/{VALUE}", f"/secrets/demo/A/{VALUE}"):
        for answer in (await client.put(path, json={"value": "v"}), await client.delete(path)):
            assert answer.status_code in {404, 422}
            assert VALUE not in answer.text
    printed = "".join(capsys.readouterr())
    assert VALUE not in printed
    assert "path=/secrets/demo/…" in printed


@pytest.mark.parametrize(
    "secrets",
    [{"A": [VALUE]}, {"A": {"b": VALUE}}, VALUE, [VALUE], {"A": "v" + "\ud800", "B": VALUE}, {"A B": VALUE}],
)
async def test_secrets_of_an_activation_that_are_none(
    client: httpx2.AsyncClient, manager: Manager, secrets: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = manager.bundle("// offers demo")
    body = {"source": source, "name": "demo", "version": "1", "secrets": secrets}
    headers = {"content-type": "application/json"}
    answer = await client.post("/activate", content=json.dumps(body), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] in {"request_invalid", "secret_invalid"}
    assert VALUE not in answer.text + "".join(capsys.readouterr())


async def test_a_fault_while_a_secret_is_set_shows_it_to_nobody(
    client: httpx2.AsyncClient,
    manager: Manager,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await manager.activate("1")

    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(manager.restate, "register", fail)
    configure_logging("manager", load_settings(log_format="text"), sys.stderr)  # as a role does
    try:
        answer = await client.put("/secrets/demo/A", json={"value": VALUE})
    finally:
        structlog.reset_defaults()
        logging.getLogger().handlers.clear()
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    printed = "".join(capsys.readouterr())
    assert "ZeroDivisionError: a fault" in printed
    assert VALUE not in answer.text + printed


async def test_a_name_that_is_none_is_told(client: httpx2.AsyncClient) -> None:
    answers = [
        await client.get("/secrets/No"),
        await client.put("/secrets/No/A", json={"value": VALUE}),
        await client.delete("/secrets/No/A"),
    ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(422, "name_invalid")] * 3


async def test_the_description_has_no_example_of_a_value(client: httpx2.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    value = schemas["PutSecretRequest"]["properties"]["value"]
    assert (value["format"], value["writeOnly"]) == ("password", True)
