"""Read which builds a directory holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gridiron.bundles.disk import storing
from gridiron.bundles.paths import METADATA_FILE
from gridiron.errors import NameInvalid, VersionInvalid
from gridiron.model import Build, describe_validation


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something in the directory that should be a build and cannot be read as one."""

    directory: str  # its name, beside the builds
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that the directory holds."""

    builds: tuple[Build, ...]  # by timestamp
    damaged: tuple[Damaged, ...]  # by name


class InventoryReader:
    """Reads the inventory of one directory; a build that was read before costs one look at its file."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[tuple[str, int], Build] = {}  # by name and time of change of metadata.json

    def fetch(self, prefix: str = "") -> Inventory:
        """Read the directory as it is now, or what begins with `prefix` there. Dot files are no builds.

        Raises StorageFailed when it cannot be read, also when it is not there: that is not the same as empty.
        """
        with storing("Reading", self._directory):
            names = sorted(name for name in os.listdir(self._directory) if name[0] != ".")  # noqa: PTH208 - names are all
        found = {name: self._fetch_build(name) for name in names if name.startswith(prefix)}
        known = {key: build for key, build in found.values() if key and isinstance(build, Build)}
        # put in place at once: several threads may read
        self._known = {**self._known, **known} if prefix else known
        builds = [build for _, build in found.values() if isinstance(build, Build)]
        return Inventory(
            builds=tuple(sorted(builds, key=lambda build: (build.timestamp, build.build_id))),
            damaged=tuple(damaged for _, damaged in found.values() if isinstance(damaged, Damaged)),
        )

    def _fetch_build(self, name: str) -> tuple[tuple[str, int] | None, Build | Damaged | None]:
        """Read one build, or say why it cannot be read; None where it is gone by now."""
        path = self._directory / name / METADATA_FILE
        try:
            key = (name, path.stat().st_mtime_ns)
            known = self._known.get(key)
            return key, known or parse_build(name, path.read_bytes())
        except FileNotFoundError:
            if not os.path.lexists(self._directory / name):  # removed since the directory was listed
                return None, None
            return None, Damaged(name, f"it has no {METADATA_FILE}")
        except OSError as error:
            return None, Damaged(name, f"{METADATA_FILE} cannot be read: {error.strerror or error}")


def parse_build(name: str, content: bytes) -> Build | Damaged:
    """Read the `metadata.json` of the build in the directory `name`."""
    try:
        build = Build.model_validate_json(content)
    except ValidationError as error:
        return Damaged(name, f"{METADATA_FILE} is damaged: {describe_validation(list(error.errors()))}")
    except (NameInvalid, VersionInvalid) as error:
        return Damaged(name, f"{METADATA_FILE} is damaged: {error}")
    if build.build_id != name:
        return Damaged(name, f"{METADATA_FILE} is of {build.build_id}")
    return build
