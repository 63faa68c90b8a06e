"""What the tests on real servers share: clients, a look at processes, waiting."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.cli.demo.subject import Subject
from gridiron.identity.store import IdentityStore
from gridiron.settings import Settings
from gridiron.testing.login import AdminToken
from gridiron.testing.processes import descendants
from gridiron.testing.signing import Signer

READY_PAUSE_SECONDS = 0.1
"""Between two questions whether a manager is ready: its start takes a second or two of a processor, and
questions take of that processor, too."""


class Configured(Protocol):
    """What has the settings of a node, as a test reaches it."""

    @property
    def settings(self) -> Settings: ...


def manager_client(subject: Configured, **more: Any) -> httpx2.Client:
    """A client of a node's manager, logged in as its admin."""
    settings = subject.settings
    given: dict[str, Any] = {
        "base_url": settings.manager_url,
        "timeout": 60,
        "verify": NO_TLS,
        "auth": AdminToken(settings),
    }
    return httpx2.Client(**{**given, **more})


class Client:
    """The HTTP APIs of one node: the manager's, the ingress's, Restate's admin API, the workers' (signed)."""

    def __init__(self, subject: Configured) -> None:
        self.manager = manager_client(subject)
        self.ingress = httpx2.Client(base_url=subject.settings.ingress_url, timeout=60, verify=NO_TLS)
        self.admin = httpx2.Client(base_url=subject.settings.restate_admin_url, timeout=60, verify=NO_TLS)
        signer = Signer(IdentityStore.of(subject.settings).signing_key)
        self.workers = httpx2.Client(
            base_url=subject.settings.workers_url, timeout=60, verify=NO_TLS, auth=signer
        )

    def activate(self, bundle: Path, version: str, name: str = "probe", **more: Any) -> dict[str, Any]:
        body = {"source": bundle.as_uri(), "name": name, "version": version, **more}
        response = self.manager.post("/activate", json=body)
        assert response.status_code in {200, 201}, response.text
        activated: dict[str, Any] = response.json()
        return activated

    def show(self, build_id: str) -> dict[str, Any]:
        response = self.manager.get(f"/deployments/{build_id}")
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def builds(self, **filters: str) -> list[dict[str, Any]]:
        response = self.manager.get("/deployments", params=filters)
        assert response.status_code == 200, response.text
        views: list[dict[str, Any]] = response.json()["deployments"]
        return views

    def call(self, service: str, handler: str, argument: Any = None) -> Any:
        response = self.ingress.post(f"/{service}/{handler}", json=argument)
        assert response.status_code == 200, response.text
        return response.json()

    def send(self, service: str, handler: str, argument: Any) -> str:
        response = self.ingress.post(f"/{service}/{handler}/send", json=argument)
        assert response.is_success, response.text
        return str(response.json()["invocationId"])

    def is_ready(self) -> bool:
        try:
            return self.manager.get("/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def await_ready(self, seconds: float = 20, what: str = "") -> None:
        """Wait until every component was looked at from now on, and found to be usable."""
        await_ready(self.manager, seconds, what)

    def close(self) -> None:
        for client in (self.manager, self.ingress, self.admin, self.workers):
            client.close()


def await_ready(manager: httpx2.Client, seconds: float = 20, what: str = "") -> None:
    """Wait until a manager has looked at every component from now on, and found it to be usable.

    What it says at once was seen up to a second ago: before something was killed, perhaps.
    """
    began = time.monotonic()

    def is_ready() -> bool:
        try:
            response = manager.get("/health/ready")
        except httpx2.TransportError:
            return False
        ages = [component["age_seconds"] for component in response.json()["components"]]
        return response.status_code == 200 and max(ages) < time.monotonic() - began

    wait_until(is_ready, seconds, what, READY_PAUSE_SECONDS)


def alive(pids: list[int]) -> list[str]:
    """Which of the processes still run, with their names; a zombie does not."""
    running = []
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if status.rsplit(")", 1)[1].split()[0] != "Z":
            running.append(f"{pid} {status.split('(', 1)[1].rsplit(')', 1)[0]}")
    return running


def pid_of(node: Subject, name: str) -> int:
    """Find the process of a node that runs the program `name`."""
    assert node.pid is not None
    for pid in descendants(node.pid):
        if Path(f"/proc/{pid}/comm").read_text().strip() == name:
            return pid
    raise AssertionError(f"no {name} in {node.log}")


def manager_of(node: Subject) -> int:
    """Find the process of a node that is its manager."""
    assert node.pid is not None
    for pid in descendants(node.pid):
        if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").endswith(b"gridiron\0manager"):
            return pid
    raise AssertionError(node.log)


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to connections at any time."""
    while True:
        port = random.randrange(20_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(
    condition: Callable[[], Any], seconds: float = 20, what: str = "", pause_seconds: float = 0.02
) -> Any:
    """Wait for a condition with a deadline; gives its truthy value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not so after {seconds} s: {what or condition}"
        time.sleep(pause_seconds)
