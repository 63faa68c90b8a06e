"""Cells open the secrets of a build with the node's key. What does not open is told, and may come back."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gridiron.bundles.paths import SEALED_FILE
from gridiron.model import Build, Compatibility
from gridiron.secrets.key import KEY_FILE, KEY_SIZE
from gridiron.secrets.rules import MAX_KEYS, MAX_VALUE
from gridiron.secrets.store import Secret, SecretStore
from tests.integration.workers.plane import Plane
from tests.integration.workers.test_router import problem_of

ECHO = "export default { fetch: (_, env) => Response.json(env) };"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def write(plane: Plane, name: str, values: Mapping[str, str], main: str = ECHO, **more: object) -> Build:
    """Store a build with secrets, as the manager does."""
    build = plane.write_build(name, main, secrets=tuple(sorted(values)), secrets_tag="x", **more)
    store = SecretStore(plane.settings.secrets_dir)
    snapshot = store.snapshot(build.build_id, name, {key: Secret(text, NOW) for key, text in values.items()})
    assert snapshot.sealed is not None
    (plane.directory(build) / SEALED_FILE).write_bytes(snapshot.sealed)
    return build


async def answer(plane: Plane, build: Build) -> object:
    response = await plane.get(build.address.path)
    return response.json() if response.status_code == 200 else problem_of(response)


def unreadable(detail: str) -> dict[str, object]:
    return {"status": 503, "code": "secrets_unreadable", "detail": detail}


DOES_NOT_OPEN = unreadable("secrets.sealed does not open with this node's key.")


async def test_secrets_are_bindings_beside_the_variables(shared_plane: Plane) -> None:
    values = {"API_KEY": "grüße \u2028 \x00 ' \" \\ 日本 𝄞", "_b": "\n", "constructor": "a", "toString": "b"}
    build = write(shared_plane, "echo", values, vars={"GREETING": "hi"})
    assert await answer(shared_plane, build) == {"GREETING": "hi", **values}
    await shared_plane.cells.unload(build.address.path)
    assert await answer(shared_plane, build) == {"GREETING": "hi", **values}


async def test_as_many_and_as_large_as_a_name_may_have(shared_plane: Plane) -> None:
    few = {"A": "a" * MAX_VALUE, "B": "ü" * (MAX_VALUE // 2)}
    assert await answer(shared_plane, write(shared_plane, "large", few)) == few
    many = {f"KEY_{number:060}": secrets.token_hex(8) for number in range(MAX_KEYS)}
    assert await answer(shared_plane, write(shared_plane, "many", many)) == many


async def test_a_build_without_secrets_needs_no_key(plane: Plane) -> None:
    (plane.settings.secrets_dir / KEY_FILE).unlink()
    assert await answer(plane, plane.write_build("plain", ECHO)) == {}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


SPOILED: dict[str, tuple[Callable[[Path], object], object]] = {
    "changed": (flip, DOES_NOT_OPEN),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:-1]), DOES_NOT_OPEN),
    "almost empty": (lambda path: path.write_bytes(b"x"), DOES_NOT_OPEN),
    "empty": (lambda path: path.write_bytes(b""), DOES_NOT_OPEN),
    "missing": (Path.unlink, unreadable("secrets.sealed is missing.")),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_spoiled_snapshot_is_told_and_helps_at_once_when_restored(
    shared_plane: Plane, how: str
) -> None:
    spoil, told = SPOILED[how]
    build = write(shared_plane, "spoiled", {"A": "a"})
    path = shared_plane.directory(build) / SEALED_FILE
    whole = path.read_bytes()
    spoil(path)
    assert [await answer(shared_plane, build) for _ in range(3)] == [told] * 3
    path.write_bytes(whole)
    assert await answer(shared_plane, build) == {"A": "a"}


async def test_the_snapshot_of_another_build_does_not_open(shared_plane: Plane) -> None:
    one, other = (write(shared_plane, "exchanged", {"A": value}) for value in "ab")
    content = (shared_plane.directory(one) / SEALED_FILE).read_bytes()
    (shared_plane.directory(other) / SEALED_FILE).write_bytes(content)
    assert (await answer(shared_plane, one), await answer(shared_plane, other)) == ({"A": "a"}, DOES_NOT_OPEN)


async def test_a_lost_key_is_told_and_helps_at_once_when_restored(plane: Plane) -> None:
    loaded, build = (write(plane, name, {"A": "a"}) for name in ("loaded", "later"))
    assert await answer(plane, loaded) == {"A": "a"}
    path = plane.settings.secrets_dir / KEY_FILE
    key = path.read_bytes()
    path.unlink()
    missing = unreadable("The node's key is missing.")
    assert [await answer(plane, build) for _ in range(3)] == [missing] * 3
    assert await answer(plane, loaded) == {"A": "a"}  # what is loaded goes on
    path.write_bytes(secrets.token_bytes(KEY_SIZE))
    assert await answer(plane, build) == DOES_NOT_OPEN
    path.write_bytes(b"short")
    assert await answer(plane, build) == DOES_NOT_OPEN
    path.write_bytes(key)
    assert await answer(plane, build) == {"A": "a"}
    assert "secrets_unreadable" not in plane.output


def test_workers_refuse_a_key_that_others_can_read(make_plane: Callable[..., Plane]) -> None:
    plane = make_plane()
    plane.start()
    plane.stop()
    (plane.settings.secrets_dir / KEY_FILE).chmod(0o604)
    assert plane.launch().wait(30) == 1
    assert "[secret_key_invalid]" in plane.output.splitlines()[-1]


LOOKING = Path(__file__).with_name("looking.js").read_text()


async def test_no_bundle_reaches_the_secrets_of_the_node(shared_plane: Plane) -> None:
    """Neither by the router's bindings and services, nor as files or modules."""
    value = secrets.token_hex(16)
    victim = write(shared_plane, "victim", {"TOKEN": value})
    key = (shared_plane.settings.secrets_dir / KEY_FILE).read_bytes()
    sealed = (shared_plane.directory(victim) / SEALED_FILE).read_bytes()
    nodejs = Compatibility(flags=("nodejs_compat",))
    looking = write(shared_plane, "looking", {"OWN": "own"}, LOOKING, compatibility=nodejs)
    bundles, room = shared_plane.settings.bundles_dir, shared_plane.settings.secrets_dir
    files = [f"{room}/key", f"{bundles}/{victim.build_id}/{SEALED_FILE}", "/key", f"/bundle/{SEALED_FILE}"]
    modules = ["SECRETS", "secrets", "./key", f"./{SEALED_FILE}", "secrets:key", f"file://{room}/key"]
    async with shared_plane.client() as client:
        response = await client.post(looking.address.path, json={"files": files, "modules": modules})
    seen = response.json()
    assert (seen["env"], seen["imported_env"]) == ({"OWN": "own"}, {"OWN": "own"})
    for look in ("files", "modules", "required", "required_at_root"):
        assert all(str(found).startswith("refused") for found in seen[look].values()), seen[look]
    everything = json.dumps(seen)
    assert not any(each in everything for each in (value, key.hex(), sealed.hex(), "BUNDLES", "LOADER"))
    fetcher = """
        export default { async fetch(request) {
          const read = (answer) => answer.text();
          const tried = (url) => fetch(url).then(read).catch((error) => `refused: ${error}`);
          return Response.json(await Promise.all((await request.json()).map(tried)));
        } };
    """
    urls = [
        "http://secrets/key",
        f"http://bundles/{victim.build_id}/{SEALED_FILE}",
        f"http://bundles/{victim.build_id}/metadata.json",
        f"file://{room}/key",
    ]
    build = shared_plane.write_build("fetcher", fetcher)
    async with shared_plane.client() as client:
        answers = (await client.post(build.address.path, json=urls)).json()
    assert all(each.startswith("refused: ") for each in answers), answers


async def test_no_caller_reaches_the_secrets_of_the_node(shared_plane: Plane) -> None:
    victim = write(
        shared_plane, "called", {"TOKEN": "t"}, "export default { fetch: () => new Response('x') };"
    )
    paths = ["/secrets/key", "/key", f"/{victim.build_id}/{SEALED_FILE}", "/bundles/key", "/..%2fsecrets/key"]
    for path in paths:
        response = await shared_plane.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "build_not_found"), path


def test_the_key_is_the_nodes_alone(shared_plane: Plane) -> None:
    directory = shared_plane.settings.secrets_dir
    modes = [oct(os.stat(path).st_mode & 0o777) for path in (directory, directory / KEY_FILE)]  # noqa: PTH116
    assert modes == ["0o700", "0o600"]
    assert len((directory / KEY_FILE).read_bytes()) == KEY_SIZE
