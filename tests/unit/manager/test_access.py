"""Who may do what over HTTP: every endpoint with every kind of caller, and what is written down of it."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from gridiron.access.restraint import Rates
from gridiron.access.scopes import parse_scope
from gridiron.cli.credentials import read_token
from gridiron.manager.http.guard import GuardedRoute
from gridiron.manager.http.needs import NEEDS
from tests.unit.manager.conftest import Manager, make_settings

ARCHIVE = b"any bytes"
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()

NO_TOKEN, NOT_GOOD = ("none",), ("wrong", "expired", "revoked")
CALLERS = (*NO_TOKEN, *NOT_GOOD, "read", "deploys it", "deploys another", "admin")

ALL = {"read": 200, "deploys it": 200, "deploys another": 200, "admin": 200}
MATCHING = {"read": 403, "deploys it": 200, "deploys another": 403, "admin": 200}
DEPLOYERS = {"read": 403, "deploys it": 200, "deploys another": 200, "admin": 200}
ADMIN = {"read": 403, "deploys it": 403, "deploys another": 403, "admin": 200}
NO_CLUSTER = dict.fromkeys(ALL, 404)  # this node is alone
NO_CLUSTER_FOR_ADMINS = {**ADMIN, "admin": 404}

EXPECTED: dict[str, dict[str, int]] = {
    "GET /health/live": {},  # {}: everyone
    "HEAD /health/live": {},
    "GET /health/ready": {},
    "HEAD /health/ready": {},
    "GET /openapi.json": ALL,
    "GET /metrics": ALL,
    "GET /node": ALL,
    "GET /workers": ALL,
    "GET /deployments": ALL,
    "GET /deployments/{build_id}": ALL,
    "GET /deployments/{build_id}/logs": ALL,
    "GET /secrets/{name}": ALL,
    "POST /activate": MATCHING,
    "POST /rollback": MATCHING,
    "POST /prune": MATCHING,
    "PUT /bundles/{sha256}": DEPLOYERS,
    "PUT /secrets/{name}/{key}": MATCHING,
    "DELETE /secrets/{name}/{key}": MATCHING,
    "POST /deployments/{build_id}/release": MATCHING,
    "POST /workers/restart": ADMIN,
    "GET /tokens": ADMIN,
    "POST /tokens": ADMIN,
    "DELETE /tokens/{token_id}": ADMIN,
    "GET /audit": ADMIN,
    "GET /cluster": NO_CLUSTER,
    "POST /cluster/nodes/{node}/drain": NO_CLUSTER_FOR_ADMINS,
    "POST /cluster/nodes/{node}/activate": NO_CLUSTER_FOR_ADMINS,
    "DELETE /cluster/nodes/{node}": NO_CLUSTER_FOR_ADMINS,
    "POST /cluster/grow": NO_CLUSTER_FOR_ADMINS,
}


class World:
    """A manager with two versions of `shop`, a secret of it, and a token for each kind of caller."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.build_id = ""
        self.headers: dict[str, dict[str, str]] = {}

    async def prepare(self) -> None:
        await self.manager.activate("1", "shop", "shop")
        self.build_id = (await self.manager.activate("2", "shop", "shop")).build_id
        scopes = {"read": "read", "deploys it": "deploy:sh*", "deploys another": "deploy:shop-*"}
        tokens = {caller: self.make(scope) for caller, scope in scopes.items()}
        tokens["expired"] = self.make("admin", timedelta(minutes=1))
        self.manager.clock.now += timedelta(minutes=1)
        tokens["revoked"] = self.make("admin")
        self.manager.guard.tokens.revoke(tokens["revoked"].split("_")[1])
        tokens["wrong"] = f"gridiron_{tokens['read'].split('_')[1]}_{'0' * 64}"
        tokens["admin"] = read_token(self.manager.guard.tokens.admin_file)
        self.headers = {caller: {"authorization": f"Bearer {text}"} for caller, text in tokens.items()}
        self.headers["none"] = {"authorization": ""}

    def make(self, scope: str, lifetime: timedelta | None = None) -> str:
        tokens, now = self.manager.guard.tokens, self.manager.clock()
        return tokens.create("test", (parse_scope(scope),), lifetime, now).text

    async def request(self, client: httpx2.AsyncClient, route: str, caller: str) -> httpx2.Response:
        """Send a request that succeeds where it is allowed, however often it is sent."""
        if route == "DELETE /secrets/{name}/{key}":
            await client.put("/secrets/shop/A", json={"value": "x"}, headers=self.headers["admin"])
        token_id = self.make("read").split("_")[1]
        method, path = route.split()
        given = {"build_id": self.build_id, "name": "shop", "key": "A", "sha256": SHA256, "node": "n1"}
        path = path.format(**given, token_id=token_id)
        headers = {key: value for key, value in self.headers[caller].items() if value}
        if not headers:
            del client.headers["authorization"]
        body = self.bodies().get(route)
        content = ARCHIVE if route.startswith("PUT /bundles") else None
        return await client.request(method, path, json=body, content=content, headers=headers)

    def bodies(self) -> dict[str, Any]:
        source = self.manager.bundle("// offers shop")
        return {
            "POST /activate": {"source": source, "name": "shop", "version": "3", "dry_run": True},
            "POST /rollback": {"name": "shop"},
            "POST /prune": {"build_id": self.build_id, "force": True, "dry_run": True},
            "PUT /secrets/{name}/{key}": {"value": "x"},
            "POST /tokens": {"name": "new", "scopes": ["read"]},
        }


@pytest.fixture
async def world(manager: Manager) -> World:
    world = World(manager)
    await world.prepare()
    return world


def test_the_table_has_every_endpoint() -> None:
    assert EXPECTED.keys() == NEEDS.keys()


async def test_the_app_has_no_other_endpoints(manager: Manager) -> None:
    async with manager.serve() as client:
        app = client._transport.app  # type: ignore[attr-defined]
    routes = {f"{method} {route.path}": route for route in app.routes for method in route.methods}
    assert routes.keys() == EXPECTED.keys()
    assert all(isinstance(route, GuardedRoute) for route in routes.values())


def test_an_endpoint_that_says_not_what_it_needs_cannot_be_added() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.route_class = GuardedRoute
    with pytest.raises(KeyError, match="GET /backdoor"):
        app.get("/backdoor")(lambda: None)


@pytest.mark.parametrize("route", EXPECTED)
async def test_each_endpoint_is_for_those_who_have_its_scope(world: World, route: str) -> None:
    answers = {}
    for caller in CALLERS:
        async with world.manager.serve() as client:
            answers[caller] = await world.request(client, route, caller)
    expected = EXPECTED[route] or dict.fromkeys(CALLERS, 200)
    expected = {**dict.fromkeys((*NO_TOKEN, *NOT_GOOD), 401), **expected}
    let_in = {200, 201, 503 if route.endswith(" /health/ready") else 200}  # no node is there
    statuses = {
        caller: 200 if (it := answer.status_code) in let_in else it for caller, answer in answers.items()
    }
    assert statuses == expected, {caller: answer.text for caller, answer in answers.items()}
    codes = {
        caller: answer.json()["code"]
        for caller, answer in answers.items()
        if answer.status_code in {401, 403}
    }
    refused = {401: "token_invalid", 403: "scope_missing"}
    wanted = {caller: refused[status] for caller, status in expected.items() if status in refused}
    named = {"none": "token_missing", "expired": "token_expired"}
    assert codes == {**wanted, **{caller: code for caller, code in named.items() if caller in wanted}}
    for caller, answer in answers.items():
        assert answer.headers.get("www-authenticate", "").startswith("Bearer") is (expected[caller] == 401)
    entries, _ = world.manager.guard.audit.fetch_page(None, 1000)
    own = [entry for entry in entries if f"{entry.method} {entry.route}" == route]
    done = sum(status == 200 for status in expected.values())
    events = sorted(entry.event for entry in own)
    changes = [] if route.startswith(("GET", "HEAD")) else ["began"] * done + ["done"] * done
    assert events == sorted([*changes, *["refused"] * sum(status in refused for status in expected.values())])


async def test_the_description_tells_how_to_log_in(manager: Manager) -> None:
    async with manager.serve() as client:
        described = (await client.get("/openapi.json")).json()
    assert described["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for path, operations in described["paths"].items():
        for operation in operations.values():
            opened = path.startswith("/health/")
            assert operation.get("security") == (None if opened else [{"bearer": []}]), path
            assert ({"401", "403"} <= operation["responses"].keys()) is not opened, path
            assert "429" in operation["responses"], path


async def refusal(world: World, caller: str, **request: Any) -> str:
    """Give the code of a refused activation."""
    body = {"name": "shop", "version": "9", **request}
    async with world.manager.serve() as client:
        answer = await client.post("/activate", json=body, headers=world.headers[caller])
    return str(answer.json().get("code", answer.json().get("outcome")))


async def test_a_deployer_takes_no_service_over_from_names_that_are_not_his(world: World) -> None:
    await world.manager.activate("1", "other", "other")
    source = world.manager.bundle("// offers shop other")
    assert await refusal(world, "deploys it", source=source) == "service_taken"
    assert await refusal(world, "deploys it", source=source, takeover=True) == "takeover_forbidden"
    async with world.manager.serve() as client:
        body = {"source": source, "name": "shop", "version": "9", "takeover": True, "dry_run": True}
        dry = await client.post("/activate", json=body, headers=world.headers["deploys it"])
    assert [each["code"] for each in dry.json()["refusals"]] == ["takeover_forbidden"]
    both = world.make("deploy:*")
    world.headers["both"] = {"authorization": f"Bearer {both}"}
    assert await refusal(world, "both", source=source, takeover=True) == "activated"


async def test_a_deployer_names_no_build_of_another(world: World) -> None:
    other = (await world.manager.activate("1", "other", "other")).build_id
    async with world.manager.serve() as client:
        headers = world.headers["deploys it"]
        answers = [
            await client.post("/prune", json={"build_id": other, "force": True}, headers=headers),
            await client.post("/prune", json={}, headers=headers),
            await client.post(f"/deployments/{other}/release", headers=headers),
            await client.post("/prune", json={"build_id": "ghost-1-1"}, headers=headers),
        ]
        rolled = await client.post("/rollback", json={"name": "shop", "build_id": other}, headers=headers)
    assert [answer.json()["code"] for answer in answers] == [*["scope_missing"] * 3, "build_not_found"]
    assert rolled.json()["code"] == "build_not_found"


@pytest.mark.parametrize(
    ("roots", "anywhere", "caller", "code"),
    [
        ("", True, "admin", "activated"),
        ("", True, "deploys it", "source_outside_roots"),
        ("", False, "admin", "source_outside_roots"),
        ("/", False, "deploys it", "activated"),
    ],
)
async def test_files_of_the_node_are_for_its_admins_or_below_its_roots(
    tmp_path: Path, roots: str, anywhere: bool, caller: str, code: str
) -> None:
    world = World(Manager(tmp_path, make_settings(tmp_path, source_roots="/")))
    await world.prepare()
    settings = make_settings(tmp_path, source_roots=roots, source_anywhere=anywhere)
    world.manager = Manager(
        tmp_path, settings, world.manager.restate, world.manager.cells, world.manager.clock
    )
    assert await refusal(world, caller, source=world.manager.bundle("// offers shop 3")) == code


async def test_nothing_of_what_the_node_keeps_to_itself_becomes_a_bundle(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "identity.pem"
    key.parent.mkdir()
    world = World(Manager(tmp_path, make_settings(tmp_path, identity_key=key)))
    await world.prepare()
    settings = world.manager.settings
    (settings.manager_state_dir / "index.js").write_text("export default {}")
    (world.manager.directory / "link").symlink_to(settings.secrets_dir)
    for path in (
        settings.manager_state_dir,
        settings.manager_state_dir / "admin.token",
        settings.data_dir,
        settings.secrets_dir / "key",
        key.parent,
        world.manager.directory / "link",
        Path("/"),
    ):
        assert await refusal(world, "admin", source=path.as_uri()) == "source_private", path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8081"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "[::1]:8081"}, 200),
        ({"host": "rebound.example:8081"}, 401),
        ({"host": "localhost.rebound.example"}, 401),
        ({"host": ""}, 401),
        ({"host": "[x"}, 401),
        ({"host": "localhost:8081", "origin": "http://[x"}, 401),
        ({"host": "localhost:8081", "origin": "http://localhost:8081"}, 200),
        ({"host": "localhost:8081", "origin": "https://page.example"}, 401),
        ({"host": "localhost:8081", "origin": "null"}, 401),
        ({"host": "localhost:8081", "authorization": "Bearer nonsense"}, 401),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.7"])
async def test_this_machine_needs_no_token_where_a_setting_says_so(
    tmp_path: Path, headers: dict[str, str], status: int, address: str
) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, open_loopback=True))
    async with manager.serve(address) as client:
        del client.headers["authorization"]
        answer = await client.post("/workers/restart", headers=headers)
    assert answer.status_code == (status if address == "127.0.0.1" else 401)
    if answer.is_success:
        entry = manager.guard.audit.fetch_page(None, 1)[0][0]
        assert (entry.token, entry.name, entry.address) == (None, "loopback", "127.0.0.1")


async def test_this_machine_needs_a_token_where_no_setting_says_otherwise(manager: Manager) -> None:
    async with manager.serve() as client:
        del client.headers["authorization"]
        answer = await client.get("/deployments", headers={"host": "localhost"})
    assert answer.json()["code"] == "token_missing"


async def test_a_client_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, request_rate=0.1, request_burst=2))
    async with manager.serve() as client:
        answers = [await client.get("/deployments") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert (answers[2].json()["code"], answers[2].headers["retry-after"]) == ("rate_exceeded", "10")
        del client.headers["authorization"]  # nobody's requests are not the admin's
        answers = [await client.get("/deployments") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        answers = [await client.get("/health/live") for _ in range(3)]  # and probes are neither's
        assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_requests_that_no_endpoint_answers_are_counted_too(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, request_rate=0.1, request_burst=2))
    async with manager.serve() as client:
        answers = [await client.request(*what) for what in (("GET", "/x"), ("PUT", "/node"), ("GET", "/x"))]
        own = await client.get("/node")
    assert [answer.status_code for answer in answers] == [404, 405, 429]
    assert (answers[2].json()["code"], answers[2].headers["retry-after"]) == ("rate_exceeded", "10")
    assert own.status_code == 200  # they are the address's, not the token's


async def test_a_flood_of_refusals_is_not_all_written_down(manager: Manager) -> None:
    async with manager.serve() as client:
        del client.headers["authorization"]
        for _ in range(25):
            await client.get("/deployments")
        manager.guard.refusals = Rates(1, 1)  # as if a while had passed
        await client.get("/deployments")
    entries, _ = manager.guard.audit.fetch_page(None, 100)
    assert [entry.left_out for entry in entries] == [5] + [0] * 20


async def test_refusals_that_could_not_be_written_down_are_counted(manager: Manager) -> None:
    path = manager.settings.manager_state_dir / "audit.jsonl"
    path.mkdir()
    async with manager.serve() as client:
        del client.headers["authorization"]
        for _ in range(3):
            await client.get("/deployments")
        path.rmdir()
        await client.get("/deployments")
    assert [each["left_out"] for each in lines(manager)] == [3]


def lines(manager: Manager) -> list[dict[str, Any]]:
    text = (manager.settings.manager_state_dir / "audit.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


async def test_a_change_is_written_down_before_and_after(manager: Manager) -> None:
    async with manager.serve() as client:
        body = {"source": manager.bundle("// offers shop"), "name": "shop", "version": "1"}
        build_id = (await client.post("/activate", json=body)).json()["build_id"]
        await client.put("/secrets/shop/TOKEN", json={"value": "hunter2"})
        await client.post("/rollback", json={"name": "ghost"})
        await client.post("/prune", json={"build_id": build_id})
    seen = [(each["event"], each["route"], each["about"], each.get("code")) for each in lines(manager)]
    about = {"name": "shop", "version": "1", "source": body["source"]}
    secret = {"name": "shop", "key": "TOKEN"}
    assert seen == [
        ("began", "/activate", about, None),
        ("done", "/activate", {**about, "build_id": build_id}, None),
        ("began", "/secrets/{name}/{key}", secret, None),
        ("done", "/secrets/{name}/{key}", secret, None),
        ("began", "/rollback", {"name": "ghost"}, None),
        ("failed", "/rollback", {"name": "ghost"}, "nothing_to_roll_back_to"),
        ("began", "/prune", {"build_id": build_id}, None),
        ("done", "/prune", {"build_id": build_id, "pruned": build_id}, None),
    ]
    assert {(each["name"], each["address"]) for each in lines(manager)} == {("admin.token", "127.0.0.1")}


async def test_how_a_change_was_asked_for_is_written_down(manager: Manager) -> None:
    builds = [(await manager.activate(version, "shop", "shop")).build_id for version in "1234"]
    asked = {"source": manager.bundle("// offers shop 5"), "name": "shop", "version": "5"}
    async with manager.serve() as client:
        for prune in ({"build_id": builds[-1], "force": True, "dry_run": True}, {"dry_run": True}, {}):
            assert (await client.post("/prune", json=prune)).status_code == 200
        flags = {"breaking": True, "takeover": True, "dry_run": True}
        assert (await client.post("/activate", json={**asked, **flags})).status_code == 200
    done = [each["about"] for each in lines(manager) if each["event"] == "done"]
    every = {"build_id": "all that are drained"}
    assert done[:3] == [
        {"build_id": builds[-1], "force": "yes", "dry_run": "yes"},
        {**every, "dry_run": "yes"},
        {**every, "pruned": " ".join(builds[:-1])},
    ]
    assert {key: done[3].get(key) for key in flags} == dict.fromkeys(flags, "yes")


async def test_every_scope_of_a_new_token_is_written_down_and_a_cut_is_marked(manager: Manager) -> None:
    scopes = [f"deploy:{'a' * 63}"] * 99 + ["admin"]
    async with manager.serve() as client:
        await client.post("/tokens", json={"name": "ci", "scopes": scopes})
        long = {"source": f"file:///{'a' * 20_000}", "name": "shop", "version": "1"}
        await client.post("/activate", json=long)
        del client.headers["authorization"]
        await client.get(f"/deployments/{'a' * 1000}")
    made, failed, refused = (each["about"] for each in lines(manager) if each["event"] != "began")
    assert made["scopes"] == " ".join(scopes)
    assert failed["source"] == f"{long['source'][: 16 * 1024]}…"
    assert refused["build_id"] == f"{'a' * 256}…"


async def test_a_token_that_is_sent_as_an_id_is_kept_nowhere(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    text = world.make("read")
    _, token_id, secret = text.split("_")
    async with world.manager.serve() as client:
        answers = [
            await client.delete(f"/tokens/{text}", headers=world.headers["read"]),  # refused
            await client.delete(f"/tokens/{text[:-1]}", headers=world.headers["read"]),
            await client.delete(f"/tokens/{text[:-1]}"),
            await client.delete(f"/tokens/{text}"),
            await client.delete(f"/tokens/{text}"),
            await client.get(f"/deployments/{text}"),
            await client.post("/prune", json={"build_id": text}),
        ]
    statuses = [403, 403, 422, 200, 404, 404, 404]
    assert [answer.status_code for answer in answers] == statuses
    assert [answer.text for answer in answers[:5] if secret[:16] in answer.text] == []
    written = [(each["event"], each["about"]) for each in lines(world.manager)]
    named, hidden = {"token_id": token_id}, {"build_id": f"gridiron_{token_id}_…"}
    assert written == [
        ("refused", named),
        ("refused", {"token_id": "…"}),
        *(("began", named), ("done", named), ("began", named), ("failed", named)),
        *(("began", hidden), ("failed", hidden)),
    ]
    assert secret[:16] not in capsys.readouterr().out


async def test_a_text_that_no_file_can_hold_is_refused(manager: Manager) -> None:
    activate, half = {"source": "file:///x", "name": "shop", "version": "1"}, "\ud800"
    async with manager.serve() as client:
        for path, body in (
            ("/activate", {**activate, "source": f"file:///{half}"}),
            ("/activate", {**activate, "name": half}),
            ("/activate", {**activate, "version": half}),
            ("/rollback", {"name": "shop", "build_id": half}),
            ("/prune", {"build_id": half}),
            ("/tokens", {"name": half, "scopes": ["read"]}),
            ("/tokens", {"name": "ci", "scopes": [half]}),
            ("/tokens", {"name": "ci", "scopes": ["read"], "expires": half}),
        ):
            content = json.dumps(body)  # with the half as an escape
            answer = await client.post(path, content=content, headers={"content-type": "application/json"})
            assert answer.status_code == 422, (path, body, answer.text)
    assert not (manager.settings.manager_state_dir / "audit.jsonl").exists()


async def test_an_activation_that_is_followed_is_written_down_when_it_ends(manager: Manager) -> None:
    async with manager.serve() as client:
        body = {"source": manager.bundle("// offers shop"), "name": "shop", "version": "1"}
        answer = await client.post("/activate", json=body, headers={"accept": "text/event-stream"})
        again = {**body, "source": "file:///nowhere"}
        failed = await client.post("/activate", json=again, headers={"accept": "text/event-stream"})
        denied = {**body, "name": "other"}
        token = manager.guard.tokens.create("ci", (parse_scope("deploy:shop"),), None, manager.clock()).text
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}"}
        refused = await client.post("/activate", json=denied, headers=headers)
    assert "event: activated" in answer.text
    assert "event: problem" in failed.text
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert [(each["event"], each.get("code")) for each in lines(manager)] == [
        *(("began", None), ("done", None), ("began", None), ("failed", "source_missing")),
        ("refused", "scope_missing"),
    ]


async def test_what_cannot_be_written_down_is_not_done(manager: Manager) -> None:
    (manager.settings.manager_state_dir / "audit.jsonl").mkdir()
    async with manager.serve() as client:
        body = {"source": manager.bundle("// offers shop"), "name": "shop", "version": "1"}
        refused = await client.post("/activate", json=body)
        made = await client.post("/tokens", json={"name": "new", "scopes": ["read"]})
        read = await client.get("/deployments")
        denied = await client.get("/deployments", headers={"authorization": "Bearer x"})
    assert [(each.status_code, each.json()["code"]) for each in (refused, made)] == [
        (500, "audit_unavailable")
    ] * 2
    assert (read.status_code, read.json()["deployments"]) == (200, [])
    assert (denied.status_code, denied.json()["code"]) == (401, "token_invalid")
    assert manager.stored == []
    assert [token.name for token in manager.guard.tokens.tokens] == ["admin.token"]


async def test_tokens_are_made_listed_and_revoked(manager: Manager) -> None:
    async with manager.serve() as client:
        body = {"name": "ci", "scopes": ["deploy:shop-*", "read"], "expires": "1h"}
        created = await client.post("/tokens", json=body)
        assert (created.status_code, created.headers["cache-control"]) == (201, "no-store")
        token, text = created.json()["token"], created.json()["text"]
        assert {key: token[key] for key in ("name", "scopes", "expires_at", "expired")} == {
            "name": "ci",
            "scopes": ["deploy:shop-*", "read"],
            "expires_at": "2026-11-01T13:00:00Z",
            "expired": False,
        }
        listed = await client.get("/tokens")
        assert listed.json()["tokens"][1] == token
        assert text not in listed.text
        manager.clock.now += timedelta(hours=1)
        assert (await client.get("/tokens")).json()["tokens"][1]["expired"]
        assert (await client.delete(f"/tokens/{token['id']}")).json()["id"] == token["id"]
        assert (await client.delete(f"/tokens/{token['id']}")).json()["code"] == "token_not_found"
        for wrong, code in (
            ({"name": "Ci"}, "token_name_invalid"),
            ({"scopes": ["all"]}, "scope_invalid"),
            ({"expires": "soon"}, "lifetime_invalid"),
            ({"scopes": []}, "request_invalid"),
        ):
            answer = await client.post("/tokens", json={**body, **wrong})
            assert (answer.status_code, answer.json()["code"]) == (422, code)
        page = (await client.get("/audit", params={"limit": 1})).json()
        assert page["entries"][0]["code"] == "token_not_found"
        older = (await client.get("/audit", params={"limit": 1, "cursor": page["next"]})).json()
        assert older["entries"][0]["event"] == "began"
    assert text.rsplit("_", 1)[1] not in (manager.settings.manager_state_dir / "audit.jsonl").read_text()


async def test_a_token_that_nobody_knows_yet_is_looked_for_once(manager: Manager) -> None:
    made: list[str] = []
    looks: list[int] = []

    async def look() -> None:
        looks.append(len(made))
        if not made:  # as another node of a cluster does
            made.append(manager.guard.tokens.create("ci", (parse_scope("read"),), None, manager.clock()).text)

    manager.guard.look = look
    unknown = f"gridiron_00000000_{'0' * 64}"
    async with manager.serve() as client:

        async def status(text: str) -> int:
            answer = await client.get("/deployments", headers={"authorization": f"Bearer {text}"})
            return answer.status_code

        assert await status(unknown) == 401
        assert looks == [0]
        assert await status(made[0]) == 200
        assert await status("no token") == 401
        assert looks == [0]
        assert await status(unknown) == 401
        assert looks == [0, 1]
