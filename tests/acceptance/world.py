"""A node, bundles of any shape on it, and what Restate itself says of both."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.cli.demo.subject import Subject
from gridiron.restate.answers import address_of
from gridiron.testing.processes import descendants, fetch_program
from tests.harness import Client, alive, wait_until

WORKER = Path(__file__).with_name("world_worker.js")
HANDLERS = (
    "version",
    "runs",
    "runsAfterAStep",
    "sleeps",
    "isSuspended",
    "fails",
    "failsAfterAStep",
    "failsSeldom",
    "failsSeldomAfterAStep",
    "isPaused",
    "isPausedAfterAStep",
)

ONE_CELL = {"cells": 1}
"""Of a node's settings: a build has one gate then, see world_worker.js."""

Shapes = Mapping[str, Mapping[str, Any]]
"""Services by name; what a value says is in world_worker.js."""


def shape(type_: str = "Service", *handlers: str) -> Mapping[str, Any]:
    return {"type": type_, "handlers": list(handlers or HANDLERS)}


def problem(response: httpx2.Response) -> tuple[int, str | None]:
    """The status and the code of a failure; no code where it is none."""
    return response.status_code, response.json().get("code")


@dataclass(frozen=True)
class Picture:
    """All that must be as it was."""

    states: dict[str, str]  # of each build
    registered: list[str]
    newest: dict[str, str]
    answers: dict[str, str]  # by service: which version


class World:
    """One node for as long as a test or a module needs it."""

    def __init__(self, node: Subject, bundle: Path) -> None:
        self.node = node
        self.client = Client(node)
        self._bundle = bundle
        self._admin = httpx2.Client(base_url=node.settings.restate_admin_url, timeout=60, verify=NO_TLS)

    def close(self) -> None:
        self.client.close()
        self._admin.close()

    # -- the node

    def pid_of(self, program: str) -> int:
        """Find a process of the node by its program, such as `restate-server` or `gridiron manager`."""
        assert self.node.pid is not None
        return next(pid for pid in descendants(self.node.pid) if fetch_program(pid) == program)

    @contextmanager
    def frozen(self, program: str) -> Iterator[None]:
        """Stop a process so that it accepts connections and never answers; let it go on in the end."""
        pid = self.pid_of(program)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def dying(self, program: str) -> Iterator[None]:
        """Stop a process so that it does nothing meanwhile, then kill it; the node starts another."""
        pid = self.pid_of(program)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive([pid]))

    def is_ready(self) -> bool:
        try:
            return self.client.manager.get("/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def await_ready(self) -> None:
        self.client.await_ready(60, what=self.node.log)

    def unready(self) -> tuple[int, list[str]]:
        """What readiness answers, and the components that it says are not ready."""
        ready = self.client.manager.get("/health/ready")
        return ready.status_code, [each["name"] for each in ready.json()["components"] if not each["ready"]]

    def await_unready(self, *names: str) -> None:
        """Wait until readiness says that these components are not ready, and no others."""
        wait_until(lambda: self.unready() == (503, list(names)), 8, what=str(self.unready()))

    def picture(self) -> Picture:
        return Picture(self.states(), sorted(self.registered().values()), self.newest(), self.answers())

    def answers(self) -> dict[str, str]:
        """The version that answers a call of each service there is."""
        return {service: self.client.call(service, "version") for service in self.newest()}

    def await_picture(self, expected: Picture) -> None:
        """Wait until all is as it was; what starts may fail meanwhile."""

        def is_so() -> bool:
            try:
                return self.picture() == expected
            except (httpx2.TransportError, httpx2.HTTPStatusError, AssertionError):
                return False

        wait_until(is_so, 60, what=self.node.log)

    # -- builds

    def try_deploy(
        self, name: str, version: str, services: Shapes | None = None, **more: Any
    ) -> httpx2.Response:
        """Activate a version of a bundle; without `services` it has one of its own name with all handlers."""
        body = {
            "source": self._bundle.as_uri(),
            "name": name,
            "version": version,
            "vars": {"VERSION": version, "SERVICES": services or {name: shape()}},
            **more,
        }
        return self.client.manager.post("/activate", json=body)

    def deploy(self, name: str, version: str, services: Shapes | None = None, **more: Any) -> dict[str, Any]:
        response = self.try_deploy(name, version, services, **more)
        assert response.status_code in {200, 201}, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def states(self, **filters: str) -> dict[str, str]:
        """The state of each build, by its id."""
        builds = self.client.builds(limit="1000", **filters)
        return {build["build_id"]: build["state"] for build in builds}

    def prune(self, build_id: str, **more: Any) -> httpx2.Response:
        return self.client.manager.post("/prune", json={"build_id": build_id, **more})

    def open(self, build: Mapping[str, Any]) -> None:
        """Let go on what waits at the gate of a build."""
        assert self.client.workers.post(f"{build['path']}/-/open").status_code == 204

    # -- invocations

    def send(self, service: str, handler: str, **params: str) -> str:
        response = self.client.ingress.post(f"/{service}/{handler}/send", params=params)
        assert response.is_success, response.text
        return str(response.json()["invocationId"])

    def attach(self, invocation_id: str) -> Any:
        """The answer of an invocation, or its failure's status."""
        response = self.client.ingress.get(f"/restate/invocation/{invocation_id}/attach")
        return response.json() if response.is_success else response.status_code

    def change(self, invocation_id: str, how: str) -> None:
        """Have Restate's admin API do something to an invocation."""
        response = self._admin.patch(f"/invocations/{invocation_id}/{how}")
        assert response.is_success, response.text

    def invocation(self, invocation_id: str) -> tuple[str, bool] | None:
        """The status of an invocation and whether it is pinned, as Restate has it."""
        rows = self.query(
            "select status, pinned_deployment_id is not null as pinned "  # noqa: S608 - an id that Restate gave
            f"from sys_invocation where id = '{invocation_id}'"
        )
        return (rows[0]["status"], rows[0]["pinned"]) if rows else None

    def bring(self, service: str, handler: str, status: str, *, pinned: bool, **params: str) -> str:
        """Send a call and wait until its invocation is as it should be; give its id."""
        invocation_id = self.send(service, handler, **params)
        self.await_invocation(invocation_id, status, pinned=pinned)
        return invocation_id

    def await_invocation(self, invocation_id: str, status: str, *, pinned: bool) -> None:
        wait_until(lambda: self.invocation(invocation_id) == (status, pinned), what=f"{status}, {pinned}")

    # -- Restate's own

    def query(self, sql: str) -> list[dict[str, Any]]:
        response = self._admin.post("/query", json={"query": sql}, headers={"accept": "application/json"})
        rows: list[dict[str, Any]] = response.raise_for_status().json()["rows"]
        return rows

    def registered(self) -> dict[str, str]:
        """What is registered: by deployment, the build, or the uri of what is none."""
        deployments = self._admin.get("/deployments").raise_for_status().json()["deployments"]
        return {each["id"]: str(address_of(each["uri"]) or each["uri"]) for each in deployments}

    def newest(self) -> dict[str, str]:
        """Who has each service: the build, or the uri of what is none."""
        rows = self.query("select name, deployment_id from sys_service")
        registered = self.registered()
        return {row["name"]: registered.get(row["deployment_id"], "gone by now") for row in rows}

    def register_by_hand(self, uri: str) -> str:
        """Register an endpoint as somebody does who does not know of Gridiron; give the deployment's id."""
        response = self.try_register_by_hand(uri)
        assert response.is_success, response.text
        return str(response.json()["id"])

    def try_register_by_hand(self, uri: str) -> httpx2.Response:
        """Try to do that."""
        return self._admin.post("/deployments", json={"uri": uri, "force": False})
