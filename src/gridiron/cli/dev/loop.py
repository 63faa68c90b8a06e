"""The development loop: what is saved is built, activated and followed; what it replaced is removed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from gridiron.bundles.incremental import Mistake
from gridiron.bundles.sdk import fetch_sdk
from gridiron.cli.client import ManagerClient
from gridiron.cli.dev.events import Event, Live, NotBuilt, Refused, Removed, Spent, Types, Warned, Watching
from gridiron.cli.dev.leftovers import Leftovers
from gridiron.cli.dev.maker import Maker, find_name
from gridiron.cli.dev.sender import Sender
from gridiron.cli.dev.types import TypeReport, plan_check
from gridiron.cli.dev.watch import Save, watch_saves
from gridiron.cli.edge import ManagerRefused
from gridiron.cli.following import Following, Lost, News
from gridiron.errors import BadInput, Environment, GridironError, ManagerUnavailable
from gridiron.manager.api import Activated, ActivateRequest
from gridiron.model import State
from gridiron.process.child import start_child
from gridiron.toolchain.programs import Toolchain
from gridiron.workers.logs import LogEvent

VERSION = "dev"
"""Of every build of a development loop."""

LIMIT = timedelta(seconds=60)
"""How long an activation may take: Restate waits half as long for a bundle that does not answer."""

AGAIN_SECONDS = 1.0
"""Until what failed because the manager was away is tried again."""

STOP_GRACE = timedelta(seconds=2)
"""How long the check of types may take to end, and what is being built or activated."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    directory: Path  # absolute
    name: str | None  # None: what the project says
    variables: dict[str, str] = field(default_factory=dict)
    takeover: bool = False
    check_types: bool = True


class Development:
    """One development loop. `tell` is called with all there is to say, in the thread of the event loop."""

    def __init__(
        self,
        wanted: Wanted,
        manager: ManagerClient,
        toolchain: Toolchain,
        tell: Callable[[Event | LogEvent], None],
    ) -> None:
        self._wanted = wanted
        self._manager = manager
        self._toolchain = toolchain
        self._tell = tell
        self._saves: asyncio.Queue[Save | None] = asyncio.Queue()
        self._builds: set[str] = set()  # of this name and version
        self._sender = Sender(manager, LIMIT)
        self._leftovers = Leftovers(manager, lambda build_id: tell(Removed(build_id)))
        self._name = ""
        self._said: Event | None = None
        self._mistyped = False
        self._seen: dict[str, datetime] = {}  # when each build printed last

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping`.

        Raises what `find_recipe` raises, IdentityMissing, ManagerUnavailable where there is no node, and what
        the toolchain raises.
        """
        directory = self._wanted.directory
        self._name = await asyncio.to_thread(find_name, directory, self._wanted.name)
        await self._find_builds()
        loop = asyncio.get_running_loop()

        def arrive(news: News) -> None:
            loop.call_soon_threadsafe(self._take_news, news)

        self._following = Following(self._manager, arrive)
        self._tell(Watching(str(directory), self._manager.url))
        self._saves.put_nowait(Save((), timedelta(0), time.monotonic()))
        with Maker(directory, self._toolchain) as maker:
            async with asyncio.TaskGroup() as group:
                working = group.create_task(self._work(maker), name="build and activate")
                others = [
                    group.create_task(watch_saves(directory, self._saves.put_nowait), name="watch"),
                    group.create_task(self._leftovers.run(), name="remove leftovers"),
                    group.create_task(self._check_types(maker), name="check types"),
                ]
                await stopping.wait()
                self._saves.put_nowait(None)
                await asyncio.wait({working}, timeout=STOP_GRACE.total_seconds())
                for task in (working, *others):
                    task.cancel()
        await self._leftovers.remove()

    # -- build and activate -------------------------------------------------------------------------------

    async def _work(self, maker: Maker) -> None:
        """Bring each save to life; several that came meanwhile are one."""
        while (save := await self._saves.get()) is not None:
            while not self._saves.empty():
                later = self._saves.get_nowait()
                if later is None:
                    return
                save = later.after(save)
            if await asyncio.to_thread(maker.is_new, save.paths):
                await self._bring_to_life(save, maker)

    async def _bring_to_life(self, save: Save, maker: Maker) -> None:
        began = time.monotonic()
        try:
            made = await asyncio.to_thread(maker.make)
        except GridironError as error:
            self._tell_once(NotBuilt((Mistake(str(error)),)))
            return
        built = time.monotonic()
        if made.warnings:
            self._tell(Warned(made.warnings))
        if made.bundle is None:
            self._tell(NotBuilt(made.errors))
            return
        try:
            activated = await self._activate(made.bundle)
        except ManagerUnavailable as error:
            self._tell_once(Refused(error.code, str(error)))
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._saves.put_nowait, save)
            return
        except ManagerRefused as error:
            self._tell(Refused(error.problem.code, error.problem.detail))
            return
        except (BadInput, Environment) as error:  # a bundle that cannot be packed, a full disk
            self._tell(Refused(error.code, str(error)))
            return
        now = time.monotonic()
        noticed = save.noticed + timedelta(seconds=began - save.at)
        spent = Spent(noticed, timedelta(seconds=built - began), timedelta(seconds=now - built))
        self._take_activated(save, activated, spent)

    async def _activate(self, bundle: Path) -> Activated:
        request = ActivateRequest(
            source=bundle.as_uri(),
            name=self._name,
            version=VERSION,
            vars=dict(self._wanted.variables),
            breaking=True,  # what is being written changes all the time
            takeover=self._wanted.takeover,
        )
        return await asyncio.to_thread(self._sender.activate, request, bundle)

    async def _find_builds(self) -> None:
        """Find what an earlier loop has left of this name."""
        views = await asyncio.to_thread(self._manager.fetch_deployments, self._name)
        ours = [view for view in views if view.version == VERSION]
        self._builds.update(view.build_id for view in ours)
        self._leftovers.add(view.build_id for view in ours if view.state is not State.ACTIVE)

    def _take_activated(self, save: Save, activated: Activated, spent: Spent) -> None:
        self._said = None
        self._builds.add(activated.build_id)
        keeps = tuple(keeping.service for keeping in activated.keeps)
        changed = activated.outcome == "activated"
        self._tell(Live(activated.build_id, save.paths, spent, changed, keeps, activated.timings_ms))
        self._following.add(activated.build_id)
        self._leftovers.add(self._builds & set(activated.replaces))

    def _tell_once(self, event: Event) -> None:
        """Tell a failure that is tried again, unless it is the one that was told last."""
        if event != self._said:
            self._said = event
            self._tell(event)

    # -- what builds print --------------------------------------------------------------------------------

    def _take_news(self, news: News) -> None:
        if isinstance(news, LogEvent):
            self._take_printed(news)
        elif isinstance(news, Lost) and isinstance(news.failure, ManagerUnavailable):
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._following.again, news.build_id)

    def _take_printed(self, event: LogEvent) -> None:
        """Tell what a build printed, unless it was told before."""
        seen = self._seen.get(event.build_id)
        if seen is not None and event.time < seen:  # it is followed anew, from the beginning on
            return
        self._seen[event.build_id] = event.time
        self._tell(event)

    # -- types --------------------------------------------------------------------------------------------

    async def _check_types(self, maker: Maker) -> None:
        """Run TypeScript's compiler beside it, where the project has a tsconfig.json."""
        if not self._wanted.check_types:
            return
        directory = self._wanted.directory
        sdk = fetch_sdk(directory, self._toolchain)
        command = plan_check(directory, self._toolchain, sdk, maker.out)
        if command is None:
            return
        child = await start_child(command, TypeReport(self._take_types).feed)
        try:
            returncode = await child.wait()
        finally:
            await child.stop(STOP_GRACE)
        self._tell(Types((Mistake(f"TypeScript ended with {returncode}: types are checked no more."),)))

    def _take_types(self, errors: tuple[Mistake, ...]) -> None:
        if errors or self._mistyped:
            self._tell(Types(errors))
        self._mistyped = bool(errors)
