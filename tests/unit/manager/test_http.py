"""What only the HTTP side of the manager does: uploads, events, problems."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.manager.api import EVENTS_MEDIA_TYPE
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.app import Control, make_app
from tests.unit.manager.conftest import Manager, make_settings


@asynccontextmanager
async def serve(manager: Manager) -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client of the manager's app."""
    control = Control(manager.activator, manager.loop, manager.deployments, manager.logs)
    async with asyncio.TaskGroup() as tasks, httpx2.AsyncClient() as outside:
        app = make_app(manager.context, control, HealthChecker(manager.context, outside), tasks)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://manager.test") as client:
            yield client


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
    async with serve(manager) as client:
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
    async with serve(manager) as client:
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

    async with serve(manager) as client:
        announced = await client.put(f"/bundles/{digest(content)}", content=content)
        not_announced = await client.put(f"/bundles/{digest(content)}", content=in_pieces())
    for answer in (announced, not_announced):
        assert (answer.status_code, answer.json()["code"]) == (422, "source_too_large")
    assert manager.stored == []


async def test_an_activation_tells_how_far_it_is(manager: Manager, archive: bytes, tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_bytes(archive)
    request = {"source": (tmp_path / "bundle.zip").as_uri(), "name": "demo", "version": "1"}
    async with serve(manager) as client:
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
    assert any(seen.get("done") == len(archive) for _, seen in progress) or len(archive) < 1_000_000
    assert (last, outcome["outcome"]) == ("activated", "activated")
    assert {seen["build_id"] for _, seen in progress} == {stored["build_id"]}


async def test_an_activation_that_fails_ends_its_events_with_the_problem(manager: Manager) -> None:
    request = {"source": "file:///nowhere/at/all", "name": "demo", "version": "1"}
    async with serve(manager) as client:
        answer = await client.post("/activate", json=request, headers={"accept": EVENTS_MEDIA_TYPE})
        plain = await client.post("/activate", json=request)
    *_, (last, problem) = read_events(answer.text)
    assert last == "problem"
    assert (problem["code"], problem["step"]) == ("source_missing", "stage")
    assert plain.json()["code"] == "source_missing"
    assert plain.status_code == problem["status"] == 422
