"""What only the HTTP side of the manager does: uploads, events, problems."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gridiron.manager.api import EVENTS_MEDIA_TYPE
from gridiron.manager.http.bodies import MAX_BODY
from tests.unit.manager.conftest import Manager, make_settings


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    directory = tmp_path / "packed"
    directory.mkdir()
    (directory / "index.js").write_text("// offers demo")
    return Path(shutil.make_archive(str(tmp_path / "packed"), "zip", directory)).read_bytes()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.strip().split("\n\n")]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in blocks]


async def test_an_archive_is_sent_and_activated(manager: Manager, archive: bytes) -> None:
    sha256 = digest(archive)
    async with manager.serve() as client:
        first = await client.put(f"/bundles/{sha256}", content=archive)
        second = await client.put(f"/bundles/{sha256}", content=archive)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() == {"sha256": sha256, "source": f"bundle:{sha256}"}
        request = {"source": first.json()["source"], "name": "demo", "version": "1", "sha256": sha256}
        activated = await client.post("/activate", json=request)
        assert (activated.status_code, activated.json()["services"]) == (201, ["demo"])
        again = await client.post("/activate", json=request)
        assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
        view = (await client.get(f"/deployments/{activated.json()['build_id']}")).json()
        assert (view["archive_sha256"], view["source"]) == (sha256, f"bundle:{sha256}")


@pytest.mark.parametrize(("sha256", "code"), [("0" * 64, "digest_mismatch"), ("abc", "request_invalid")])
async def test_what_is_not_what_its_address_says_is_refused(
    manager: Manager, archive: bytes, sha256: str, code: str
) -> None:
    async with manager.serve() as client:
        answer = await client.put(f"/bundles/{sha256}", content=archive)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert manager.stored == []


async def test_an_archive_that_is_too_large_is_refused(tmp_path: Path) -> None:
    manager = Manager(tmp_path, make_settings(tmp_path, source_mib=1))
    content = bytes(1024 * 1024 + 1)

    async def in_pieces() -> AsyncIterator[bytes]:  # of which nobody announces how many there will be
        for start in range(0, len(content), 100_000):
            yield content[start : start + 100_000]

    async with manager.serve() as client:
        announced = await client.put(f"/bundles/{digest(content)}", content=content)
        not_announced = await client.put(f"/bundles/{digest(content)}", content=in_pieces())
    for answer in (announced, not_announced):
        assert (answer.status_code, answer.json()["code"]) == (422, "source_too_large")
    assert manager.stored == []


async def test_an_activation_tells_how_far_it_is(manager: Manager, archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(archive)
    request = {"source": (tmp_path / "bundle.zip").as_uri(), "name": "demo", "version": "1"}
    async with manager.serve() as client:
        answer = await client.post("/activate", json=request, headers={"accept": EVENTS_MEDIA_TYPE})
        assert answer.headers["content-type"].startswith(EVENTS_MEDIA_TYPE)
        *progress, (last, outcome) = read_events(answer.text)
        stored = (await client.get(f"/deployments/{outcome['build_id']}")).json()
    assert {kind for kind, _ in progress} == {"progress"}
    assert list(dict.fromkeys(seen["step"] for _, seen in progress)) == [
        "stage",
        "check",
        "store",
        "discover",
        "compare",
        "register",
    ]
    assert any(seen["step"] == "stage" and seen.get("done") is not None for _, seen in progress)
    assert (last, outcome["outcome"]) == ("activated", "activated")
    assert {seen["build_id"] for _, seen in progress} == {stored["build_id"]}


async def test_an_activation_that_fails_ends_its_events_with_the_problem(manager: Manager) -> None:
    request = {"source": "file:///nowhere/at/all", "name": "demo", "version": "1"}
    async with manager.serve() as client:
        answer = await client.post("/activate", json=request, headers={"accept": EVENTS_MEDIA_TYPE})
        plain = await client.post("/activate", json=request)
    *_, (last, problem) = read_events(answer.text)
    assert last == "problem"
    assert (problem["code"], problem["step"]) == ("source_missing", "stage")
    assert plain.json()["code"] == "source_missing"
    assert plain.status_code == problem["status"] == 422


async def test_a_body_of_json_is_not_read_to_its_end_where_it_is_large(manager: Manager) -> None:
    body = json.dumps({"source": "file:///", "name": "demo", "version": "1", "vars": {"A": "x" * MAX_BODY}})

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000].encode()

    async with manager.serve() as client:
        headers = {"content-type": "application/json"}
        for path in ("/activate", "/rollback", "/prune"):
            for content in (body, in_pieces()):
                answer = await client.post(path, content=content, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")
        answer = await client.put("/secrets/demo/KEY", content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/activate", '"vars": {"A": "\\ud800"}'),
        ("/activate", '"vars": {"\\ud800": ["A"]}'),
        ("/activate", '"vars": {"A": [NaN]}'),
        ("/activate", '"vars": {"A": 1e999}'),
        ("/rollback", '"build_id": "\\ud800"'),
        ("/prune", '"build_id": "\\ud800"'),
    ],
)
async def test_what_no_file_of_json_can_hold_is_refused_and_leaves_nothing(
    manager: Manager, path: str, given: str
) -> None:
    others = {"/activate": {"source": manager.bundle("// offers demo"), "version": "1"}, "/prune": None}
    known = others.get(path, {})
    fields = "{}" if known is None else json.dumps({**known, "name": "demo"})
    content = fields.removesuffix("}") + ("" if known is None else ", ") + given + "}"
    async with manager.serve() as client:
        answer = await client.post(path, content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid"), answer.text
    assert manager.stored == []
    assert list((manager.settings.bundles_dir / ".staging").iterdir()) == []


async def test_of_many_things_that_are_wrong_some_are_told(manager: Manager) -> None:
    async with manager.serve() as client:
        answer = await client.post("/prune", json={f"k{number}": 1 for number in range(1000)})
    assert answer.json()["detail"].count("Extra inputs") == 20
    assert "; and 980 more." in answer.json()["detail"]
