"""Only what this node's Restate has signed, for the very path and time, reaches a build."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gridiron.ed25519 import parse_private_key
from gridiron.identity.accepted import kid_of
from gridiron.identity.store import ACCEPTED_FILE, PUBLIC_DIRECTORY, IdentityStore
from gridiron.model import Build
from gridiron.testing.signing import make_token, sign_token
from gridiron.workers.cells import Cells
from gridiron.workers.control import ask_once
from gridiron.workers.sockets import control_socket, list_cells
from tests.integration.workers.plane import Plane, eventually, running
from tests.integration.workers.test_router import problem_of

SCHEME, TOKEN = "x-restate-signature-scheme", "x-restate-jwt-v1"
PATH = "/invoke/greeter/greet"
HELLO = "export default { fetch: () => new Response('hello') };"
FOREIGN = Ed25519PrivateKey.generate()


def key_of(plane: Plane) -> Ed25519PrivateKey:
    path = plane.identity.signing_key
    return parse_private_key(str(path), path.read_bytes())


def accepted_of(plane: Plane) -> Path:
    return plane.settings.identity_dir / PUBLIC_DIRECTORY / ACCEPTED_FILE


async def send(
    plane: Plane, build: Build, headers: Mapping[str, str] | list[tuple[str, str]], path: str = PATH
) -> httpx2.Response:
    """Send a request that carries these headers and no others of Restate's."""
    async with plane.client(auth=None) as client:
        return await client.post(build.address.path + path, headers=headers)


async def code_of(plane: Plane, build: Build, token: str, path: str = PATH) -> str:
    """The code of the refusal of a request with a token; `hello` where it is not refused."""
    response = await send(plane, build, {SCHEME: "v1", TOKEN: token}, path)
    return str(problem_of(response)["code"]) if response.status_code != 200 else response.text


async def count_refused(plane: Plane) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in list_cells(plane.run_dir):
        answer = await ask_once(plane.run_dir / control_socket(cell), "GET", "/builds")
        assert answer is not None
        for code, count in answer["refused"].items():
            counts[code] = counts.get(code, 0) + count
    return counts


def header_of(key: Ed25519PrivateKey, **other: object) -> dict[str, object]:
    return {"typ": "JWT", "alg": "EdDSA", "kid": kid_of(key.public_key()), **other}


def claims_of(**other: object) -> dict[str, object]:
    now = int(time.time())
    return {"aud": PATH, "nbf": now - 60, "iat": now, "exp": now + 60, **other}


def changed(token: str, part: int) -> str:
    """The token with one character of a part changed."""
    parts = token.split(".")
    parts[part] = ("B" if parts[part][0] == "A" else "A") + parts[part][1:]
    return ".".join(parts)


Forge = Callable[[Ed25519PrivateKey], str]
INVALID: dict[str, Forge] = {
    "of a foreign key": lambda _: make_token(FOREIGN, PATH),
    "of a foreign key in the name of ours": lambda key: sign_token(FOREIGN, header_of(key), claims_of()),
    "of ours in the name of none": lambda key: sign_token(key, {"alg": "EdDSA"}, claims_of()),
    "alg none": lambda key: sign_token(key, header_of(key, alg="none"), claims_of()).rpartition(".")[0] + ".",
    "alg HS256": lambda key: sign_token(key, header_of(key, alg="HS256"), claims_of()),
    "another header": lambda key: changed(make_token(key, PATH), 0),
    "another payload": lambda key: changed(make_token(key, PATH), 1),
    "another signature": lambda key: changed(make_token(key, PATH), 2),
    "no signature": lambda key: make_token(key, PATH).rpartition(".")[0],
    "an empty signature": lambda key: make_token(key, PATH).rpartition(".")[0] + ".",
    "a part too many": lambda key: make_token(key, PATH) + ".x",
    "a claim of another type": lambda key: sign_token(key, header_of(key), claims_of(exp="never")),
    "no audience": lambda key: sign_token(key, header_of(key), claims_of(aud=[PATH])),
    "no object": lambda key: sign_token(key, header_of(key), []),  # type: ignore[arg-type]
    "garbage": lambda _: "garbage",
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "a name of every object": lambda key: sign_token(key, header_of(key, kid="constructor"), claims_of()),
    "huge": lambda key: make_token(key, PATH) + "A" * 8_000,
    "twice": lambda key: f"{make_token(key, PATH)}, {make_token(key, PATH)}",
}


@pytest.mark.parametrize("how", INVALID)
async def test_a_token_that_no_accepted_key_has_signed_is_refused(shared_plane: Plane, how: str) -> None:
    build = shared_plane.write_build("hello", HELLO)
    token = INVALID[how](key_of(shared_plane))
    assert await code_of(shared_plane, build, token) == "request_signature_invalid"
    assert await code_of(shared_plane, build, make_token(key_of(shared_plane), PATH)) == "hello"


UNSIGNED: dict[str, Callable[[str], list[tuple[str, str]]]] = {
    "nothing": lambda _: [],
    "no scheme": lambda token: [(TOKEN, token)],
    "no token": lambda _: [(SCHEME, "v1")],
    "said to be unsigned": lambda token: [(SCHEME, "unsigned"), (TOKEN, token)],
    "another scheme": lambda token: [(SCHEME, "v2"), (TOKEN, token)],
    "the scheme twice": lambda token: [(SCHEME, "v1"), (SCHEME, "v1"), (TOKEN, token)],
}


@pytest.mark.parametrize("how", UNSIGNED)
async def test_what_is_not_signed_is_refused(shared_plane: Plane, how: str) -> None:
    build = shared_plane.write_build("hello", HELLO)
    headers = UNSIGNED[how](make_token(key_of(shared_plane), PATH))
    response = await send(shared_plane, build, headers)
    assert problem_of(response)["code"] == "request_unsigned"
    assert (response.status_code, response.headers["www-authenticate"]) == (401, "RestateSignature")


async def test_two_tokens_are_none(shared_plane: Plane) -> None:
    build = shared_plane.write_build("hello", HELLO)
    token = make_token(key_of(shared_plane), PATH)
    response = await send(shared_plane, build, [(SCHEME, "v1"), (TOKEN, token), (TOKEN, token)])
    assert problem_of(response)["code"] == "request_signature_invalid"


async def test_a_header_that_the_proxy_does_not_take_reaches_no_cell(shared_plane: Plane) -> None:
    build = shared_plane.write_build("hello", HELLO)
    response = await send(shared_plane, build, {SCHEME: "v1", TOKEN: "A" * 100_000})
    assert response.status_code in {400, 431}


async def test_a_token_holds_for_its_time(shared_plane: Plane) -> None:
    build = shared_plane.write_build("hello", HELLO)
    key, now = key_of(shared_plane), time.time()
    issued = {"expired": now - 61, "old": now - 50, "early": now + 65, "ahead": now + 50}
    codes = {how: await code_of(shared_plane, build, make_token(key, PATH, at)) for how, at in issued.items()}
    expected = {"expired": "request_signature_expired", "old": "hello"}
    assert codes == {**expected, "early": "request_signature_early", "ahead": "hello"}


async def test_a_token_that_was_good_is_refused_when_it_has_expired(shared_plane: Plane) -> None:
    build = shared_plane.write_build("hello", HELLO)
    claims = claims_of(exp=int(time.time()) + 2)
    token = sign_token(key_of(shared_plane), header_of(key_of(shared_plane)), claims)
    assert await code_of(shared_plane, build, token) == "hello"

    async def is_refused() -> bool:  # it is remembered, as it is used all the time
        code = await code_of(shared_plane, build, token)
        assert code in {"hello", "request_signature_expired"}
        return code != "hello"

    await eventually(is_refused, 4)
    assert time.time() >= claims["exp"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/discover", "/invoke/greeter/other", "/invoke/greeter", f"{PATH}/", f"{PATH}/more"),
        *(
            f"/more{PATH}",
            f"{PATH}?x=1",
            "/invoke/greeter/%67reet",
            "/invoke/greeter/GREET",
            "//invoke/greeter/greet",
        ),
    ],
)
async def test_a_token_for_another_path_is_refused(shared_plane: Plane, path: str) -> None:
    build = shared_plane.write_build("hello", HELLO)
    token = make_token(key_of(shared_plane), PATH)
    for _ in range(2):  # the second time it is known
        assert await code_of(shared_plane, build, token) == "hello"
        assert await code_of(shared_plane, build, token, path) == "request_signature_misdirected"


async def test_a_token_is_good_for_the_same_handler_of_another_build(shared_plane: Plane) -> None:
    """Restate does not sign the prefix: SECURITY.md says so."""
    token = make_token(key_of(shared_plane), PATH)
    for name in ("one", "other"):
        assert await code_of(shared_plane, shared_plane.write_build(name, HELLO), token) == "hello"


async def test_a_refusal_loads_no_build_is_counted_and_tells_nothing_of_builds(shared_plane: Plane) -> None:
    build = shared_plane.write_build("left-alone", HELLO)
    before = await count_refused(shared_plane)
    there = await send(shared_plane, build, {})
    missing = build.model_copy(update={"timestamp": 999_999})
    assert (await send(shared_plane, missing, {})).content == there.content
    assert await code_of(shared_plane, build, make_token(FOREIGN, PATH)) == "request_signature_invalid"
    loaded = [each.path for builds in (await shared_plane.cells.fetch_loaded()).values() for each in builds]
    assert build.address.path not in loaded
    after = await count_refused(shared_plane)
    more = {code: after[code] - before.get(code, 0) for code in after if after[code] != before.get(code, 0)}
    assert more == {"request_unsigned": 2, "request_signature_invalid": 1}


async def test_only_health_asks_for_no_signature(shared_plane: Plane) -> None:
    async with shared_plane.client(auth=None) as client:
        assert (await client.get("/-/health")).json() == {"status": "ok"}
        for path in ("/", "/-/", "/-/healthy", "/-/health/x/../y", "/-/builds", "/none/1.0.0-1/health"):
            assert (await client.get(path)).status_code == 401, path


async def test_streams_are_signed_once(shared_plane: Plane) -> None:
    mirror = "export default { fetch: (request) => new Response(request.body) };"
    build = shared_plane.write_build("mirror", mirror)
    claims = claims_of(exp=int(time.time()) + 1)
    token = sign_token(key_of(shared_plane), header_of(key_of(shared_plane)), claims)
    headers = {SCHEME: "v1", TOKEN: token}
    async with shared_plane.open_stream(f"{build.address.path}{PATH}", headers) as stream:
        await stream.send(b"begun")
        assert await stream.receive(5) == b"begun"

        async def has_expired() -> bool:
            return await code_of(shared_plane, build, token) == "request_signature_expired"

        await eventually(has_expired, 4)
        await stream.send(b"goes on")
        assert await stream.receive(7) == b"goes on"
        await stream.end()
    async with shared_plane.open_stream(f"{build.address.path}{PATH}", {}) as stream:
        await stream.end()
        assert json.loads(await stream.receive(10_000))["code"] == "request_unsigned"


# -- keys that change ----------------------------------------------------------------------------------------


async def test_a_rotation_loses_nothing_and_ends_the_old_key(plane: Plane) -> None:
    build = plane.write_build("hello", HELLO)
    old = key_of(plane)
    token = make_token(old, PATH)
    cells = await plane.living_cells()
    kid = plane.identity.prepare_next()
    assert [key.kid for key in plane.identity.fetch().accepted] == [kid_of(old.public_key()), kid]
    assert plane.identity.prepare_next() == kid
    next_key = plane.settings.identity_dir / "next.pem"
    new = parse_private_key("next.pem", next_key.read_bytes())
    for key in (old, new):  # both, until Restate is started again
        assert await code_of(plane, build, make_token(key, PATH)) == "hello"
    plane.identity.take_up()
    assert plane.identity.fetch().accepted[0].kid == kid
    assert await code_of(plane, build, make_token(new, PATH)) == "hello"

    async def is_refused() -> bool:
        return await code_of(plane, build, token) == "request_signature_invalid"

    await eventually(is_refused, 2)
    assert await code_of(plane, build, make_token(old, PATH)) == "request_signature_invalid"
    assert await code_of(plane, build, make_token(new, PATH)) == "hello"
    assert await plane.living_cells() == cells  # none was replaced for it


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "no JSON": lambda path: path.write_text("{"),
    "no set": lambda path: path.write_text("[]"),
    "no key": lambda path: path.write_text(
        '{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AA"}]}'
    ),
}


@pytest.fixture(scope="module")
def lone_cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A data plane of one cell: what is so in it is so in all."""
    with running(tmp_path_factory.mktemp("lone"), cells=1) as plane:
        yield plane


@pytest.mark.parametrize("how", BROKEN)
async def test_without_keys_nothing_is_let_in_and_it_helps_when_they_are_back(
    lone_cell: Plane, how: str
) -> None:
    build = lone_cell.write_build("hello", HELLO)
    token = make_token(key_of(lone_cell), PATH)
    path = accepted_of(lone_cell)
    whole = path.read_bytes()
    BROKEN[how](path)
    try:

        async def is_refused() -> bool:
            return await code_of(lone_cell, build, token) == "identity_unreadable"

        await eventually(is_refused, 3)
        response = await send(lone_cell, build, {SCHEME: "v1", TOKEN: token})
        assert response.status_code == 503
        assert problem_of(await send(lone_cell, build, {}))["code"] == "request_unsigned"

        async with httpx2.AsyncClient() as client:
            cells = Cells(lone_cell.run_dir, lone_cell.url, client)
            problem = await cells.fetch_problem(build.address.path)
        assert problem is not None
        assert (problem.status, problem.code) == (503, "identity_unreadable")
    finally:
        path.write_bytes(whole)

    async def is_let_in() -> bool:
        return await code_of(lone_cell, build, token) == "hello"

    await eventually(is_let_in, 3)


async def test_no_bundle_reads_the_keys_nor_changes_the_check(shared_plane: Plane) -> None:
    main = """
        import { env as imported } from "cloudflare:workers";
        crypto.subtle.verify = () => true; globalThis.Date.now = () => 0; Map.prototype.get = () => ({});
        Uint8Array.fromBase64 = JSON.parse = () => ({});
        const read = (url) => fetch(url).then((answer) => answer.text(), (error) => `refused: ${error}`);
        export default { async fetch(request, env) {
          const tried = [await read("http://identity/accepted.json"), await read("http://identity/signing.pem")];
          return Response.json({ env, imported, tried });
        } };
    """
    build = shared_plane.write_build("curious", main)
    seen = (await shared_plane.get(build.address.path)).json()
    assert (seen["env"], seen["imported"]) == ({}, {})
    assert all(answer.startswith("refused: ") for answer in seen["tried"])
    assert await code_of(shared_plane, build, make_token(FOREIGN, PATH)) == "request_signature_invalid"


async def test_the_workers_serve_when_the_keys_come_later(
    make_plane: Callable[..., Plane], tmp_path: Path
) -> None:
    """As under a supervisor, which starts all roles at once."""
    plane = make_plane(cells=1)
    identity, plane.identity = plane.identity, IdentityStore(tmp_path / "elsewhere")
    plane.start()
    plane.identity = identity
    build = plane.write_build("hello", HELLO)
    assert await code_of(plane, build, make_token(FOREIGN, PATH)) == "identity_unreadable"
    identity.take_up()

    async def is_let_in() -> bool:
        return await code_of(plane, build, make_token(key_of(plane), PATH)) == "hello"

    await eventually(is_let_in, 3)


def test_the_private_key_is_its_owners_alone(shared_plane: Plane) -> None:
    directory = shared_plane.settings.identity_dir
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in directory.rglob("*")}
    assert modes == {"signing.pem": "0o600", "public": "0o755", "accepted.json": "0o644"}
