"""A node as `gridiron up` runs it, and everything that a measure does to it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.processes import fetch_cpu_seconds, fetch_memory
from gridiron.bundles.store import BundleStore
from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.manager.activation import plan_build
from gridiron.manager.api import ActivateRequest
from gridiron.model import Address
from gridiron.testing.login import AdminToken
from gridiron.testing.processes import descendants, fetch_program

REQUEST_SECONDS = 120
PROGRAMS = {
    "restate-server": "restate",
    "haproxy": "haproxy",
    "workerd": "cells",
    "gridiron workers": "pool",
    "gridiron manager": "manager",
}
"""Program to the component that it is. The last two are in no call's path, and pass on what cells say."""


class Node:
    """A node that runs. `running_node` gives one. What is answered as it must not be raises BenchFailed."""

    def __init__(self, subject: Subject) -> None:
        self.settings = subject.settings
        self._subject = subject
        self._store = BundleStore(self.settings.bundles_dir)
        self._manager = httpx2.Client(
            base_url=self.settings.manager_url, timeout=REQUEST_SECONDS, auth=AdminToken(self.settings)
        )
        self._admin = httpx2.Client(base_url=self.settings.restate_admin_url, timeout=REQUEST_SECONDS)
        self._ingress = httpx2.Client(base_url=self.settings.ingress_url, timeout=REQUEST_SECONDS)

    @property
    def ingress_port(self) -> int:
        """Where callers call."""
        return self.settings.ports.ingress

    def activate(self, bundle: Path, name: str, version: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Activate a bundle through the manager; give its answer."""
        return self.activate_source(bundle.as_uri(), name, version)

    def activate_source(self, source: str, name: str, version: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Activate what is at a source; give the manager's answer."""
        body = {"source": source, "name": name, "version": version}
        return _json(self._manager.post("/activate", json=body), 201)

    def upload(self, archive: Path) -> str:
        """Send an archive to the manager; give the source that it is then."""
        with archive.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with archive.open("rb") as file:
            response = self._manager.put(f"/bundles/{sha256}", content=file)
        if not response.is_success:
            raise BenchFailed(f"an upload was answered {response.text}")
        return f"bundle:{sha256}"

    def prune(self, build_id: str) -> None:
        """Remove a build, whatever still needs it."""
        _json(self._manager.post("/prune", json={"build_id": build_id, "force": True}), 200)

    def restart_cells(self) -> int:
        """Replace every cell; give how many there were."""
        return int(_json(self._manager.post("/workers/restart"), 200)["cells"])

    def fetch_pool(self) -> Any:  # noqa: ANN401 - decoded JSON
        """Say what the manager says of the cells."""
        return _json(self._manager.get("/workers"), 200)

    def fetch_build(self, build_id: str) -> Any:  # noqa: ANN401 - decoded JSON
        """Say what the manager says of a build."""
        return _json(self._manager.get(f"/deployments/{build_id}"), 200)

    def fetch_page(self, limit: int, cursor: str | None = None) -> Any:  # noqa: ANN401 - decoded JSON
        """Read a page of the list of builds."""
        parameters = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
        return _json(self._manager.get("/deployments", params=parameters), 200)

    def is_any_loaded(self) -> bool:
        """Tell whether any cell has a build loaded."""
        page = self.fetch_page(1000)
        return any(place["loaded"] for build in page["deployments"] for place in build["nodes"] or ())

    def register(self, uri: str, **more: Any) -> str:  # noqa: ANN401 - Restate's own fields
        """Register an endpoint with Restate, without the manager; give the deployment's id."""
        return str(
            _json(self._admin.post("/deployments", json={"uri": uri, "force": False, **more}), 201)["id"]
        )

    def check_protocol(self, deployment_id: str, protocol: str) -> None:
        """See that Restate speaks a protocol with a deployment: `BidiStream` or `RequestResponse`."""
        shown = _json(self._admin.get(f"/deployments/{deployment_id}"), 200)
        if shown["protocol_type"] != protocol:
            raise BenchFailed(f"{shown['uri']} was to be called by {protocol}, not {shown['protocol_type']}")

    def unregister(self, deployment_id: str) -> None:
        """Have Restate forget a deployment, whatever still needs it."""
        _json(self._admin.delete(f"/deployments/{deployment_id}?force=true"), 202)

    def place(self, bundle: Path, name: str, version: str) -> Address:
        """Put a bundle among the builds without activating it; give its address."""
        now = datetime.now(UTC)
        request = ActivateRequest(source=bundle.as_uri(), name=name, version=version)
        address = Address(name=name, version=version, timestamp=int(now.timestamp() * 1000))
        staged = self._store.stage(bundle)
        self._store.publish(staged, plan_build(address, staged, request, now))
        return address

    def displace(self, address: Address) -> None:
        """Remove the files of a build that `place` put there."""
        self._store.remove(str(address))

    def uri(self, address: Address) -> str:
        """Say where Restate finds a build."""
        return self.settings.workers_url + address.path

    def call(self, service: str, handler: str, argument: object = None) -> Any:  # noqa: ANN401 - the handler's
        """Call a handler through the ingress; give its answer."""
        return _json(self._ingress.post(f"/{service}/{handler}", json=argument), 200)

    def send(self, service: str, handler: str) -> str:
        """Begin a call whose answer is not waited for; give the invocation's id."""
        return str(_json(self._ingress.post(f"/{service}/{handler}/send", json=None), 202)["invocationId"])

    def has_ended(self, invocation: str) -> bool:
        """Tell whether an invocation has its answer."""
        response = self._ingress.get(f"/restate/invocation/{invocation}/output")
        return response.status_code != 470  # not ready

    def fetch_pids(self) -> dict[str, list[int]]:
        """Find the processes of each component that calls cost something."""
        pids: dict[str, list[int]] = {component: [] for component in PROGRAMS.values()}
        for pid in self._fetch_descendants():
            component = PROGRAMS.get(fetch_program(pid))
            if component is not None:
                pids[component].append(pid)
        return pids

    def _fetch_descendants(self) -> list[int]:
        if self._subject.pid is None:
            raise BenchFailed("the node does not run")
        return descendants(self._subject.pid)

    def fetch_cpu_seconds(self) -> dict[str, float]:
        """Say how much processor time each component has used."""
        return {component: fetch_cpu_seconds(pids) for component, pids in self.fetch_pids().items()}

    def fetch_cells_memory(self) -> int:
        """Say how many bytes all cells have in memory (PSS)."""
        return fetch_memory(self.fetch_pids()["cells"])

    def fetch_manager_memory(self) -> int:
        """Say how many bytes the manager has in memory (PSS)."""
        return fetch_memory([self.manager_pid])

    @property
    def manager_pid(self) -> int:
        """The manager's process."""
        found = (pid for pid in self._fetch_descendants() if fetch_program(pid) == "gridiron manager")
        return next(found)

    def close(self) -> None:
        """Close the connections."""
        for client in (self._manager, self._admin, self._ingress):
            client.close()


@contextmanager
def running_node(session: Session, name: str, **overrides: Any) -> Iterator[Node]:  # noqa: ANN401 - settings
    """Run a node with an empty directory on free ports; `overrides` are fields of Settings.

    It removes nothing by itself, so that no sweep falls into a measure.
    """
    settings = choose_settings(session.work / name, **{"sweep_seconds": 3600, **overrides})
    subject = Subject(settings, session.work)
    node = Node(subject)
    try:
        subject.start()
        yield node
    finally:
        node.close()
        subject.stop()


def wait_until(condition: Any, seconds: float, what: str, pause: float = 0.01) -> None:  # noqa: ANN401 - truth
    """Wait for a condition. Raises BenchFailed, saying what was waited for, when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchFailed(f"not so after {seconds:.0f} s: {what}")
        time.sleep(pause)


def _json(response: httpx2.Response, status: int) -> Any:  # noqa: ANN401 - each has a shape of its own
    if response.status_code != status:
        raise BenchFailed(f"{response.request.method} {response.request.url} answered {response.text}")
    return response.json() if response.content else None
