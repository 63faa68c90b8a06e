"""The builds that have a cell of their own since they brought others down; kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import structlog
from pydantic import ValidationError

from gridiron.errors import StorageFailed
from gridiron.model import Value, name_build
from gridiron.process.files import replace_file
from gridiron.workers.watchdog import Reason

log = structlog.get_logger()

QUARANTINE_FILE = "quarantine.json"
"""Beside the generated configuration."""

MOST_QUARANTINED = 16
"""Cells that quarantine may add: a machine that kills cells for its own reasons must not get ever more."""


class Quarantined(Value):
    """Why and since when a build has a cell of its own."""

    key: str  # "name/version-timestamp"
    since: datetime
    reason: Reason  # of the last death that it was in flight at


class _File(Value):
    format: Literal[1] = 1
    quarantined: tuple[Quarantined, ...] = ()


class Quarantine:
    """The quarantined builds, in memory and in a file."""

    def __init__(self, path: Path, bundles_dir: Path) -> None:
        self._path = path
        self._bundles_dir = bundles_dir
        self._builds: dict[str, Quarantined] = {}

    @property
    def builds(self) -> Mapping[str, Quarantined]:
        """They, by key."""
        return MappingProxyType(self._builds)

    def load(self) -> None:
        """Read the file, leaving out builds that are gone. A file that cannot be read counts as none.

        Raises StorageFailed when it is there and the disk does not give it.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageFailed("Reading", str(self._path), error.strerror or str(error)) from error
        try:
            known = _File.model_validate_json(content).quarantined
        except ValidationError as error:
            log.error("quarantine.unreadable", path=str(self._path), reason=str(error))  # noqa: TRY400 - it says it all
            return
        self._builds = {each.key: each for each in known if self.is_stored(each.key)}

    def is_stored(self, key: str) -> bool:
        """Tell whether the files of a build are there."""
        return (self._bundles_dir / name_build(key)).is_dir()

    def add(self, entry: Quarantined) -> None:
        """Put a build into quarantine. Raises StorageFailed."""
        self._builds[entry.key] = entry
        self._save()

    def remove(self, key: str) -> bool:
        """Take a build out of quarantine; False when it was not in it. Raises StorageFailed."""
        if self._builds.pop(key, None) is None:
            return False
        self._save()
        return True

    def _save(self) -> None:
        content = _File(quarantined=tuple(self._builds.values())).model_dump_json(indent=2)
        try:
            replace_file(self._path, content.encode(), mode=0o644)
        except OSError as error:
            raise StorageFailed("Writing", str(self._path), error.strerror or str(error)) from error
