"""How the builds of a cluster lie in its bucket: a folder for each, with an object for each of its parts.

gridiron.bundles.shared says what the parts are, and in which order they come and go.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.content import pack_content
from gridiron.bundles.disk import storing
from gridiron.bundles.paths import METADATA_FILE, SEALED_FILE
from gridiron.errors import ObjectExists
from gridiron.model import Address, Build
from gridiron.objects.port import Listed, Objects

BUILDS = "builds"
STATE = "state"
ARCHIVE_SUFFIX = ".tar.gz"


@dataclass(frozen=True, slots=True)
class Folder:
    """The objects of one build, by the ends of their keys."""

    address: Address
    objects: Mapping[str, Listed]

    @property
    def is_build(self) -> bool:
        """Whether the build exists: its record is there."""
        return METADATA_FILE in self.objects

    @property
    def state(self) -> Listed | None:
        """The object that says where the build is in its life."""
        return self.objects.get(STATE)

    @property
    def archive(self) -> str | None:
        """The name of the object that holds its modules."""
        return next((name for name in self.objects if name.endswith(ARCHIVE_SUFFIX)), None)


def key_of(address: Address, name: str) -> str:
    """Give the key of one part of a build."""
    return f"{BUILDS}{address.path}/{name}"


def list_folders(objects: Objects, path: str = "") -> tuple[Folder, ...]:
    """List what there is of builds: all, those of a name (`/demo`), or that of one build (`/demo/1-1`).

    What else somebody has put there is left out.
    """
    found: dict[Address, dict[str, Listed]] = defaultdict(dict)
    for listed in objects.list(f"{BUILDS}{path}"):
        folder, _, name = listed.key.removeprefix(BUILDS).rpartition("/")
        if address := Address.parse_path(folder):
            found[address][name] = listed
    return tuple(Folder(address, parts) for address, parts in found.items())


def put_build(objects: Objects, build: Build, directory: Path, work: Path) -> None:
    """Put all of a build but its state there, its record last. Safe to repeat, as a build never changes.

    It lies in `directory`; `work` is one that its archive is made in. Raises StorageFailed.
    """
    archive, sealed = work / "content", directory / SEALED_FILE
    sha256 = pack_content(directory, build, archive)
    with contextlib.suppress(ObjectExists):
        objects.create_from(key_of(build.address, f"{sha256}{ARCHIVE_SUFFIX}"), archive)
    with storing("Reading", sealed):
        secrets = sealed.read_bytes() if sealed.exists() else None
    if secrets is not None:
        with contextlib.suppress(ObjectExists):
            objects.create(key_of(build.address, SEALED_FILE), secrets)
    with contextlib.suppress(ObjectExists):
        objects.create(key_of(build.address, METADATA_FILE), render_record(build))


def render_record(build: Build) -> bytes:
    """Write a build's record."""
    return f"{build.model_dump_json(indent=2)}\n".encode()


def remove_folder(objects: Objects, folder: Folder) -> None:
    """Remove what there is of a build but its state; its record first, with which it is no build any more."""
    for name in sorted(folder.objects.keys() - {STATE}, key=lambda name: name != METADATA_FILE):
        objects.delete(key_of(folder.address, name))
