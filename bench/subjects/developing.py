"""Two development loops on the same project: `gridiron dev` and `wrangler dev`."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.node import Node, wait_until
from bench.subjects.processes import errors_of, running
from gridiron.bundles.wrangler_build import WRANGLER_ENVIRONMENT

SERVICE = "saved"
SOURCE = f"""
import * as restate from "@restatedev/restate-sdk-cloudflare-workers/fetch";
const VERSION = "@VERSION@";
const service = restate.service({{ name: "{SERVICE}", handlers: {{ says: async () => VERSION }} }});
const handle = restate.createEndpointHandler({{ services: [service], bidirectional: true }});
export default {{
  fetch(request: Request, env: unknown, ctx: unknown) {{
    if (new URL(request.url).pathname.endsWith("/version")) return new Response(JSON.stringify(VERSION));
    return handle(request, env as never, ctx as never);
  }},
}};
"""
MANIFEST = f'name = "{SERVICE}"\nmain = "src/index.ts"\ncompatibility_date = "2026-10-01"\n'

START_SECONDS = 120
ANSWER_SECONDS = 30
PAUSE_SECONDS = 0.005
"""Between two questions: as short as a person who reloads a page would never be."""


@dataclass(frozen=True)
class Question:
    """What is asked until the answer is the new one."""

    port: int
    method: str
    path: str

    def ask(self, connection: http.client.HTTPConnection) -> str | None:
        """Ask once; None where there is no answer, or none that is a version."""
        try:
            body = "null" if self.method == "POST" else None
            headers = {"content-type": "application/json"} if body else {}
            connection.request(self.method, self.path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read()
        except (http.client.HTTPException, OSError):
            connection.close()
            return None
        return json.loads(answer) if response.status == 200 else None


class Project:
    """A project whose worker answers its version."""

    def __init__(self, directory: Path, packages: Path) -> None:
        self.directory = directory
        self._source = directory / "src" / "index.ts"
        self._source.parent.mkdir(parents=True)
        (directory / "wrangler.toml").write_text(MANIFEST)
        (directory / "node_modules").symlink_to(packages)
        self._version = 0
        self._write()

    def save(self) -> str:
        """Save the source with another version; give that."""
        self._version += 1
        self._write()
        return str(self._version)

    def _write(self) -> None:
        self._source.write_text(SOURCE.replace("@VERSION@", str(self._version)))

    def time_save(self, question: Question) -> float:
        """Save, and give the milliseconds until the first answer of what was saved. Raises BenchFailed."""
        connection = http.client.HTTPConnection("127.0.0.1", question.port, timeout=ANSWER_SECONDS)
        began = time.perf_counter()
        version = self.save()
        while question.ask(connection) != version:
            if time.perf_counter() - began > ANSWER_SECONDS:
                raise BenchFailed(
                    f"{self.directory.name}: version {version} was not live after {ANSWER_SECONDS} s"
                )
            time.sleep(PAUSE_SECONDS)
        millis = (time.perf_counter() - began) * 1000
        connection.close()
        return millis


@contextmanager
def running_gridiron_dev(
    session: Session, node: Node, project: Project
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Run `gridiron dev`; gives what reads all that it has told."""
    output = session.work / "gridiron-dev.output"
    arguments = (sys.executable, "-P", "-m", "gridiron", "dev", str(project.directory), "--json")

    def told() -> list[dict[str, Any]]:
        lines = output.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    with running(arguments, output, environment={**os.environ, **node.settings.environment()}) as process:
        wait_until(
            lambda: process.poll() is not None or any(event["event"] == "live" for event in told()),
            START_SECONDS,
            "gridiron dev is live",
        )
        if process.poll() is not None:
            raise BenchFailed(f"gridiron dev ended: {errors_of(output).read_text()}")
        yield told


@contextmanager
def running_wrangler_dev(session: Session, project: Project) -> Iterator[Question]:
    """Run `wrangler dev`; gives what to ask it."""
    output, port = session.work / "wrangler-dev.output", _free_port()
    where = ("--ip", "127.0.0.1", "--port", str(port), "--inspector-port", str(_free_port()))
    question = Question(port, "GET", "/version")
    environment = {**os.environ, **WRANGLER_ENVIRONMENT, "CLOUDFLARE_CF_FETCH_ENABLED": "false"}
    arguments = (*session.toolchain.wrangler_command(), "dev", *where)
    with running(arguments, output, cwd=project.directory, environment=environment) as process:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        wait_until(
            lambda: process.poll() is not None or question.ask(connection) is not None,
            START_SECONDS,
            "wrangler dev answers",
        )
        connection.close()
        if process.poll() is not None:
            raise BenchFailed(f"wrangler dev ended: {output.read_text()}{errors_of(output).read_text()}")
        yield question


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
