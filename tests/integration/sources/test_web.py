"""Sources over http and https, from servers that behave and from some that do not."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from gridiron.bundles.access import Access
from gridiron.bundles.connections import LOOK_UP
from gridiron.bundles.fetch import fetch
from gridiron.bundles.limits import Limits, Meter
from gridiron.bundles.source import HttpSource, parse_source
from gridiron.bundles.transfer import ATTEMPTS
from gridiron.egress import Address
from gridiron.errors import (
    BundlePathEscapes,
    GridironError,
    ManagerStopping,
    ManifestInvalid,
    SourceAddressRefused,
    SourceHasTooManyFiles,
    SourceInsecure,
    SourceRedirectsTooOften,
    SourceRefused,
    SourceTooLarge,
    SourceTooSlow,
    SourceUnreachable,
)
from tests.integration.sources.memory import growth
from tests.integration.sources.origin import (
    Answer,
    Origin,
    Request,
    body,
    cut,
    cut_chunk,
    drip,
    drip_headers,
    endless,
    hang_up,
    in_turn,
    redirect,
    serving,
    silence,
    status,
)

CONTENT = bytes(range(256)) * 1000
LOOPBACK = ip_network("127.0.0.0/8")
LOCAL = Access(http=True, allowed=(LOOPBACK,))
LIMITS = Limits(size=1_000_000, files=10, time=timedelta(seconds=20))


def take(url: str, directory: Path, access: Access = LOCAL, limits: Limits = LIMITS) -> Path:
    source = parse_source(url)
    assert isinstance(source, HttpSource)
    directory.mkdir(exist_ok=True)
    return fetch(source, directory, access, Meter(limits))


def names(found: dict[str, str]) -> Access:
    """Let these names have these addresses."""
    return replace(LOCAL, resolve=lambda host, _port: [ip_address(found[host])])


# -- archives --------------------------------------------------------------------------------------------


def test_an_archive_is_taken_as_it_is(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a.zip?token=secret"] = body(CONTENT)
    found = take(f"{origin.url}/a.zip?token=secret", tmp_path / "in")
    assert found == tmp_path / "in" / "archive"
    assert found.read_bytes() == CONTENT
    assert origin.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br"])
def test_an_archive_that_is_said_to_be_packed_is_taken_as_it_comes(
    origin: Origin, tmp_path: Path, encoding: str
) -> None:
    """So it is stored what a server that calls each .gz encoded has, and nothing grows by unpacking."""
    packed = gzip.compress(CONTENT)
    origin.answers["/a.tar.gz"] = body(packed, Content_Encoding=encoding)
    assert take(f"{origin.url}/a.tar.gz", tmp_path / "in").read_bytes() == packed


def test_what_is_reported(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = body(CONTENT)
    reports: list[tuple[int, int | None]] = []
    source = HttpSource(f"{origin.url}/a", is_secure=False)
    fetch(source, tmp_path, LOCAL, Meter(LIMITS, lambda done, total: reports.append((done, total))))
    assert reports[0] == (0, len(CONTENT))
    assert reports[-1] == (len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(
    "failure",
    [
        status(500),
        status(503),
        status(429),
        cut(CONTENT, 0),
        cut(CONTENT, 100_000),
        cut_chunk,
        hang_up,
    ],
)
def test_a_server_that_breaks_off_is_asked_again(origin: Origin, tmp_path: Path, failure: Answer) -> None:
    origin.answers["/a"] = in_turn(*[failure] * (ATTEMPTS - 1), body(CONTENT))
    assert take(f"{origin.url}/a", tmp_path / "in").read_bytes() == CONTENT
    assert len(origin.seen) == ATTEMPTS


def test_a_longer_attempt_leaves_nothing_in_the_next(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = in_turn(cut(CONTENT, 200_000), body(b"short"))
    assert take(f"{origin.url}/a", tmp_path / "in").read_bytes() == b"short"


def test_attempts_that_failed_do_not_count_as_size(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = in_turn(*[cut(CONTENT, 200_000)] * (ATTEMPTS - 1), body(CONTENT))
    limits = replace(LIMITS, size=len(CONTENT))
    assert take(f"{origin.url}/a", tmp_path / "in", limits=limits).read_bytes() == CONTENT


@pytest.mark.parametrize("failure", [status(502), cut(CONTENT, 100_000), hang_up])
def test_a_server_that_breaks_off_each_time_is_given_up(
    origin: Origin, tmp_path: Path, failure: Answer
) -> None:
    origin.answers["/a?token=secret"] = failure
    with pytest.raises(SourceUnreachable) as caught:
        take(f"{origin.url}/a?token=secret", tmp_path / "in")
    assert caught.value.source == f"{origin.url}/a"
    assert "secret" not in str(caught.value)
    assert len(origin.seen) == ATTEMPTS


@pytest.mark.parametrize("code", [204, 304, 400, 401, 403, 404, 410])
def test_a_server_that_says_no_is_asked_once(origin: Origin, tmp_path: Path, code: int) -> None:
    origin.answers["/a"] = lambda request: request.begin(code, {"Content-Length": "0"})
    with pytest.raises(SourceRefused, match=str(code)):
        take(f"{origin.url}/a", tmp_path / "in")
    assert origin.seen == ["/a"]


def test_nobody_listens(tmp_path: Path) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(SourceUnreachable, match="refused"):
        take(f"{url}/a", tmp_path / "in")


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "a" * 64])
def test_a_name_without_an_address(tmp_path: Path, host: str) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[Address]:
        asked.append(host)
        return LOCAL.resolve(host, port)

    with pytest.raises((SourceUnreachable, SourceRefused)):
        take(f"http://{host}/a", tmp_path / "in", replace(LOCAL, resolve=resolve))
    assert len(asked) in {0, ATTEMPTS}  # 0: it is no name at all


# -- limits ----------------------------------------------------------------------------------------------


def test_an_announced_size_is_enough_to_refuse(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = cut(bytes(LIMITS.size + 1), 0)
    with pytest.raises(SourceTooLarge):
        take(f"{origin.url}/a", tmp_path / "in")
    assert origin.seen == ["/a"]
    assert not (tmp_path / "in" / "archive").exists()


def test_a_body_without_an_end(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = endless
    with pytest.raises(SourceTooLarge):
        take(f"{origin.url}/a", tmp_path / "in")
    assert (tmp_path / "in" / "archive").stat().st_size <= LIMITS.size


@pytest.mark.parametrize("answer", [drip, drip_headers, silence, in_turn(cut(CONTENT, 9), silence)])
def test_a_server_that_takes_its_time(origin: Origin, tmp_path: Path, answer: Answer) -> None:
    origin.answers["/a"] = answer
    with pytest.raises(SourceTooSlow):
        take(f"{origin.url}/a", tmp_path / "in", limits=replace(LIMITS, time=timedelta(seconds=0.5)))


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_pauses(origin: Origin, secure_origin: Origin, tmp_path: Path, *, tls: bool) -> None:
    server = secure_origin if tls else origin

    def pausing(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(CONTENT))})
        request.wfile.write(CONTENT[:1000])
        server.stopped.wait(2.5 * LOOK_UP)
        request.wfile.write(CONTENT[1000:])

    server.answers["/a"] = pausing
    url = f"https://bundles.example:{server.port}/a" if tls else f"{server.url}/a"
    found = take(url, tmp_path / "in", names({"bundles.example": "127.0.0.1", "127.0.0.1": "127.0.0.1"}))
    assert found.read_bytes() == CONTENT
    assert server.seen == ["/a"]


def test_a_silent_server_does_not_keep_the_process_from_ending(origin: Origin, tmp_path: Path) -> None:
    stopping = threading.Event()

    def silent(request: Request) -> None:
        stopping.set()
        silence(request)

    origin.answers["/a"] = silent
    source = parse_source(f"{origin.url}/a")
    assert isinstance(source, HttpSource)
    began = time.monotonic()
    with pytest.raises(ManagerStopping):
        fetch(source, tmp_path, LOCAL, Meter(LIMITS, stopping=stopping))
    assert time.monotonic() - began < 5 * LOOK_UP


def test_a_large_body_is_never_in_memory(origin: Origin, tmp_path: Path) -> None:
    def large(request: Any) -> None:
        request.begin(200, {"Content-Length": str(60 << 20)})
        for _ in range(60):
            request.wfile.write(bytes(1 << 20))

    origin.answers["/a"] = large
    with growth() as grown:
        found = take(f"{origin.url}/a", tmp_path / "in", limits=replace(LIMITS, size=60 << 20))
    assert found.stat().st_size == 60 << 20
    assert grown() < 20 << 20


# -- redirects -------------------------------------------------------------------------------------------


def test_redirects_are_followed(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = redirect(f"{origin.url}/b/c", 301)
    origin.answers["/b/c"] = redirect("../d?e", 307)
    origin.answers["/d?e"] = body(CONTENT)
    assert take(f"{origin.url}/a", tmp_path / "in").read_bytes() == CONTENT
    assert origin.seen == ["/a", "/b/c", "/d?e"]


def test_redirects_come_to_an_end(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = redirect("/b")
    origin.answers["/b"] = redirect("/a")
    with pytest.raises(SourceRedirectsTooOften):
        take(f"{origin.url}/a", tmp_path / "in")
    assert len(origin.seen) == LOCAL.redirects + 1


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("file:///etc/passwd", SourceRefused),
        ("ftp://127.0.0.1/a", SourceRefused),
        ("http://user:secret@127.0.0.1/a", SourceRefused),
    ],
)
def test_a_redirect_to_what_is_no_source(
    origin: Origin, tmp_path: Path, location: str, error: type[GridironError]
) -> None:
    origin.answers["/a"] = redirect(location)
    with pytest.raises(error) as caught:
        take(f"{origin.url}/a", tmp_path / "in")
    assert "secret" not in str(caught.value)
    assert origin.seen == ["/a"]


SPELLINGS = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "0", "0.0.0.0"),  # noqa: S104 - to be refused
    *("localhost", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    *("[64:ff9b::7f00:1]", "169.254.169.254", "[fe80::1]", "10.0.0.1", "[2002:7f00:1::]", "①②⑦.⓪.⓪.①"),
]


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_address_that_is_not_public_is_not_connected_to(origin: Origin, tmp_path: Path, host: str) -> None:
    with pytest.raises((SourceAddressRefused, SourceRefused)):
        take(f"http://{host}:{origin.port}/a", tmp_path / "in", Access(http=True))
    assert origin.seen == []


@pytest.mark.parametrize("host", SPELLINGS)
def test_nor_after_a_redirect(origin: Origin, tmp_path: Path, host: str) -> None:
    """A public server, which the test has on loopback, leads to this machine."""
    with serving("127.0.0.2") as public:
        public.answers["/a"] = redirect(f"http://{host}:{origin.port}/secret")
        access = Access(http=True, allowed=(ip_network("127.0.0.2/32"),))
        with pytest.raises((SourceAddressRefused, SourceRefused)):
            take(f"{public.url}/a", tmp_path / "in", access)
        assert public.seen == ["/a"]
    assert origin.seen == []


@pytest.mark.parametrize("host", ["localhost.", "bundles.example", "bundles.example."])
def test_any_name_that_leads_to_this_machine(origin: Origin, tmp_path: Path, host: str) -> None:
    access = replace(names({host: "127.0.0.1"}), allowed=())
    with pytest.raises(SourceAddressRefused):
        take(f"http://{host}:{origin.port}/a", tmp_path / "in", access)
    assert origin.seen == []


def test_one_address_that_is_not_public_is_enough(origin: Origin, tmp_path: Path) -> None:
    addresses = [ip_address("127.0.0.1"), ip_address("10.0.0.1")]
    access = replace(LOCAL, resolve=lambda _host, _port: addresses)
    with pytest.raises(SourceAddressRefused) as caught:
        take(f"http://bundles.example:{origin.port}/a", tmp_path / "in", access)
    assert (caught.value.host, caught.value.address) == ("bundles.example", "10.0.0.1")
    assert origin.seen == []


def test_the_next_address_is_tried(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/a"] = body(CONTENT)
    addresses = [ip_address("127.0.0.9"), ip_address("127.0.0.1")]  # nobody listens at the first
    access = replace(LOCAL, resolve=lambda _host, _port: addresses)
    assert take(f"http://bundles.example:{origin.port}/a", tmp_path / "in", access).read_bytes() == CONTENT


def test_a_name_that_changes_its_address_leads_to_no_other(origin: Origin, tmp_path: Path) -> None:
    """It answers an allowed address, where a server breaks off, and then one that is not allowed."""
    asked: list[str] = []

    def resolve(host: str, _port: int) -> Sequence[Address]:
        asked.append(host)
        return [ip_address("127.0.0.2" if len(asked) == 1 else "127.0.0.1")]

    origin.answers["/a"] = body(b"secret")
    access = Access(http=True, allowed=(ip_network("127.0.0.2/32"),), resolve=resolve)
    with pytest.raises(SourceAddressRefused):
        take(f"http://bundles.example:{origin.port}/a", tmp_path / "in", access)
    assert len(asked) == 2  # one connection, to nobody; and one that was not made
    assert origin.seen == []


# -- https -----------------------------------------------------------------------------------------------


def test_https_by_the_name_of_the_host(secure_origin: Origin, tmp_path: Path) -> None:
    secure_origin.answers["/a"] = redirect(f"https://other.example:{secure_origin.port}/b")
    secure_origin.answers["/b"] = body(CONTENT)
    access = replace(names({"bundles.example": "127.0.0.1", "other.example": "127.0.0.1"}), http=False)
    url = f"https://bundles.example:{secure_origin.port}/a"
    assert take(url, tmp_path / "in", access).read_bytes() == CONTENT
    assert [each["Host"].partition(":")[0] for each in secure_origin.headers] == [
        "bundles.example",
        "other.example",
    ]


@pytest.mark.parametrize("host", ["wrong.example", "127.0.0.1"])
def test_a_certificate_for_another_host(secure_origin: Origin, tmp_path: Path, host: str) -> None:
    access = names({host: "127.0.0.1"})
    with pytest.raises(SourceRefused, match="certificate"):
        take(f"https://{host}:{secure_origin.port}/a", tmp_path / "in", access)
    assert secure_origin.seen == []


def test_a_certificate_of_nobody(
    secure_origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    access = names({"bundles.example": "127.0.0.1"})
    with pytest.raises(SourceRefused, match="certificate"):
        take(f"https://bundles.example:{secure_origin.port}/a", tmp_path / "in", access)


def test_http_is_refused_unless_a_setting_allows_it(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(SourceInsecure):
        take(f"{origin.url}/a", tmp_path / "in", replace(LOCAL, http=False))
    assert origin.seen == []


def test_nor_does_https_lead_to_http(secure_origin: Origin, origin: Origin, tmp_path: Path) -> None:
    secure_origin.answers["/a"] = redirect(f"{origin.url}/b?token=secret")
    access = replace(names({"bundles.example": "127.0.0.1"}), http=False)
    with pytest.raises(SourceInsecure) as caught:
        take(f"https://bundles.example:{secure_origin.port}/a", tmp_path / "in", access)
    assert caught.value.url == f"{origin.url}/b"
    assert origin.seen == []


def test_https_to_a_server_without_it(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable):
        take(f"https://127.0.0.1:{origin.port}/a", tmp_path / "in")


# -- directories -----------------------------------------------------------------------------------------


def listing(*modules: dict[str, Any]) -> Answer:
    return body(json.dumps({"name": "a", "modules": modules}).encode())


def tree(root: Path) -> dict[str, bytes]:
    return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}


def test_a_directory_is_what_its_metadata_lists(origin: Origin, tmp_path: Path) -> None:
    listed = [
        {"name": "index.js", "size": 4, "sha256": hashlib.sha256(b"main").hexdigest()},
        {"name": "lib/grüße & 100%?.txt"},
    ]
    origin.answers["/d/metadata.json?t=1"] = listing(*listed)
    origin.answers["/d/index.js?t=1"] = in_turn(status(500), body(b"main"))
    origin.answers["/d/lib/gr%C3%BC%C3%9Fe%20%26%20100%25%3F.txt?t=1"] = in_turn(
        cut(b"hello", 2), body(b"hello")
    )
    found = take(f"{origin.url}/d/?t=1", tmp_path / "in")
    assert found == tmp_path / "in" / "tree"
    assert tree(found) == {
        "metadata.json": json.dumps({"name": "a", "modules": listed}).encode(),
        "index.js": b"main",
        "lib/grüße & 100%?.txt": b"hello",
    }


@pytest.mark.parametrize(
    ("listed", "error"),
    [
        ([{"name": "../index.js"}], BundlePathEscapes),
        ([{"name": "/index.js"}], BundlePathEscapes),
        ([{"name": f"{each}.js"} for each in range(LIMITS.files + 1)], SourceHasTooManyFiles),
        ([{"name": "index.js", "size": LIMITS.size + 1}], SourceTooLarge),
        ([{"name": "index.js", "size": 5}], SourceRefused),
        ([{"name": "index.js", "sha256": "0a" * 32}], SourceRefused),
        ([{"name": "other.js"}], SourceRefused),
        ([{"name": "packed.js"}], SourceRefused),
        ([{"name": "large.js"}, {"name": "index.js"}], SourceTooLarge),
        ([{}], ManifestInvalid),
    ],
)
def test_a_directory_that_is_not_taken(
    origin: Origin, tmp_path: Path, listed: list[dict[str, Any]], error: type[GridironError]
) -> None:
    origin.answers["/d/metadata.json"] = listing(*listed)
    origin.answers["/d/index.js"] = body(b"main")
    origin.answers["/d/packed.js"] = body(gzip.compress(b"main"), Content_Encoding="gzip")
    origin.answers["/d/large.js"] = body(bytes(LIMITS.size))
    with pytest.raises(error):
        take(f"{origin.url}/d/", tmp_path / "in")
    assert not (tmp_path / "in" / "index.js").exists()


def test_a_directory_without_a_list(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/d/metadata.json"] = body(b'{"name": "a"}')
    with pytest.raises(ManifestInvalid, match="modules"):
        take(f"{origin.url}/d/", tmp_path / "in")


def test_a_manifest_without_an_end(origin: Origin, tmp_path: Path) -> None:
    origin.answers["/d/metadata.json"] = endless
    with pytest.raises(ManifestInvalid, match="more than 4194304 bytes"):
        take(f"{origin.url}/d/", tmp_path / "in", limits=replace(LIMITS, size=1 << 30))
