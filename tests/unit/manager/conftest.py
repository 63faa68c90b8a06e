"""A manager on a fake Restate, fake cells, a real directory and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gridiron.access.audit import AuditLog
from gridiron.access.restraint import Rates
from gridiron.access.scopes import Caller, Kind, Scope
from gridiron.access.tokens import TokenStore
from gridiron.bundles.intake import Intake, Policy
from gridiron.bundles.store import BundleStore
from gridiron.cli.credentials import read_token
from gridiron.lifecycle.routing import Service
from gridiron.manager.activate import Activator
from gridiron.manager.admission import Admission
from gridiron.manager.api import Activated, ActivateRequest
from gridiron.manager.context import Context
from gridiron.manager.deployments import Deployments
from gridiron.manager.execute import Executor
from gridiron.manager.health import HealthChecker
from gridiron.manager.http.app import Control, make_app
from gridiron.manager.http.guard import Guard
from gridiron.manager.logs import Logs
from gridiron.manager.loop import Loop
from gridiron.manager.metrics.exporter import Exporter
from gridiron.manager.node_status import NodeReader
from gridiron.manager.observe import Observer
from gridiron.manager.peers.client import Peers
from gridiron.manager.registry import Registry
from gridiron.manager.turns import Everywhere, Turns, alone
from gridiron.model import Address
from gridiron.restate.answers import address_of
from gridiron.secrets.store import SecretStore
from gridiron.settings import Settings, load_settings
from gridiron.testing.restate import FakeEndpoint, FakeRestate, fake_service
from gridiron.testing.workers import FakeCells
from gridiron.toolchain.programs import find_toolchain
from gridiron.workers.log_files import open_logs
from gridiron.workers.status import PoolCell

ADMIN = Caller("0badcafe", "ops", (Scope(Kind.ADMIN),))
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=60)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


def parse_offer(word: str) -> Service:
    """Read `name`, `name:handler,handler` or `name=Type:handler,handler`."""
    head, _, handlers = word.partition(":")
    name, _, type_ = head.partition("=")
    return fake_service(name, *(handlers or "run").split(","), type_=type_ or "Service")


def make_cell(name: str, own: str | None = None, *, serving: bool = True) -> PoolCell:
    """What the pool says of a cell."""
    return PoolCell(
        cell=name,
        pid=1,
        serving=serving,
        own=own,
        own_in_flight=None,
        uptime_seconds=1,
        memory=7000,
        memory_limit=9000,
        loaded=3,
    )


def make_settings(directory: Path, **overrides: Any) -> Settings:
    grace = GRACE.total_seconds()
    given = {"data_dir": directory / "data", "source_roots": "/", "drain_grace_seconds": grace}
    return load_settings(**{**given, **overrides})


class Manager:
    """The parts of a manager, and shortcuts for what most tests do with them."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        restate: FakeRestate | None = None,
        cells: FakeCells | None = None,
        clock: Clock | None = None,
        *,
        store: BundleStore | None = None,
        everywhere: Everywhere = alone,
        peers: Peers | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.clock = clock or Clock()
        self.restate = restate or FakeRestate()
        self.restate.find_endpoint = self._find_endpoint
        self.cells = cells or FakeCells()
        self.cells.logs = open_logs(settings)
        self.settings.manager_state_dir.mkdir(parents=True, exist_ok=True)
        store = store or BundleStore(self.settings.bundles_dir)
        intake = Intake(store, Policy.of(self.settings))
        self.context = Context(
            settings=self.settings,
            store=store,
            intake=intake,
            admission=Admission(intake),
            restate=self.restate,
            cells=self.cells,
            registry=Registry(self.settings.manager_state_dir / "state.json"),
            secrets=SecretStore(self.settings.secrets_dir),
            now=self.clock,
        )
        self.context.secrets.prepare()
        self.context.registry.bind(self.context.store.prepare(self.context.registry.store))
        self.observer, turns = Observer(self.context), Turns(everywhere)
        self.executor = Executor(self.context, self.observer, turns)
        self.loop = Loop(self.context, self.observer, self.executor)
        self.activator = Activator(self.context, self.observer, self.executor, turns, self.loop)
        self.deployments = Deployments(self.context, self.observer, peers)
        self.logs = Logs(self.context, self.observer, peers)
        tokens = TokenStore(self.settings.manager_state_dir)
        tokens.prepare(self.clock())
        self.guard = Guard(
            tokens=tokens,
            audit=AuditLog(self.settings.manager_state_dir / "audit.jsonl"),
            rates=Rates(self.settings.request_rate, self.settings.request_burst),
            open_loopback=self.settings.open_loopback,
            now=self.clock,
        )

    @asynccontextmanager
    async def serve(self, address: str = "127.0.0.1") -> AsyncIterator[httpx2.AsyncClient]:
        """Give a client of the manager's app at an address, logged in as its admin."""
        settings = self.settings
        node = NodeReader(self.context, find_toolchain(settings), lambda: settings)
        control = Control(self.activator, self.loop, self.deployments, self.logs, node, self.guard)
        token = read_token(self.guard.tokens.admin_file)
        async with asyncio.TaskGroup() as tasks:
            health = HealthChecker(())  # it looks at no component
            exporter = Exporter(self.context, self.observer, health, versions={})
            app = make_app(self.context, control, health, exporter, tasks)
            async with httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app, raise_app_exceptions=False, client=(address, 1)),
                base_url="http://manager.test",
                headers={"authorization": f"Bearer {token}"},
            ) as client:
                yield client

    def restart(self) -> Manager:
        """What a manager finds that is started after this one died: the same disk, Restate and cells."""
        return Manager(self.directory, self.settings, self.restate, self.cells, self.clock)

    def bundle(self, content: str = "export default {}") -> str:
        directory = self.directory / f"bundle-{abs(hash(content))}"
        directory.mkdir(exist_ok=True)
        (directory / "index.js").write_text(content)
        return directory.as_uri()

    def _find_endpoint(self, uri: str) -> FakeEndpoint | None:
        """Serve what is stored: a service for each word behind `// offers`, as `parse_offer` reads it."""
        address = address_of(uri)
        main = self.settings.bundles_dir / str(address) / "index.js"
        if address is None or not main.is_file():
            return None
        _, said, offers = main.read_text().partition("// offers ")
        if not said:
            return None
        return FakeEndpoint(tuple(parse_offer(word) for word in sorted(offers.split())))

    def uri_of_next(self, name: str, version: str) -> str:
        """The uri of the build that the next activation makes, if the clock stands still."""
        now = int(self.clock.now.timestamp() * 1000)
        builds = self.context.store.list_builds()
        timestamp = max([now, *(build.timestamp + 1 for build in builds)])
        return self.context.uri(Address(name=name, version=version, timestamp=timestamp))

    async def activate(
        self, version: str = "1", name: str = "demo", service: str = "demo", **more: object
    ) -> Activated:
        """Activate content of its own for each version; its endpoint offers `service`."""
        self.clock.now += timedelta(seconds=1)
        source = self.bundle(f"// {name} {version}\n// offers {service}")
        return await self.activate_source(source, version, name, **more)

    async def activate_source(
        self, source: str, version: str, name: str = "demo", **more: object
    ) -> Activated:
        request = ActivateRequest(source=source, name=name, version=version, **more)  # type: ignore[arg-type]
        activated = await self.activator.activate(request, ADMIN)
        if activated.outcome == "activated":
            self.cells.load(activated.path)
        return activated

    async def loaded(self) -> list[str]:
        """The paths of what the one cell has loaded."""
        return [build.path for builds in (await self.cells.fetch_loaded()).values() for build in builds]

    async def states(self) -> dict[str, str]:
        """The state of each build by its version."""
        page = await self.deployments.fetch_page(None, None, None, 1000)
        return {view.version: view.state.value for view in page.deployments}

    @property
    def stored(self) -> list[str]:
        """The builds in the bundle directory, and what is in staging."""
        root = self.settings.bundles_dir
        staging = root / ".staging"
        found = [path.name for path in root.iterdir() if path.name[0] != "."]
        return sorted(found) + sorted(str(path) for path in staging.iterdir())


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path, make_settings(tmp_path))
