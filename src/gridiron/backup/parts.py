"""What a node is on its disk: the parts of a backup. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.store import STAGING
from gridiron.bundles.uploads import UPLOADS
from gridiron.process.lock import LOCK_FILE
from gridiron.restate.config import CONFIG_FILE
from gridiron.settings import Settings
from gridiron.workers.quarantine import QUARANTINE_FILE

RESTATE = "restate"


@dataclass(frozen=True, slots=True)
class Part:
    """A directory of the node."""

    name: str  # in a backup
    directory: Path
    takes: Callable[[str], bool] = lambda name: name != LOCK_FILE  # of the names in it; all that is below
    of_workers: bool = False  # who go on writing while it is read


def plan_parts(settings: Settings) -> tuple[Part, ...]:
    """Give the parts of a node, Restate's data last: nothing runs without it.

    What is left out is made again or is worth nothing later: sockets, generated configuration, what is on its
    way in.
    """
    not_bundles = {STAGING, UPLOADS, f".{LOCK_FILE}"}
    return (
        Part("bundles", settings.bundles_dir, lambda name: name not in not_bundles),
        Part("secrets", settings.secrets_dir),
        Part("identity", settings.identity_dir),
        Part("manager", settings.manager_state_dir),
        Part("logs", settings.logs_dir, of_workers=True),
        Part("workers", settings.workers_dir, lambda name: name == QUARANTINE_FILE, of_workers=True),
        Part(RESTATE, settings.restate_dir, lambda name: name != CONFIG_FILE),
    )
