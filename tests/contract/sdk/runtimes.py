"""One node, whose Restate calls the same services in its cells and in a Node.js process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import ndiff
from pathlib import Path
from typing import Any

import httpx2

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.testing.probe import build_probe
from gridiron.testing.processes import descendants
from gridiron.toolchain.programs import Toolchain, find_toolchain
from tests.acceptance.nodes import WORKER
from tests.harness import Client, alive, wait_until

HERE = Path(__file__).parent
FIRST_OFFSET = 5_000 + 3 * WORKER
ANSWER_SECONDS = 30
STOP_SECONDS = 10


@dataclass(frozen=True)
class Invocation:
    """One invocation, and what it has told in the output of its runtime."""

    runtime: Runtime
    id: str

    @property
    def marks(self) -> list[str]:
        return re.findall(rf"mark {self.id} (.*)\.\n", self.runtime.log.read_text(errors="replace"))

    def wait_for_mark(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """Wait until a mark matches a regular expression as a whole, and give the first that does."""

        def find() -> re.Match[str] | None:
            found = (re.fullmatch(pattern, mark) for mark in self.marks)
            return next((match for match in found if match), None)

        match: re.Match[str] = wait_until(find, seconds, f"{self.runtime.name} marks {pattern}")
        return match

    def expect_marks(self, *expected: str, seconds: float = 20) -> None:
        """Wait until there are as many marks as are expected, and assert that they are these.

        Whether more come is looked at once more when all tests have run.
        """
        with suppress(AssertionError):  # what is missing is told below
            wait_until(lambda: len(self.marks) >= len(expected), seconds)
        marks = self.marks
        assert marks == list(expected), "\n".join(ndiff(expected, marks))
        self.runtime.expected[self] = marks

    def answer(self, seconds: float = ANSWER_SECONDS) -> httpx2.Response:
        """Wait for the answer as the ingress gives it."""
        return self.runtime.ingress.get(f"/restate/invocation/{self.id}/attach", timeout=seconds)

    def value(self) -> Any:
        response = self.answer()
        assert response.status_code == 200, response.text
        return response.json()

    def act(self, verb: str) -> None:
        """Let Restate's admin API cancel, kill, pause or resume it."""
        response = self.runtime.admin.patch(f"/invocations/{self.id}/{verb}")
        assert response.is_success, response.text

    def status(self) -> str | None:
        query = {"query": f"SELECT status FROM sys_invocation WHERE id = '{self.id}'"}  # noqa: S608 - a test's own
        response = self.runtime.admin.post("/query", json=query, headers={"accept": "application/json"})
        assert response.status_code == 200, response.text
        rows = response.json()["rows"]
        return str(rows[0]["status"]) if rows else None

    def wait_for_status(self, status: str) -> None:
        wait_until(lambda: self.status() == status, what=f"{self.id} is {status}")


@dataclass(frozen=True)
class Runtime:
    """Where the services run. A target is Service/handler or Service/key/handler: the runtime is added."""

    name: str
    ingress: httpx2.Client
    admin: httpx2.Client
    log: Path
    expected: dict[Invocation, list[str]] = field(default_factory=dict, compare=False)

    def path(self, target: str) -> str:
        service, _, rest = target.partition("/")
        return f"/{service}.{self.name}/{rest}"

    def request(self, target: str, argument: Any = None, **more: Any) -> httpx2.Response:
        """Call through the ingress. The argument is sent as JSON, unless it is None."""
        if argument is not None:
            more["json"] = argument
        return self.ingress.post(self.path(target), **more)

    def call(self, target: str, argument: Any = None, **more: Any) -> Any:
        """Call and give the answer, which must be a success; None where it is empty."""
        response = self.request(target, argument, **more)
        assert response.status_code == 200, response.text
        return response.json() if response.content else None

    def send(self, target: str, argument: Any = None, **more: Any) -> Invocation:
        """Send, with an idempotency key so that its answer is kept."""
        headers = {"idempotency-key": str(uuid.uuid4())}
        response = self.request(f"{target}/send", argument, **{"headers": headers, **more})
        assert response.status_code == 202, response.text
        return self.invocation(response.json()["invocationId"])

    def resolve(self, awakeable: str, value: Any) -> None:
        response = self.ingress.post(f"/restate/awakeables/{awakeable}/resolve", json=value)
        assert response.is_success, response.text

    def reject(self, awakeable: str, reason: str) -> None:
        response = self.ingress.post(
            f"/restate/awakeables/{awakeable}/reject", content=reason, headers={"content-type": "text/plain"}
        )
        assert response.is_success, response.text

    def invocation(self, id_: str) -> Invocation:
        return Invocation(self, id_)


@contextmanager
def start_runtimes(directory: Path) -> Iterator[dict[str, Runtime]]:
    """Start both, and stop them on the way out, whatever happened."""
    settings = choose_settings(
        directory / "node",
        FIRST_OFFSET,
        cells=1,
        sweep_seconds=3600,
        drain_grace_seconds=3600,
        restate_partitions=2,
    )
    subject = Subject(settings, directory)
    toolchain = find_toolchain(settings)
    try:
        with start_node(toolchain, directory / "nodejs.log") as url:
            bundle = build_probe(
                toolchain, directory / "bundle", f'export {{ default }} from "{HERE}/cells_main.mjs";'
            )
            subject.start()
            with (
                httpx2.Client(base_url=settings.ingress_url, timeout=ANSWER_SECONDS) as ingress,
                httpx2.Client(base_url=settings.restate_admin_url, timeout=ANSWER_SECONDS) as admin,
            ):
                registered = admin.post("/deployments", json={"uri": url, "force": False})
                assert registered.status_code == 201, registered.text
                client = Client(subject)
                client.activate(bundle, "1.0.0", "sdk")
                client.close()
                yield {
                    "node": Runtime("node", ingress, admin, directory / "nodejs.log"),
                    "cells": Runtime("cells", ingress, admin, directory / "node.log"),
                }
    finally:
        stop_subject(subject)


@contextmanager
def start_node(toolchain: Toolchain, log: Path) -> Iterator[str]:
    """Run the services in Node.js; give the address of its endpoint."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [toolchain.node().path, HERE / "node_main.mjs"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        said = wait_until(lambda: re.search(r"listens on (\d+)\n", log.read_text()), what="Node.js listens")
        yield f"http://127.0.0.1:{said[1]}"
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop_subject(subject: Subject) -> None:
    processes = descendants(subject.pid) if subject.pid else []
    subject.stop()
    left = alive(processes)
    for process in left:
        os.kill(int(process.split()[0]), signal.SIGKILL)
    assert not left
