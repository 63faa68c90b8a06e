"""A manager on a fake Restate, fake cells, a real directory and a clock that the test moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridiron.bundles.store import BundleStore
from gridiron.manager.activate import Activator
from gridiron.manager.api import Activated, ActivateRequest
from gridiron.manager.context import Context
from gridiron.manager.deployments import Deployments
from gridiron.manager.prune import Pruner
from gridiron.manager.registry import Registry
from gridiron.model import Address
from gridiron.settings import load_settings
from gridiron.testing.restate import FakeRestate, fake_service
from gridiron.testing.workers import FakeCells

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=60)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class Manager:
    """The parts of a manager, and shortcuts for what most tests do with them."""

    def __init__(self, directory: Path, *, retain: int = 5, port_offset: int = 0) -> None:
        self.directory = directory
        self.clock = Clock()
        self.restate = FakeRestate()
        self.cells = FakeCells()
        self.settings = load_settings(
            data_dir=directory / "data",
            drain_grace_seconds=GRACE.total_seconds(),
            retain=retain,
            port_offset=port_offset,
        )
        self.settings.manager_state_dir.mkdir(parents=True, exist_ok=True)
        self.context = Context(
            settings=self.settings,
            store=BundleStore(self.settings.bundles_dir),
            restate=self.restate,
            cells=self.cells,
            registry=Registry(self.settings.manager_state_dir / "state.json"),
            now=self.clock,
        )
        self.context.store.clear_staging()
        self.activator = Activator(self.context)
        self.pruner = Pruner(self.context, lambda: self.activator.activating)
        self.deployments = Deployments(self.context, self.pruner)

    def bundle(self, content: str = "export default {}") -> str:
        directory = self.directory / f"bundle-{abs(hash(content))}"
        directory.mkdir(exist_ok=True)
        (directory / "index.js").write_text(content)
        return directory.as_uri()

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
        self.restate.serve(self.uri_of_next(name, version), fake_service(service, "run"))
        source = self.bundle(f"// {name} {version}\nexport default {{}}")
        request = ActivateRequest(source=source, name=name, version=version, **more)  # type: ignore[arg-type]
        activated = await self.activator.activate(request)
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
        """What stands in the bundle directory, staging included."""
        root = self.settings.bundles_dir
        staging = root / ".staging"
        found = [path.name for path in root.iterdir() if path != staging]
        return sorted(found) + sorted(str(path) for path in staging.iterdir())


@pytest.fixture
def manager(tmp_path: Path) -> Manager:
    return Manager(tmp_path)
