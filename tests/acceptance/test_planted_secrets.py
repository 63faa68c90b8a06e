"""Secrets that are planted wherever somebody may have some, and looked for wherever they must not be.

Each test plants some into one node and notes what it was told meanwhile; the last one looks for all of them.
So a new place for secrets is a test of its own, above that one.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.probe import build_probe
from gridiron.testing.processes import descendants
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, wait_until
from tests.integration.sources.origin import body, redirect, serving

WORKER = Path(__file__).with_name("secret_worker.js")

READS = (
    "/deployments",
    "/secrets/keeper",
    "/workers",
    "/metrics",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/tokens",
    "/audit",
)

ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass
class Field:
    """A node, what was planted into it, and what it said."""

    node: Subject
    client: Client
    bundle: Path
    planted: dict[str, str]  # by where it was
    said: list[str] = field(default_factory=list)
    build_ids: list[str] = field(default_factory=list)

    def plant(self, where: str) -> str:
        self.planted[where] = make_secret()
        return self.planted[where]

    def note(self, *answers: httpx2.Response) -> None:
        self.said += [f"{answer.headers}{answer.text}" for answer in answers]

    def run(self, *arguments: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a verb as a user does."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gridiron", *arguments],
            env={**os.environ, **self.node.settings.environment(), **environment},
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        return done

    def activate(self, version: str, **more: Any) -> httpx2.Response:
        request = {"source": self.bundle.as_uri(), "name": "keeper", "version": version, **more}
        answer = self.client.manager.post("/activate", json=request)
        self.note(answer)
        if answer.is_success:
            self.build_ids.append(answer.json()["build_id"])
        return answer


def make_secret() -> str:
    return f"planted-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def field_(
    make_shared_node: Callable[..., Subject], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Field]:
    toolchain = find_toolchain(load_settings())
    bundle = build_probe(toolchain, tmp_path_factory.mktemp("secrets"), WORKER.read_text())
    planted = {name: make_secret() for name in ENVIRONMENT}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**planted, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}.items():
            patch.setenv(name, value)
        verbose = {"log_format": "json", "log_level": "debug"}
        sources = {"source_http": True, "source_allow": "127.0.0.0/8", "s3_endpoint": "http://127.0.0.1:9"}
        node = make_shared_node(cells=1, **verbose, **sources)
        client = Client(node)
        yield Field(node, client, bundle, planted)
        client.close()


def test_secrets_of_a_name(field_: Field) -> None:
    given, put, again = field_.plant("given"), field_.plant("put"), field_.plant("put again")
    assert field_.run("secret", "put", "keeper", "TOKEN", typed=put).returncode == 0
    assert field_.activate("1").status_code == 201
    assert field_.run("secret", "put", "keeper", "TOKEN", "--json", typed=again).returncode == 0
    assert field_.activate("2", secrets={"GIVEN": given}).status_code == 201
    assert field_.client.call("keeper", "tell", "GIVEN") is not None
    for more in ((), ("--json",)):
        assert field_.run("secret", "list", "keeper", *more).returncode == 0


def test_secrets_that_are_refused(field_: Field) -> None:
    value = field_.plant("refused")
    manager = field_.client.manager
    assert field_.activate("3", vars={"PLAIN": "x"}).status_code == 201
    refused = [
        manager.put("/secrets/keeper/PLAIN", json={"value": value}),  # a variable
        manager.put(f"/secrets/keeper/A={value}", json={"value": "x"}),
        manager.put("/secrets/keeper/TOKEN", content=json.dumps({"value": [value]})),
        manager.post("/activate", json={"secrets": {"A": [value]}}),
    ]
    assert {each.status_code for each in refused} == {422}
    field_.note(*refused)


def test_what_a_client_sends_in_headers(field_: Field) -> None:
    headers = {
        "authorization": f"Bearer {field_.plant('authorization')}",
        "cookie": f"session={field_.plant('cookie')}",
        "x-api-key": field_.plant("x-api-key"),
        "x-request-id": f"{field_.plant('request id')} and more",
    }
    client = field_.client
    field_.note(
        client.manager.get("/deployments", headers=headers),
        client.manager.get("/nothing", headers=headers),
        client.manager.post("/activate", json={"source": "ftp://x"}, headers=headers),
        client.ingress.post("/nobody/tell", json="TOKEN", headers=headers),
        client.workers.get("/keeper/1-1/discover", headers=headers),
    )


def test_addresses_of_sources(field_: Field) -> None:
    """Credentials before the host, and signed URLs, in what fails and in what does not."""
    user, signature, token, leading = (
        field_.plant(f"a source's {each}") for each in ("user", "query", "fragment", "redirect")
    )
    query = f"X-Amz-Credential=AKIAIOSFODNN7EXAMPLE&X-Amz-Signature={signature}"
    bad = (
        f"https://somebody:{user}@127.0.0.1:9/bundle.tar.gz",
        f"ftp://somebody:{user}@127.0.0.1/bundle.tar.gz?{query}",
        f"http://127.0.0.1:9/bundle.tar.gz?{query}",
        f"http://127.0.0.1:9/bundle.tar.gz?{query}#{token}",
        f"s3://bucket/bundle.tar.gz?{query}",
    )
    for source in bad:
        assert not field_.activate("4", source=source).is_success
        events = field_.client.manager.post(
            "/activate",
            json={"source": source, "name": "keeper", "version": "4"},
            headers={"accept": "text/event-stream"},
        )
        field_.note(events)
    archive = make_archive(field_.bundle)
    with serving() as origin:
        origin.answers[f"/bundle.tar.gz?{query}"] = body(archive)
        origin.answers["/moved"] = redirect(f"{origin.url}/bundle.tar.gz?{query}")
        origin.answers["/lost"] = redirect(f"{origin.url}/nowhere?token={leading}")
        assert not field_.activate("5", source=f"{origin.url}/lost").is_success
        assert field_.activate("5", source=f"{origin.url}/moved").status_code == 201
        assert field_.activate("6", source=f"{origin.url}/bundle.tar.gz?{query}").json()["build_id"]


def make_archive(bundle: Path) -> bytes:
    return subprocess.run(
        ["tar", "-cz", "-C", str(bundle), "."], check=True, capture_output=True, timeout=60
    ).stdout


def test_the_address_of_the_manager(field_: Field) -> None:
    url = f"http://somebody:{field_.plant('the url of the manager')}@127.0.0.1:9"
    for verb in (("ls",), ("ls", "--json"), ("logs", "keeper"), ("status",)):
        assert field_.run(*verb, "--url", url).returncode != 0
        assert field_.run(*verb, GRIDIRON_MANAGER_URL=url).returncode != 0


def test_tokens(field_: Field) -> None:
    manager, wanted = field_.client.manager, {"name": "planted", "scopes": ["deploy:keeper"]}
    token = manager.post("/tokens", json=wanted).json()["text"]  # the one answer that shows it
    field_.planted["a token"] = token.rsplit("_", 1)[1]
    assert field_.run("ls", GRIDIRON_TOKEN=token).returncode == 0
    assert field_.run("token", "ls", GRIDIRON_TOKEN=token).returncode != 0
    wrong = {"a wrong token": "gridiron_00000000_", "what is no token": ""}
    for where, begin in wrong.items():
        value = begin + field_.plant(where)
        field_.note(manager.get("/workers", auth=None, headers={"authorization": f"Bearer {value}"}))
        assert field_.run("ls", GRIDIRON_TOKEN=value).returncode != 0
    assert field_.run("token", "revoke", token.split("_")[1]).returncode == 0


def test_none_of_them_shows_anywhere(field_: Field) -> None:
    manager, node = field_.client.manager, field_.node
    field_.note(*(manager.get(path) for path in READS))
    for build_id in field_.build_ids:
        field_.note(manager.get(f"/deployments/{build_id}"), manager.get(f"/deployments/{build_id}/logs"))
    field_.note(field_.client.admin.get("/deployments"), field_.client.workers.get("/-/health"))
    for verb in (("ls",), ("show", field_.build_ids[-1]), ("logs", "keeper"), ("status",)):
        field_.run(*verb)
    wait_until(lambda: any(node.settings.logs_dir.rglob("*.jsonl")))
    said = "".join(field_.said)
    assert node.pid is not None
    # what is no secret shows in all of these places, so that the search finds something
    directory = str(node.settings.data_dir)
    assert "keeper" in said
    assert '"event": "build.activated"' in node.log
    assert '"event": "request.failed"' in node.log
    assert find_in_processes(node.pid, directory, ("environ",)) != []
    assert find_in_processes(node.pid, "gridiron", ("cmdline",)) != []
    assert find_in_files(node.settings.data_dir, "keeper") != []
    shown = []
    for where, value in field_.planted.items():
        files = ("cmdline",) if where in ENVIRONMENT else ("cmdline", "environ")
        places = find_in_processes(node.pid, value, files) + find_in_files(node.settings.data_dir, value)
        texts = (("log", node.log), ("answers", said))
        places += [name for name, text in texts if shows(text.encode(), value)]
        shown += [f"{where}: {place}" for place in places]
    assert shown == []


def forms_of(value: str) -> list[bytes]:
    """What a value may look like where it shows."""
    raw = value.encode()
    return [
        raw,
        base64.b64encode(raw),
        base64.urlsafe_b64encode(raw),
        raw.hex().encode(),
        value.encode("utf-16-le"),
    ]


def shows(content: bytes, value: str) -> bool:
    return any(form in content for form in forms_of(value))


def find_in_files(directory: Path, value: str) -> list[str]:
    """The files below a directory that hold a value."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if shows(path.read_bytes(), value)]


def find_in_processes(pid: int, value: str, files: tuple[str, ...]) -> list[str]:
    """The processes below one that have a value among their arguments or variables."""
    paths = [Path(f"/proc/{each}/{file}") for each in descendants(pid) for file in files]
    return [str(path) for path in paths if shows(path.read_bytes(), value)]
