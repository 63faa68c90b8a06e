"""Prepare what `gridiron deploy` is given: a built bundle as it is, a project by building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gridiron.bundles.build import BuildToolchain
from gridiron.bundles.disk import storing
from gridiron.bundles.esbuild import build_by_esbuild
from gridiron.bundles.git import fetch_git
from gridiron.bundles.identity import Identity, fetch_identity, parse_package
from gridiron.bundles.manifest import DEFAULT_MAIN, parse_manifest
from gridiron.bundles.paths import MANIFEST_FILES, METADATA_FILE, WRANGLER_FILES
from gridiron.bundles.scan import check_directory, reading
from gridiron.bundles.wrangler import Wrangler, parse_wrangler
from gridiron.bundles.wrangler_build import build_by_wrangler
from gridiron.errors import MainModuleMissing, ProjectNotRecognised
from gridiron.model import Git, Manifest
from gridiron.toolchain.packages import PACKAGE_FILE

TYPESCRIPT_ENTRIES = ("index.ts", "src/index.ts")
PACKAGE_ENTRIES = ("index.js", "src/index.js")
"""Where a plain project begins, in this order: JavaScript only beside a package.json, or it is a bundle."""


@dataclass(frozen=True, slots=True)
class Project:
    """A bundle that can be deployed, and what its project says of it."""

    directory: Path  # the bundle
    name: str | None
    version: str | None
    built: bool  # by us, just now; False: the directory was a bundle already
    git: Git | None = None  # the commit that the project stands on


@dataclass(frozen=True, slots=True)
class Recipe:
    """What makes a bundle of a directory: wrangler, esbuild, or nothing."""

    package: Identity  # what package.json says
    wrangler: tuple[str, Wrangler] | None = None  # the wrangler file that it is built by, with its name
    entry: str | None = None  # the script that a plain project is built from
    manifest: Manifest = field(default_factory=Manifest)  # of what is a bundle already


def prepare_project(directory: Path, toolchain: BuildToolchain, out: Path) -> Project:
    """Find out what `directory` is, and make a bundle of it.

    What is built goes into `out`, an empty directory. Name and version are those of the manifest, of
    `package.json`, or of git, in this order.

    Blocks for as long as the build takes. Raises what `find_recipe` raises, BuildStepFailed, StorageFailed,
    and what the toolchain raises.
    """
    recipe = find_recipe(directory)
    git = fetch_git(directory)
    told = recipe.package.over(fetch_identity(directory, git))
    if recipe.wrangler is not None:
        manifest = build_by_wrangler(directory, *recipe.wrangler, toolchain, out)
    elif recipe.entry is not None:
        manifest = build_by_esbuild(directory, recipe.entry, toolchain, out)
    else:
        identity = Identity(recipe.manifest.name, recipe.manifest.version).over(told)
        return Project(directory, identity.name, identity.version, built=False, git=git)
    identity = Identity(manifest.name, manifest.version).over(told)
    write_manifest(out, manifest.model_copy(update={"name": identity.name, "version": identity.version}))
    return Project(out, identity.name, identity.version, built=True, git=git)


def find_recipe(directory: Path) -> Recipe:
    """Find out what `directory` is.

    With a `metadata.json` it is a bundle. With a wrangler file it is built by wrangler, unless the source
    that this names is not there and `index.js` is. With `index.ts` or `src/index.ts`, or with `index.js` or
    `src/index.js` beside a `package.json`, it is built by esbuild. Otherwise it is a bundle when it has
    `index.js`.

    Raises SourceMissing, SourceNotADirectory, SourceUnreadable, ManifestInvalid, MainModuleMissing,
    ProjectNotRecognised.
    """
    files = _fetch_files(directory)
    package = files.pop(PACKAGE_FILE, None)
    told = parse_package(package)
    if (found := _find_wrangler(directory, files)) is not None:
        return Recipe(told, wrangler=found)
    if (entry := _find_entry(directory, files, package)) is not None:
        return Recipe(told, entry=entry)
    manifest = parse_manifest(files)
    if not _is_file(directory / manifest.main):
        raise MainModuleMissing(manifest.main) if files else ProjectNotRecognised(str(directory))
    return Recipe(told, manifest=manifest)


def _fetch_files(directory: Path) -> dict[str, bytes]:
    """Read the files of a directory that say what it is."""
    check_directory(directory)
    files = {}
    for name in (*MANIFEST_FILES, PACKAGE_FILE):
        path = directory / name
        if _is_file(path):
            with reading(str(path)):
                files[name] = path.read_bytes()
    return files


def _is_file(path: Path) -> bool:
    with reading(str(path)):
        return path.is_file()


def _find_wrangler(directory: Path, files: Mapping[str, bytes]) -> tuple[str, Wrangler] | None:
    """Give the wrangler file that the directory is built by, with its name; None where none builds it."""
    file = next((name for name in WRANGLER_FILES if name in files), None)
    if file is None or METADATA_FILE in files:
        return None
    wrangler = parse_wrangler(file, files[file])
    is_source_there = wrangler.main is not None and _is_file(directory / wrangler.main)
    return (file, wrangler) if is_source_there or not _is_file(directory / DEFAULT_MAIN) else None


def _find_entry(directory: Path, files: Mapping[str, bytes], package: bytes | None) -> str | None:
    """Give the script that a plain project begins with; None where the directory is none."""
    if files:  # a manifest
        return None
    entries = TYPESCRIPT_ENTRIES if package is None else (*TYPESCRIPT_ENTRIES, *PACKAGE_ENTRIES)
    return next((entry for entry in entries if _is_file(directory / entry)), None)


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Write what a bundle says of itself into its directory. Raises StorageFailed."""
    path = out / METADATA_FILE
    with storing("Writing", path):
        path.write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
