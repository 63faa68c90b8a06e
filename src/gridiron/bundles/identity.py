"""The name and version of a bundle whose manifest does not say them: from `package.json`, else from git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gridiron.bundles.documents import parse_document
from gridiron.bundles.fields import Fields
from gridiron.bundles.git import fetch_repository_name
from gridiron.model import NAME, Git
from gridiron.toolchain.packages import PACKAGE_FILE

COMMIT_DIGITS = 12
"""Of a commit in a version: no two commits of a repository as large as Linux begin with the same twelve."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A name and a version, each None where nothing says it."""

    name: str | None = None
    version: str | None = None

    def over(self, other: Identity) -> Identity:
        """Fill up what is missing from another."""
        return Identity(self.name or other.name, self.version or other.version)


def parse_package(package: bytes | None) -> Identity:
    """Read name and version out of a `package.json`; None stands for none. Raises ManifestInvalid."""
    if package is None:
        return Identity()
    fields = Fields(parse_document(PACKAGE_FILE, package))
    name, version = fields.take_text("name"), fields.take_text("version")
    fields.check(PACKAGE_FILE)
    return Identity(plan_name(name), version)


def fetch_identity(directory: Path, git: Git | None) -> Identity:
    """Name a bundle by the repository and the commit that its directory stands on."""
    if git is None:
        return Identity()
    return Identity(plan_name(fetch_repository_name(directory)), f"0.0.0-{git.commit[:COMMIT_DIGITS]}")


def plan_name(name: str | None) -> str | None:
    """Make a bundle's name of that of an npm package, without its scope, or of a directory.

    None where no bundle can have it.
    """
    plain = (name or "").rpartition("/")[2]
    return plain if NAME.fullmatch(plain) else None
