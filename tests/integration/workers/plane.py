"""A data plane for tests: `gridiron workers` as a process, builds to serve, ways to look at it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from gridiron.bundles.rules import kind_of
from gridiron.identity.store import IdentityStore
from gridiron.model import Build, Compatibility, Module, Rule
from gridiron.settings import Settings, load_settings
from gridiron.testing.processes import descendants
from gridiron.testing.signing import Signer
from gridiron.workers.cells import Cells
from gridiron.workers.control import ask_once
from gridiron.workers.sockets import control_socket, list_cells
from tests.harness import alive, free_port, wait_until
from tests.integration.workers.duplex import DuplexStream, open_stream

T = TypeVar("T")


@contextmanager
def running(directory: Path, within: tuple[str, ...] = (), **overrides: Any) -> Iterator[Plane]:
    """Give a data plane that serves; nothing of it is left after the block. `within` is as in Plane."""
    plane = Plane(directory, **overrides)
    plane.within = within
    try:
        plane.start()
        yield plane
    finally:
        plane.clean_up()


class Plane:
    """One data plane. `start` it, and `stop` it, which fails when it leaves anything behind."""

    def __init__(self, directory: Path, **overrides: Any) -> None:
        # a path that needs quoting, and a short one for the sockets
        data_dir = directory / 'data "of" it'
        self.run_dir = Path(tempfile.mkdtemp(prefix="gridiron-test-"))
        values: dict[str, Any] = {"cells": 2, "workers_port": free_port(), **overrides}
        self.settings: Settings = load_settings(data_dir=data_dir, run_dir=self.run_dir, **values)
        self.url = self.settings.workers_url
        self._client = httpx2.AsyncClient()
        self.identity = IdentityStore.of(self.settings)
        self.signer = Signer(self.identity.signing_key)
        self.within: tuple[str, ...] = ()  # a command that the process is started through
        self.cells = Cells(self.run_dir, self.url, self._client)
        self._log = directory / "workers.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._launches = 0
        self._timestamp = 0

    # -- the process -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait until it serves; first Restate's role would have made its key."""
        self._launches += 1
        self.identity.take_up()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.within, sys.executable, "-P", "-m", "gridiron", "workers"],
                env={**os.environ, **self.settings.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    def start(self) -> None:
        process = self.launch()
        wait_until(lambda: process.poll() is not None or self._is_ready(), 30, "the workers serve")
        assert process.poll() is None, self.output

    def _is_ready(self) -> bool:
        try:
            ready = self.output.count("workers.ready") == self._launches
            return ready and httpx2.get(f"{self.url}/-/health").status_code == 200
        except httpx2.TransportError:
            return False

    def processes(self, name: str) -> list[int]:
        """The workers' child processes of a program, in the order of their start."""
        return sorted(pid for pid in descendants(self.pid) if program_of(pid) == name)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process, and assert that it leaves neither processes nor listening sockets."""
        assert self._process is not None
        processes = descendants(self._process.pid)
        self._process.send_signal(number)
        returncode = self._process.wait(10)
        try:
            wait_until(lambda: not alive(processes), 5, "all processes have ended")
        finally:
            for left in alive(processes):
                os.kill(int(left.split()[0]), signal.SIGKILL)
        # a process whose first thread has ended counts as dead a moment before its other threads let go
        wait_until(lambda: not any(listens(path) for path in self.run_dir.glob("*.sock")), 5, "none listens")
        if number == signal.SIGTERM:
            left = [path.name for path in self.run_dir.iterdir()]
            assert left == ["lock"], left
            assert returncode == 0, self.output
        return returncode

    def clean_up(self) -> None:
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
        finally:
            shutil.rmtree(self.run_dir)

    # -- bundles and requests --------------------------------------------------------------------------------

    def write_build(
        self, name: str, files: Mapping[str, str | bytes] | str, version: str = "1.0.0", **more: Any
    ) -> Build:
        """Store a build as the manager does: its modules, and metadata.json."""
        contents = {"index.js": files} if isinstance(files, str) else files
        encoded = {path: body.encode() if isinstance(body, str) else body for path, body in contents.items()}
        self._timestamp += 1
        build = Build(
            name=name,
            version=version,
            timestamp=self._timestamp,
            created_at=datetime.now(UTC),
            source="file:///test",
            sha256="0" * 64,
            main="index.js",
            modules=tuple(
                describe_module(path, body, more.get("rules", ())) for path, body in sorted(encoded.items())
            ),
            **{"compatibility": Compatibility(), **more},
        )
        return self.write_files(build, encoded)

    def write_files(self, build: Build, files: Mapping[str, bytes]) -> Build:
        directory = self.directory(build)
        for path, body in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(body)
        (directory / "metadata.json").write_text(build.model_dump_json())
        return build

    def directory(self, build: Build) -> Path:
        return self.settings.bundles_dir / build.build_id

    def client(self, **options: Any) -> httpx2.AsyncClient:
        """A client that signs what it sends, as Restate does."""
        return httpx2.AsyncClient(**{"base_url": self.url, "timeout": 30, "auth": self.signer, **options})

    def open_stream(
        self, path: str, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[DuplexStream]:
        """Send a request over HTTP/2 that goes on while its answer is read; signed, or with these headers."""
        return open_stream(self.url, path, self.signer.headers(path) if headers is None else headers)

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        async with self.client() as client:
            return await client.get(path, **options)

    async def in_flight(self, build: Build) -> int:
        """What all cells together are answering of a build."""
        loaded = await self.cells.fetch_loaded()
        return sum(
            each.in_flight for builds in loaded.values() for each in builds if each.path == build.address.path
        )

    async def living_cells(self) -> list[str]:
        """The cells that answer on their control sockets."""
        names = list_cells(self.run_dir)
        answers = [await ask_once(self.run_dir / control_socket(name), "GET", "/health") for name in names]
        return [name for name, answer in zip(names, answers, strict=True) if answer is not None]


def describe_module(path: str, body: bytes, rules: tuple[Rule, ...] = ()) -> Module:
    kind = kind_of(path, rules)
    assert kind is not None, path
    return Module(name=path, kind=kind, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended, before or during the read
        return ""


async def eventually(fetch: Callable[[], Awaitable[T]], seconds: float = 20) -> T:
    """Wait until something is truthy, with a deadline, and give it."""
    deadline = time.monotonic() + seconds
    while not (value := await fetch()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        await asyncio.sleep(0.05)
    return value
