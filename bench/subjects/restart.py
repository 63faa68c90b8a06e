"""The baseline `restart`: workerd with a service for each build in its configuration.

What one does without a loader: each deployment renders the configuration with one build more, stops workerd,
starts it, and registers the new build with Restate. HAProxy stands before it, as before the cells, so that
Restate can stream.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from bench.harness import BenchFailed
from bench.session import Session
from bench.subjects.node import wait_until
from bench.subjects.processes import errors_of, running
from bench.subjects.proxy import running_proxy
from gridiron.model import DEFAULT_COMPATIBILITY_DATE
from gridiron.workers.cells import DISCOVERY_TYPES
from gridiron.workers.render import capnp_value

ROUTER = Path(__file__).with_name("restart_router.js")
START_SECONDS = 60
KINDS = {".js": "esModule", ".wasm": "wasm"}  # of the modules that the benches' bundles have
SOCKET, OUTPUT, CONFIG = "workerd.sock", "workerd.output", "workerd.capnp"


class RestartedWorkers:
    """workerd and HAProxy. `running_restarted_workers` gives them, with no build yet."""

    def __init__(self, session: Session, directory: Path, uri: str) -> None:
        self._workerd = session.toolchain.workerd().path
        self._directory = directory
        self._uri = uri
        self._builds: list[tuple[str, Path]] = []  # path below the root, directory
        self._running = ExitStack()
        self._http = httpx2.Client(  # past HAProxy, which would wait before it tries again
            base_url="http://workerd",
            transport=httpx2.HTTPTransport(uds=str(directory / SOCKET)),
            headers={"accept": DISCOVERY_TYPES},
            timeout=START_SECONDS,
        )

    @property
    def pid(self) -> int:
        """The process id of workerd."""
        return self._process.pid

    @property
    def builds(self) -> int:
        """How many builds there are."""
        return len(self._builds)

    def deploy(self, *bundles: tuple[str, Path]) -> str:
        """Add builds, each a path `{name}/{version}` and a bundle; restart workerd; give the last one's URL.

        It serves then: its endpoint has answered. Raises BenchFailed when it does not.
        """
        for path, bundle in bundles:
            build = self._directory / f"build-{self.builds}"
            shutil.copytree(bundle, build)
            self._builds.append((path, build))
        (self._directory / CONFIG).write_text(render_config(self._builds))
        self.stop()
        (self._directory / SOCKET).unlink(missing_ok=True)
        arguments = (self._workerd, "serve", CONFIG)
        self._process = self._running.enter_context(
            running(arguments, self._directory / OUTPUT, cwd=self._directory)
        )
        path = self._builds[-1][0]
        wait_until(lambda: self._answers(path), START_SECONDS, f"{path} answers")
        return f"{self._uri}/{path}"

    def forget_last(self) -> None:
        """Leave the last build out of the next configuration."""
        _, build = self._builds.pop()
        shutil.rmtree(build)

    def stop(self) -> None:
        """Stop workerd. Safe to repeat."""
        self._running.close()

    def _answers(self, path: str) -> bool:
        if self._process.poll() is not None:
            raise BenchFailed(f"workerd ended: {errors_of(self._directory / OUTPUT).read_text()}")
        try:
            return self._http.get(f"/{path}/discover").status_code == 200
        except httpx2.TransportError:
            return False


@contextmanager
def running_restarted_workers(session: Session) -> Iterator[RestartedWorkers]:
    """Run HAProxy in front of a workerd that `deploy` starts."""
    directory = session.work / "restart"
    directory.mkdir()
    shutil.copy(ROUTER, directory / ROUTER.name)
    with running_proxy(session, directory, f"unix@{SOCKET}") as proxy:
        workers = RestartedWorkers(session, directory, proxy.uri)
        try:
            yield workers
        finally:
            workers.stop()


def render_config(builds: Sequence[tuple[str, Path]]) -> str:
    """Render workerd's configuration: a service for each build, and the router with a binding for each."""
    names = [directory.name for _, directory in builds]
    services = "".join(f"    (name = {capnp_value(name)}, worker = .w{n}),\n" for n, name in enumerate(names))
    bindings = "".join(
        f"    (name = {capnp_value(path)}, service = {capnp_value(directory.name)}),\n"
        for path, directory in builds
    )
    workers = "".join(_render_worker(number, directory) for number, (_, directory) in enumerate(builds))
    return f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "router", worker = .router),
{services}  ],
  sockets = [(name = "data", address = "unix:{SOCKET}", http = (), service = "router")],
);
const router :Workerd.Worker = (
  modules = [(name = "router.js", esModule = embed "{ROUTER.name}")],
  compatibilityDate = "{DEFAULT_COMPATIBILITY_DATE}",
  bindings = [
{bindings}  ],
);
{workers}"""


def _render_worker(number: int, directory: Path) -> str:
    files = sorted(directory.iterdir(), key=lambda file: file.name != "index.js")  # the main module first
    modules = "".join(
        f"    (name = {capnp_value(file.name)}, {KINDS[file.suffix]} = embed "
        f"{capnp_value(f'{directory.name}/{file.name}')}),\n"
        for file in files
    )
    return f"""const w{number} :Workerd.Worker = (
  modules = [
{modules}  ],
  compatibilityDate = "{DEFAULT_COMPATIBILITY_DATE}",
);
"""
