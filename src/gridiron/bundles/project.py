"""Prepare what `gridiron deploy` is given: a built bundle as it is, a wrangler project by building it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Protocol

from gridiron.bundles.disk import storing
from gridiron.bundles.documents import parse_document
from gridiron.bundles.fields import Fields
from gridiron.bundles.manifest import parse_manifest
from gridiron.bundles.paths import MANIFEST_FILES, METADATA_FILE, WRANGLER_FILES
from gridiron.bundles.source import reading
from gridiron.bundles.wrangler import Wrangler, parse_wrangler
from gridiron.errors import BuildStepFailed, ProjectNotRecognised, SourceMissing, SourceNotADirectory
from gridiron.model import Manifest

PACKAGE_FILE = "package.json"

BUILD_LIMIT = timedelta(minutes=5)
"""How long a project may take to build; wrangler itself takes seconds, a build command of the project's more."""

MAX_OUTPUT_LINES = 40
"""Lines of a failed build's output that are told: wrangler's account of a mistake is shorter."""

# of wrangler: send nothing, write no logs into the home directory, do not look for updates
WRANGLER_ENVIRONMENT: Mapping[str, str] = {
    "WRANGLER_SEND_METRICS": "false",
    "WRANGLER_SEND_ERROR_REPORTS": "false",
    "WRANGLER_WRITE_LOGS": "false",
    "WRANGLER_HIDE_BANNER": "true",
}

# ECMA-48: control sequences (colours), operating system commands (links, titles), other escapes
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class WranglerToolchain(Protocol):
    """What is needed of the toolchain; it is asked only when there is something to build."""

    def wrangler_command(self) -> tuple[str, ...]:
        """Give the command that is wrangler, to add arguments to: Node first."""


@dataclass(frozen=True, slots=True)
class Project:
    """A bundle that can be deployed, and what its project says of it."""

    directory: Path  # the bundle
    name: str | None
    version: str | None
    built: bool  # by us, just now; False: the directory was a bundle already


def prepare_project(directory: Path, toolchain: WranglerToolchain, out: Path) -> Project:
    """Find out what `directory` is, and make a bundle of it.

    It is a bundle where its `metadata.json` stands beside the main module; else a project where a wrangler
    file names a source that is there: it is built into `out`, an empty directory; else a bundle where it has
    `index.js`. The name is the manifest's; the version is the manifest's or that of `package.json`. Blocks
    for as long as the build takes. Raises SourceMissing, SourceNotADirectory, SourceUnreadable,
    ManifestInvalid, ProjectNotRecognised, BuildStepFailed, StorageFailed, and what the toolchain raises.
    """
    if not directory.exists():
        raise SourceMissing(str(directory))
    if not directory.is_dir():
        raise SourceNotADirectory(str(directory))
    files = _fetch_files(directory)
    version = parse_version(files.pop(PACKAGE_FILE, None))
    if METADATA_FILE not in files:
        found = _find_wrangler_project(directory, files)
        if found is not None:
            file, wrangler = found
            manifest = _build(directory, file, wrangler, version, toolchain, out)
            return Project(out, manifest.name, manifest.version, built=True)
    manifest = parse_manifest(files)
    if not (directory / manifest.main).is_file():
        raise ProjectNotRecognised(str(directory))
    return Project(directory, manifest.name, manifest.version or version, built=False)
