"""Bundles from everywhere on a real node: what comes in is served, what is refused leaves nothing."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import ssl
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from gridiron.bundles.uploads import KEPT
from gridiron.cli.demo.subject import Subject
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, manager_of, wait_until
from tests.integration.sources.origin import Origin, body, drip, redirect, serving
from tests.seaweed import Seaweed, running_seaweed

LOOPBACK = "127.0.0.0/8"


@dataclass(frozen=True)
class Place:
    """Where a test may put a bundle so that the node can fetch it."""

    disk: Path
    web: Origin
    secure_web: Origin
    bucket: Seaweed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    disk = tmp_path_factory.mktemp("place")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(disk / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving() as web, serving(tls=context) as secure_web, running_seaweed() as bucket:
        yield Place(disk, web, secure_web, bucket)


@pytest.fixture(scope="module")
def node(place: Place, make_shared_node: Callable[..., Subject]) -> Iterator[Subject]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(place.disk / "ca.pem"))
        for name, value in place.bucket.environment.items():
            patch.setenv(name, value)
        yield make_shared_node(source_http=True, source_allow=LOOPBACK, source_seconds=5, source_mib=64)


@pytest.fixture(scope="module")
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


def tar_of(directory: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.add(directory, "dist")
    return made.getvalue()


def zip_of(files: Mapping[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def upload(client: Client, archive: bytes) -> str:
    response = client.manager.put(f"/bundles/{hashlib.sha256(archive).hexdigest()}", content=archive)
    assert response.status_code == 201, response.text
    return str(response.json()["source"])


def on_disk(place: Place, name: str, content: bytes) -> str:
    (place.disk / name).write_bytes(content)
    return (place.disk / name).as_uri()


def on_the_web(place: Place, path: str, content: bytes) -> str:
    place.web.answers[path] = body(content)
    return place.web.url + path


def on_the_secure_web(place: Place, path: str, content: bytes) -> str:
    place.secure_web.answers[path] = body(content)
    return place.secure_web.url + path


def in_the_bucket(place: Place, key: str, content: bytes) -> str:
    place.bucket.put(key, content)
    return f"s3://bundles/{key}"


def as_objects(place: Place, prefix: str, files: Mapping[str, bytes]) -> str:
    place.bucket.put_tree(prefix, files)
    return f"s3://bundles/{prefix}/"


MAKERS: dict[str, Callable[[Place, Client, Path], str]] = {
    "a directory": lambda _p, _c, bundle: bundle.as_uri(),
    "a .tar.gz": lambda place, _c, bundle: on_disk(place, "a.tar.gz", tar_of(bundle)),
    "a .zip": lambda place, _c, bundle: on_disk(place, "a.zip", zip_of(files_of(bundle))),
    "an upload": lambda _p, client, bundle: upload(client, tar_of(bundle)),
    "http": lambda place, _c, bundle: on_the_web(place, "/a.tar.gz", tar_of(bundle)),
    "https": lambda place, _c, bundle: on_the_secure_web(
        place, "/a.zip?key=s3cr3t", zip_of(files_of(bundle))
    ),
    "an object": lambda place, _c, bundle: in_the_bucket(place, "a/b.tar.gz", tar_of(bundle)),
    "objects": lambda place, _c, bundle: as_objects(place, "c", files_of(bundle)),
}


@pytest.mark.parametrize("what", MAKERS)
def test_a_bundle_from_everywhere_is_served(
    what: str, client: Client, place: Place, bundles: ProbeBundles
) -> None:
    source = MAKERS[what](place, client, bundles.make(what, "probe"))
    request = {"source": source, "name": "probe", "version": "1"}
    response = client.manager.post("/activate", json=request)
    assert response.status_code == 201, response.text
    assert client.call("probe", "version") == what
    view = client.show(response.json()["build_id"])
    assert view["source"] == source.partition("?")[0], "the query of a URL may be a key"
    assert (view["archive_sha256"] is None) == (what in {"a directory", "objects"})
    again = client.manager.post("/activate", json={**request, "sha256": view["archive_sha256"]})
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")


def test_the_directory_of_a_stored_build_can_be_served_by_a_web_server(
    client: Client, node: Subject, place: Place, bundles: ProbeBundles
) -> None:
    stored = client.activate(bundles.make("on the web", "probe"), "2")
    directory = node.settings.bundles_dir / stored["build_id"]
    for path in directory.iterdir():
        place.web.answers[f"/stored/{path.name}"] = body(path.read_bytes())
    request = {"source": f"{place.web.url}/stored/", "name": "probe", "version": "3"}
    response = client.manager.post("/activate", json=request)
    assert response.status_code == 201, response.text
    assert client.call("probe", "version") == "on the web"


def left(node: Subject) -> set[str]:
    """What stands in the bundle directory, staging and uploads included, but not what was sent on purpose."""
    root = node.settings.bundles_dir
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.parent != root / ".uploads"} - {
        ".staging",
        ".uploads",
    }


def link() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        member = tarfile.TarInfo("index.js")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    return made.getvalue()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a way out": (zip_of({"../index.js": b""}), "bundle_path_escapes"),
    "an absolute path": (zip_of({"/index.js": b""}), "bundle_path_escapes"),
    "a link": (link(), "bundle_has_link"),
    "a bomb": (zip_of({"index.js": bytes(65 * 1024 * 1024)}), "source_too_large"),
    "many files": (zip_of({f"{n}.txt": b"" for n in range(10_001)}), "source_has_too_many_files"),
    "two cases": (zip_of({"index.js": b"", "Index.js": b""}), "bundle_path_collides"),
    "no archive": (b"<!doctype html>", "archive_invalid"),
    "half an archive": (zip_of({"index.js": os.urandom(10_000)})[:5_000], "archive_invalid"),
    "no module": (zip_of({"README.md": b""}), "bundle_empty"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_from_everywhere_and_leaves_nothing(
    what: str, client: Client, node: Subject, place: Place
) -> None:
    archive, code = HOSTILE[what]
    sources = [
        on_disk(place, "hostile", archive),
        upload(client, archive),
        on_the_web(place, "/hostile", archive),
        in_the_bucket(place, "hostile", archive),
    ]
    before = left(node)
    for source in sources:
        request = {"source": source, "name": "hostile", "version": "1"}
        response = client.manager.post("/activate", json=request)
        problem = response.json()
        assert (response.status_code, problem.get("code"), problem.get("step")) == (422, code, "stage"), (
            source,
            problem,
        )
    assert left(node) == before
    assert client.builds(name="hostile") == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("https://10.0.0.1/a.zip", "source_address_refused"),
        ("https://[::1]/a.zip", "source_address_refused"),
        ("http://169.254.169.254/latest/meta-data/a.zip", "source_address_refused"),
        ("http://2852039166/a.zip", "source_address_refused"),
        ("s3://no-such-bucket-here/a.zip", "source_refused"),
        ("s3://bundles/no/such/key.zip", "source_refused"),
        (f"bundle:{'0' * 64}", "upload_not_found"),
        ("file:///no/such/thing", "source_missing"),
        ("file:///dev/null", "source_not_a_directory"),
    ],
)
def test_a_source_that_a_node_does_not_fetch(client: Client, node: Subject, source: str, code: str) -> None:
    before = left(node)
    request = {"source": source, "name": "hostile", "version": "1"}
    response = client.manager.post("/activate", json=request)
    assert (response.status_code, response.json()["code"]) == (422, code), response.text
    assert left(node) == before


def test_a_redirect_leads_nowhere_that_the_node_does_not_go(client: Client, place: Place) -> None:
    place.web.answers["/away"] = redirect("http://169.254.169.254/a.zip")
    request = {"source": f"{place.web.url}/away", "name": "hostile", "version": "1"}
    response = client.manager.post("/activate", json=request)
    assert (response.status_code, response.json()["code"]) == (422, "source_address_refused"), response.text


def test_a_slow_source_ends_in_time_and_holds_up_nobody(
    client: Client, node: Subject, place: Place, bundles: ProbeBundles
) -> None:
    place.web.answers["/slow"] = drip
    before = left(node)
    request: dict[str, Any] = {"source": f"{place.web.url}/slow", "name": "slow", "version": "1"}
    with client.manager.stream(
        "POST", "/activate", json=request, headers={"accept": "text/event-stream"}
    ) as events:
        lines = events.iter_lines()
        assert next(lines) == "event: progress"
        assert client.activate(bundles.make("meanwhile", "probe"), "4")["outcome"] == "activated"
        assert client.activate(bundles.make("2", "slow"), "2", name="slow")["outcome"] == "activated"
        rolled_back = client.manager.post("/rollback", json={"name": "slow"})
        assert rolled_back.json()["code"] == "nothing_to_roll_back_to"  # it had its turn
        said = list(lines)
    assert "event: problem" in said
    assert '"code":"source_too_slow"' in said[-2]
    assert [build["version"] for build in client.builds(name="slow")] == ["2"]
    assert {path for path in left(node) - before if path.startswith(".staging")} == set()


def test_nothing_half_made_is_left_by_a_manager_that_is_killed_while_a_source_comes_in(
    client: Client, node: Subject, place: Place, bundles: ProbeBundles
) -> None:
    place.web.answers["/killed"] = drip
    staging = node.settings.bundles_dir / ".staging"
    request = {"source": f"{place.web.url}/killed", "name": "killed", "version": "1"}
    headers = {"accept": "text/event-stream"}
    with client.manager.stream("POST", "/activate", json=request, headers=headers) as events:
        wait_until(lambda: any(staging.rglob("archive")))
        os.kill(manager_of(node), signal.SIGKILL)
        with pytest.raises(httpx2.RemoteProtocolError):
            list(events.iter_lines())
    wait_until(client.is_ready)
    assert list(staging.iterdir()) == []
    assert client.builds(name="killed") == []
    assert client.activate(bundles.make("after", "probe"), "5")["outcome"] == "activated"


def test_an_upload_is_still_there_after_a_restart_and_is_whole(
    client: Client, node: Subject, bundles: ProbeBundles
) -> None:
    source = upload(client, tar_of(bundles.make("sent before", "probe")))
    os.kill(manager_of(node), signal.SIGKILL)
    wait_until(lambda: not client.is_ready())
    wait_until(client.is_ready)
    request = {"source": source, "name": "probe", "version": "6"}
    assert client.manager.post("/activate", json=request).status_code == 201
    assert client.call("probe", "version") == "sent before"


def test_an_upload_goes_after_its_hour_although_nobody_sends_another(
    make_node: Callable[..., Subject],
) -> None:
    node = make_node(sweep_seconds=0.2)
    client = Client(node)
    source = upload(client, b"sent an hour ago")
    client.close()
    kept = node.settings.bundles_dir / ".uploads" / source.removeprefix("bundle:")
    long_ago = kept.stat().st_mtime - KEPT.total_seconds()
    os.utime(kept, (long_ago, long_ago))
    wait_until(lambda: not kept.exists())


def test_a_manager_that_others_reach_reads_no_files_for_them(
    make_node: Callable[..., Subject], bundles: ProbeBundles
) -> None:
    node = make_node(manager_host="0.0.0.0")  # noqa: S104 - that is the point
    client = Client(node)
    bundle = bundles.make("1")
    request = {"source": bundle.as_uri(), "name": "probe", "version": "1"}
    refused = client.manager.post("/activate", json=request)
    assert (refused.status_code, refused.json()["code"]) == (422, "source_outside_roots")
    sent = {**request, "source": upload(client, tar_of(bundle))}
    assert client.manager.post("/activate", json=sent).status_code == 201
    client.close()
