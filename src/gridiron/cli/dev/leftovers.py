"""Remove the builds that a development loop leaves behind, each as soon as it has drained."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gridiron.cli.client import ManagerClient
from gridiron.cli.edge import ManagerRefused
from gridiron.errors import BuildNotFound, ManagerUnavailable
from gridiron.manager.api import PruneRequest

PAUSE_SECONDS = 1.0
"""Before each try to remove something: one looks at all builds, and is to be in the way of no save."""


class Leftovers:
    """Builds that are to go: each when the manager finds that nothing needs it, and never by force."""

    def __init__(self, manager: ManagerClient, on_removed: Callable[[str], None]) -> None:
        self._manager = manager
        self._on_removed = on_removed
        self._build_ids: set[str] = set()
        self._added = asyncio.Event()

    def add(self, build_ids: Iterable[str]) -> None:
        """Have builds removed. Safe to repeat."""
        self._build_ids.update(build_ids)
        if self._build_ids:
            self._added.set()

    async def run(self) -> None:
        """Remove what can go, until cancelled."""
        while True:
            await self._added.wait()
            await asyncio.sleep(PAUSE_SECONDS)
            await self.remove()
            if not self._build_ids:
                self._added.clear()

    async def remove(self) -> None:
        """Try each once, oldest first; what is needed, or cannot be known, stays for the next time."""
        for build_id in sorted(self._build_ids):
            try:
                await asyncio.to_thread(self._manager.prune, PruneRequest(build_id=build_id))
            except ManagerUnavailable:
                return
            except ManagerRefused as error:
                if error.problem.code == BuildNotFound.code:
                    self._build_ids.discard(build_id)
                continue
            self._build_ids.discard(build_id)
            self._on_removed(build_id)
