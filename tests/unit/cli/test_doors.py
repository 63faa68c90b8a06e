"""The command line with several managers, or ingresses, of which some cannot be reached."""

from __future__ import annotations

import json
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from gridiron.access.note import Note, leave_note
from gridiron.cli.client import ManagerClient
from gridiron.cli.credentials import Way, find_ways
from gridiron.cli.edge import ManagerRefused
from gridiron.cli.main import app
from gridiron.cli.outside import Outside
from gridiron.errors import ManagerUnavailable
from gridiron.manager.api import ActivateRequest, PruneRequest
from gridiron.settings import load_settings, user_data_dir
from tests.unit.cli.test_credentials import ADMIN, GIVEN, home, write_token

__all__ = ["home"]  # a fixture: no settings of whoever runs the tests

HOSTS = ("one", "two", "three")
LIMIT = timedelta(seconds=5)


class Hosts:
    """Managers, or ingresses, by their hosts: what each does with a request, and which got one."""

    def __init__(self, **behaviour: BaseException | httpx2.Response) -> None:
        self.behaviour = behaviour
        self.tried: list[str] = []
        self.received: list[str] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        self.tried.append(host)
        does = self.behaviour[host]
        if isinstance(does, httpx2.ConnectError | httpx2.ConnectTimeout):
            raise does
        self.received.append(host)
        request.read()
        if isinstance(does, BaseException):
            raise does
        return httpx2.Response(does.status_code, content=does.content, headers=does.headers)

    def connect(self) -> ManagerClient:
        way, *others = (Way(f"http://{host}") for host in HOSTS)
        return ManagerClient(way, httpx2.MockTransport(self.handle), others)


def answer(body: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, json=body)


PRUNED = {"dry_run": False, "pruned": [], "kept": []}
REFUSED = httpx2.ConnectError("[Errno 111] Connection refused")
SILENT = httpx2.ConnectTimeout("timed out")


def test_one_that_can_be_reached_is_asked_from_then_on() -> None:
    hosts = Hosts(one=REFUSED, two=SILENT, three=answer(PRUNED))
    with hosts.connect() as client:
        assert client.url == "http://one"
        client.prune(PruneRequest())
        client.prune(PruneRequest())
        assert client.url == "http://three"
        hosts.behaviour |= {"one": answer(PRUNED), "three": REFUSED}
        client.prune(PruneRequest())
    assert hosts.tried == ["one", "two", "three", "three", "three", "one"]


def test_where_none_can_be_reached_all_are_named() -> None:
    hosts = Hosts(one=REFUSED, two=SILENT, three=REFUSED)
    with hosts.connect() as client, pytest.raises(ManagerUnavailable) as caught:
        client.prune(PruneRequest())
    assert (caught.value.url, caught.value.reason) == (
        "http://one, http://two, http://three",
        "Connection refused, no answer in time",
    )


@pytest.mark.parametrize(
    "broken",
    [
        httpx2.ReadTimeout("slow"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("gone"),
        httpx2.WriteError("gone"),
    ],
)
def test_what_may_have_been_received_is_not_sent_again(broken: httpx2.RequestError) -> None:
    hosts = Hosts(one=broken, two=answer(PRUNED), three=answer(PRUNED))
    with hosts.connect() as client, pytest.raises(ManagerUnavailable):
        client.prune(PruneRequest())
    assert hosts.tried == ["one"]


def test_a_failure_of_a_manager_is_its_answer() -> None:
    hosts = Hosts(one=answer({"no": "problem"}, 503), two=answer(PRUNED), three=answer(PRUNED))
    with hosts.connect() as client, pytest.raises(ManagerUnavailable):
        client.prune(PruneRequest())
    assert hosts.tried == ["one"]


def test_a_certificate_that_is_not_trusted_is_told() -> None:
    distrusted = httpx2.ConnectError("certificate verify failed")
    distrusted.__cause__ = ssl.SSLCertVerificationError()
    hosts = Hosts(one=distrusted, two=answer(PRUNED), three=answer(PRUNED))
    with hosts.connect() as client, pytest.raises(ManagerUnavailable) as caught:
        client.prune(PruneRequest())
    assert (caught.value.url, hosts.tried) == ("http://one", ["one"])


def test_an_activation_turns_to_another_too() -> None:
    problem = {"type": "about:blank", "title": "x", "status": 422, "detail": "no", "code": "source_missing"}
    refusal = httpx2.Response(422, json=problem, headers={"content-type": "application/problem+json"})
    hosts = Hosts(one=REFUSED, two=refusal, three=refusal)
    request = ActivateRequest(source="file:///x", name="x", version="1")
    with hosts.connect() as client, pytest.raises(ManagerRefused):
        client.activate(request, LIMIT, lambda _: None)
    assert hosts.received == ["two"]


def test_an_archive_is_sent_whole_to_the_one_that_takes_it(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(b"x" * 1000)
    sent = {"sha256": "0" * 64, "source": "bundle:0"}
    hosts = Hosts(one=REFUSED, two=answer(sent, 201), three=REFUSED)
    seen: list[int] = []
    with hosts.connect() as client:
        client.upload(archive, "0" * 64, LIMIT, lambda done, _: seen.append(done))
    assert (hosts.received, seen) == (["two"], [1000])


def test_each_of_several_gets_the_token_that_is_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_token(tmp_path / "else/admin.token", ADMIN)
    leave_note(user_data_dir(), 8081, Note(url="http://localhost:8081", token_file=file, certificate=None))
    urls = "http://localhost:8081, https://node.example"
    ways = find_ways(load_settings(manager_url=urls), named=True)
    assert [(way.url, way.token) for way in ways] == [
        ("http://localhost:8081", ADMIN),
        ("https://node.example", None),
    ]
    monkeypatch.setenv("GRIDIRON_TOKEN", GIVEN)
    ways = find_ways(load_settings(manager_url=urls), named=True)
    assert [way.token for way in ways] == [GIVEN, GIVEN]


def run(hosts: Hosts, *arguments: str) -> Result:
    outside = Outside(transport=httpx2.MockTransport(hosts.handle))
    return CliRunner().invoke(app, list(arguments), obj=outside, prog_name="gridiron")


def test_the_flag_takes_several() -> None:
    hosts = Hosts(one=REFUSED, two=answer(PRUNED))
    result = run(hosts, "prune", "--url", "http://one,http://two", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, PRUNED)


URLS = ("--url", "http://one,http://two")


@pytest.mark.parametrize("unreached", [REFUSED, SILENT])
def test_a_call_goes_through_an_ingress_that_can_be_reached(unreached: httpx2.RequestError) -> None:
    hosts = Hosts(one=unreached, two=answer("Hello"))
    result = run(hosts, "call", "greeter", "greet", *URLS)
    assert (result.exit_code, result.stdout) == (0, "Hello\n")


def test_a_call_that_may_have_been_received_is_not_made_again() -> None:
    hosts = Hosts(one=httpx2.ReadError("reset"), two=answer("Hello"))
    result = run(hosts, "call", "counter/a", "add", *URLS)
    assert (result.exit_code, hosts.tried) == (1, ["one"])
    assert "[restate_unavailable]" in result.stderr
