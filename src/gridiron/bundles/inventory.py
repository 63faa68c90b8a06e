"""Read which builds a directory holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gridiron.bundles.disk import storing
from gridiron.bundles.paths import METADATA_FILE
from gridiron.errors import NameInvalid, StorageFailed, VersionInvalid
from gridiron.lifecycle.observation import Damaged, Inventory, Mark
from gridiron.model import Build, describe_validation
from gridiron.settings import BUNDLES_IDENTITY

MARK_FILE = ".mark"
"""Beside a build's metadata.json: where the build is in its life. Most have none. An empty one was about to
say that Restate is asked to register the build: that alone is written without being synced."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One directory."""

    key: tuple[str, int]  # its name and the time of change of metadata.json
    build: Build
    mark: Mark | None


class InventoryReader:
    """Reads the inventory of one directory; a build that was read before costs two looks at its files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[tuple[str, int], Build] = {}

    def fetch(self, prefix: str = "") -> Inventory:
        """Read the directory as it is now, or what begins with `prefix` there. Dot files are no builds.

        Raises StorageFailed when it cannot be read, also when it is not there or has no identity: that is not
        the same as empty.
        """
        identity = self.fetch_identity()
        with storing("Reading", self._directory):
            names = sorted(name for name in os.listdir(self._directory) if name[0] != ".")  # noqa: PTH208 - names are all
        found = [self._fetch_entry(name) for name in names if name.startswith(prefix)]
        entries = [entry for entry in found if isinstance(entry, _Entry)]
        known = {entry.key: entry.build for entry in entries}
        # put in place at once: several threads may read
        self._known = {**self._known, **known} if prefix else known
        builds = (entry.build for entry in entries)
        return Inventory(
            identity=identity,
            builds=tuple(sorted(builds, key=lambda build: (build.timestamp, build.build_id))),
            damaged=tuple(damaged for damaged in found if isinstance(damaged, Damaged)),
            marks={entry.build.build_id: entry.mark for entry in entries if entry.mark is not None},
        )

    def fetch_identity(self) -> str:
        """Read the identity of the directory. Raises StorageFailed, also when it has none."""
        path = self._directory / BUNDLES_IDENTITY
        with storing("Reading", path):
            identity = path.read_text("utf-8", errors="replace").strip()
        if not identity:
            raise StorageFailed("Reading", str(path), "it is empty")
        return identity

    def _fetch_entry(self, name: str) -> _Entry | Damaged | None:
        """Read one build, or say why it cannot be read; None where it is gone by now."""
        path = self._directory / name / METADATA_FILE
        try:
            key = (name, path.stat().st_mtime_ns)
            build = self._known.get(key) or parse_build(name, path.read_bytes())
            return build if isinstance(build, Damaged) else _Entry(key, build, _read_mark(path.parent))
        except FileNotFoundError:
            if not os.path.lexists(self._directory / name):  # removed since the directory was listed
                return None
            return Damaged(name, f"it has no {METADATA_FILE}")
        except ValueError:
            return Damaged(name, f"{MARK_FILE} is damaged")
        except OSError as error:
            return Damaged(name, f"{METADATA_FILE} cannot be read: {error.strerror or error}")


def _read_mark(directory: Path) -> Mark | None:
    """Read the mark of a build; None where it has none. Raises ValueError when it is no mark, OSError."""
    try:
        return Mark((directory / MARK_FILE).read_text("ascii") or Mark.REGISTERING)
    except FileNotFoundError:
        return None


def parse_build(name: str, content: bytes) -> Build | Damaged:
    """Read the `metadata.json` of the build in the directory `name`."""
    try:
        build = Build.model_validate_json(content)
    except ValidationError as error:
        return Damaged(name, _describe_problem(error))
    except (NameInvalid, VersionInvalid) as error:
        return Damaged(name, f"{METADATA_FILE} is damaged: {error}")
    if build.build_id != name:
        return Damaged(name, f"{METADATA_FILE} is of {build.build_id}")
    return build


def _describe_problem(error: ValidationError) -> str:
    """Tell what a newer Gridiron wrote from what is damaged: it has more fields, and no other fault."""
    problems = error.errors()
    if all(problem["type"] == "extra_forbidden" for problem in problems):
        fields = ", ".join(str(problem["loc"][-1]) for problem in problems)
        return f"{METADATA_FILE} is of a newer Gridiron: this one does not know {fields}"
    return f"{METADATA_FILE} is damaged: {describe_validation(list(problems))}"
