"""A node of a mesh: `gridiron up` on a machine of its own, and what can befall it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

from gridiron.access.tls import NO_TLS
from gridiron.secrets.key import KEY_FILE, KEY_SIZE
from gridiron.settings import Settings, load_settings
from gridiron.testing.processes import descendants, fetch_program
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, alive, wait_until
from tests.machines import Machine

STOP_SECONDS = 20
CALL_SECONDS = 5
DISCOVERY = "application/vnd.restate.endpointmanifest.v3+json"
GRIDIRON = (sys.executable, "-P", "-m", "gridiron")
LIGHT = {"cells": 1, "restate_memory": "64 MiB", "sweep_seconds": 5, "drain_grace_seconds": 1}
"""Three nodes share two cores."""

EVERYWHERE = {"manager_host": "0.0.0.0", "ingress_host": "0.0.0.0"}  # noqa: S104 - on machines of our own

CLUSTER_KEY = b"k" * KEY_SIZE

HOLDABLE = """#!/bin/sh
# workerd, which does not come to serve while the file beside it is there
if [ "$1" = serve ] && [ -e "$0.held" ]; then exit 1; fi
exec '{workerd}' "$@"
"""


class MeshNode:
    """One node; `settings` are as the test reaches it, from outside of its machine."""

    def __init__(
        self, machine: Machine, directory: Path, environment: Mapping[str, str], **settings: Any
    ) -> None:
        self.machine = machine
        self.directory = directory
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._workerd = directory / "bin" / "workerd"
        self._make_holdable()
        given = {**LIGHT, **EVERYWHERE, "data_dir": directory / "data", "workerd": self._workerd}
        self._own = load_settings(**{**given, **settings})  # as the node itself has them
        self.client = Client(self)
        self.starting = False  # until `await_ready` has seen that it is ready

    # -- where it is

    @property
    def name(self) -> str:
        return self._own.node_name

    @property
    def settings(self) -> Settings:
        host, ports = self.machine.address, self._own.ports
        return self._own.model_copy(
            update={
                "manager_url": f"http://{host}:{ports.manager}",
                "ingress_url": f"http://{host}:{ports.ingress}",
            }
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        path = self._log
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def __repr__(self) -> str:
        return f"<{self.name}: {self._log}>"

    # -- life and death

    def start(self, **changes: Any) -> None:
        """Start it, with some other settings than before where they are given; `await_ready` waits for it."""
        self.configure(**changes)
        self._bring_key()
        self.starting = True
        self._process = self.machine.start((*GRIDIRON, "up"), self._log, self._node())

    def configure(self, **changes: Any) -> None:
        """Change what is in its gridiron.toml, so to speak."""
        self._own = self._own.model_copy(update=changes)

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a verb on its machine with all that is in its gridiron.toml, as who runs the node does."""
        return self.machine.run((*GRIDIRON, *arguments), self._node())

    def await_ready(self, seconds: float = 120) -> None:
        """Wait until everything of it was looked at from now on, and is usable."""
        assert self._process is not None, "it was not started"
        process = self._process
        wait_until(lambda: process.poll() is not None or self._has_said_ready(), seconds, self.complain())
        assert process.poll() is None, self.complain()
        self.client.await_ready(seconds, self.complain())
        self.starting = False

    def complain(self) -> str:
        return f"{self!r} is not ready"

    def _has_said_ready(self) -> bool:
        return any("ready in " in line or '"event": "node.ready"' in line for line in self.log.splitlines())

    def kill(self) -> None:
        """Let it lose its power: nothing of it gets to do anything more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        processes = self.processes()
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process = None
        wait_until(lambda: not alive(processes), STOP_SECONDS, f"{self!r} has ended")

    def processes(self) -> list[int]:
        """All of its processes that run."""
        return descendants(self._process.pid) if self._process else []

    def give_key(self, key: bytes) -> None:
        """Give it the key of its cluster, as an operator does before its first start."""
        self._own.secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._own.secrets_dir / KEY_FILE
        path.write_bytes(key)
        path.chmod(0o600)

    def wipe(self) -> None:
        """Lose its disk."""
        shutil.rmtree(self._own.data_dir)

    def kill_manager(self) -> int:
        """Kill its manager, which `gridiron up` starts again; give the process that it was."""
        pid = self.pid_of("gridiron manager")
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def cells_held(self) -> Iterator[None]:
        """Kill its cells, and keep any from coming up until the end."""
        held = self._workerd.with_name("workerd.held")
        held.touch()
        try:
            for pid in self.processes():
                if fetch_program(pid) == "workerd":
                    with suppress(ProcessLookupError):  # it has just ended
                        os.kill(pid, signal.SIGKILL)
            yield
        finally:
            held.unlink()

    def cut(self) -> None:
        self.machine.cut()

    def heal(self) -> None:
        self.machine.heal()

    def pid_of(self, program: str) -> int:
        """Find a process of it by its program, such as `gridiron manager`."""
        return next(pid for pid in self.processes() if fetch_program(pid) == program)

    # -- what is asked of it on its own machine

    def gridiron(self, *arguments: str) -> Any:
        """Run a verb on its machine, as its user does; give what it printed as JSON."""
        return json.loads("\n".join(self.lines(*arguments)))

    def lines(self, *arguments: str) -> list[str]:
        """The same for a verb that prints a value on each line."""
        done = self.try_gridiron(*arguments, "--json")
        assert done.returncode == 0, f"gridiron {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout.splitlines()

    def try_gridiron(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.machine.run((*GRIDIRON, *arguments), self._user())

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Ask its Restate."""
        with self.machine.inside():
            response = httpx2.post(
                f"http://127.0.0.1:{self._own.ports.admin}/query",
                json={"query": sql},
                headers={"accept": "application/json"},
                timeout=30,
                trust_env=False,
            )
        rows: list[dict[str, Any]] = response.raise_for_status().json()["rows"]
        return rows

    def answers(self, service: str, version: str) -> bool:
        """Whether a call through its ingress is answered by this version, and soon."""
        url = f"{self.settings.ingress_url}/{service}/version"
        try:
            response = httpx2.post(url, timeout=CALL_SECONDS, trust_env=False, verify=NO_TLS)
        except httpx2.TransportError:
            return False
        return response.status_code == 200 and response.json() == version

    def serves(self, path: str) -> bool:
        """Whether its cells serve a build."""
        with self.machine.inside():
            response = self.client.workers.get(path + "/discover", headers={"accept": DISCOVERY})
        return response.status_code == 200

    def close(self) -> None:
        """End it, whatever state it is in. Safe to repeat."""
        try:
            self.kill()
        finally:
            self.client.close()

    def _node(self) -> dict[str, str]:
        """The environment of the node itself."""
        return {**self._user(), **self._environment, **self._own.environment()}

    def _user(self) -> dict[str, str]:
        """The environment of who works on this machine: it has a home of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GRIDIRON_")}
        return {**kept, "XDG_DATA_HOME": str(self.directory / "home"), "NO_COLOR": "1"}

    def _bring_key(self) -> None:
        """Give it the key of the cluster, as its operator does."""
        path = self._own.secrets_dir / KEY_FILE
        if self._own.cluster is not None and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(CLUSTER_KEY)

    def _make_holdable(self) -> None:
        self._workerd.parent.mkdir(parents=True)
        workerd = find_toolchain(load_settings()).workerd().path
        self._workerd.write_text(HOLDABLE.format(workerd=workerd))
        self._workerd.chmod(0o755)
