"""Following what several builds print at once: a thread for each, and one place where it arrives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from gridiron.cli.client import EVERYTHING, ManagerClient
from gridiron.errors import GridironError, ManagerUnavailable
from gridiron.manager.api import LogEnd
from gridiron.workers.logs import LogEvent, Wanted


@dataclass(frozen=True, slots=True)
class Lost:
    """A build cannot be followed (any more)."""

    build_id: str
    failure: GridironError


News = LogEvent | LogEnd | Lost


class Following:
    """Follows builds, until each ends or is lost. Its threads do not keep the process from ending.

    `on_news` is called from those threads.
    """

    def __init__(
        self, manager: ManagerClient, on_news: Callable[[News], None], wanted: Wanted = EVERYTHING
    ) -> None:
        self._manager = manager
        self._wanted = wanted
        self._on_news = on_news
        self._followed: set[str] = set()

    def add(self, build_id: str, limit: int | None = None) -> None:
        """Follow a build, from its newest `limit` events on. Safe to repeat: it is followed once."""
        if build_id not in self._followed:
            self._followed.add(build_id)
            arguments = (build_id, limit)
            threading.Thread(target=self._run, args=arguments, name=f"logs {build_id}", daemon=True).start()

    def again(self, build_id: str) -> None:
        """Follow a build anew that was lost: what is kept of it comes once more."""
        self._followed.discard(build_id)
        self.add(build_id)

    def _run(self, build_id: str, limit: int | None) -> None:
        try:
            for news in self._manager.follow_log(build_id, self._wanted, limit):
                self._on_news(news)
                if isinstance(news, LogEnd):
                    return
            raise ManagerUnavailable(self._manager.url, "it stopped")
        except GridironError as error:
            self._on_news(Lost(build_id, error))
