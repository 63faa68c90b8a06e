"""Prepare what `gridiron deploy` is given: a built bundle as it is, a wrangler project by building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gridiron.bundles.build import BuildPlan, WranglerToolchain, plan_build, run_build
from gridiron.bundles.disk import storing
from gridiron.bundles.documents import parse_document
from gridiron.bundles.fields import Fields
from gridiron.bundles.manifest import DEFAULT_MAIN, parse_manifest
from gridiron.bundles.paths import MANIFEST_FILES, METADATA_FILE, WRANGLER_FILES
from gridiron.bundles.scan import check_directory, reading
from gridiron.bundles.wrangler import Wrangler, parse_wrangler
from gridiron.errors import (
    BuildStepFailed,
    MainModuleMissing,
    ProjectNotRecognised,
)
from gridiron.model import Manifest

PACKAGE_FILE = "package.json"


@dataclass(frozen=True, slots=True)
class Project:
    """A bundle that can be deployed, and what its project says of it."""

    directory: Path  # the bundle
    name: str | None
    version: str | None
    built: bool  # by us, just now; False: the directory was a bundle already


def prepare_project(directory: Path, toolchain: WranglerToolchain, out: Path) -> Project:
    """Find out what `directory` is, and make a bundle of it.

    With a `metadata.json` it is a bundle. With a wrangler file it is a project, unless the source that this
    names is not there and `index.js` is; a project is built into `out`, an empty directory. Otherwise it is
    a bundle when it has `index.js`. The name is the manifest's, the version too, or else `package.json`'s.
    Blocks for as long as the build takes. Raises SourceMissing, SourceNotADirectory, SourceUnreadable,
    ManifestInvalid, MainModuleMissing, ProjectNotRecognised, BuildStepFailed, StorageFailed, and what the
    toolchain raises.
    """
    files = _fetch_files(directory)
    version = parse_version(files.pop(PACKAGE_FILE, None))
    if METADATA_FILE not in files:
        found = _find_wrangler(directory, files)
        if found is not None:
            file, wrangler = found
            manifest = _build(directory, plan_build(file, wrangler, toolchain, out), wrangler, version)
            return Project(out, manifest.name, manifest.version, built=True)
    manifest = parse_manifest(files)
    if not _is_file(directory / manifest.main):
        raise MainModuleMissing(manifest.main) if files else ProjectNotRecognised(str(directory))
    return Project(directory, manifest.name, manifest.version or version, built=False)


def parse_version(package: bytes | None) -> str | None:
    """Read the version out of a `package.json`; None where there is none. Raises ManifestInvalid."""
    if package is None:
        return None
    fields = Fields(parse_document(PACKAGE_FILE, package))
    version = fields.take_text("version")
    fields.check(PACKAGE_FILE)
    return version


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
    """Give the wrangler file that the directory is built by, with its name; None where it is a bundle."""
    file = next((name for name in WRANGLER_FILES if name in files), None)
    if file is None:
        return None
    wrangler = parse_wrangler(file, files[file])
    is_source_there = wrangler.main is not None and _is_file(directory / wrangler.main)
    return (file, wrangler) if is_source_there or not _is_file(directory / DEFAULT_MAIN) else None


def _build(directory: Path, plan: BuildPlan, wrangler: Wrangler, version: str | None) -> Manifest:
    """Build a project, and write a manifest into what came out."""
    output = run_build(directory, plan)
    manifest = Manifest(
        name=wrangler.name,
        version=version,
        main=_find_main(plan, wrangler, output),
        compatibility=wrangler.compatibility,
        vars=wrangler.vars,
    )
    path = plan.out / METADATA_FILE
    with storing("Writing", path):
        path.write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return manifest


def _find_main(plan: BuildPlan, wrangler: Wrangler, output: str) -> str:
    """Find the main module among what wrangler wrote: named like its source, as JavaScript."""
    stem = PurePosixPath(wrangler.main or DEFAULT_MAIN).stem
    for name in (f"{stem}.js", f"{stem}.mjs"):  # the latter where nothing was bundled
        if (plan.out / name).is_file():
            return name
    raise BuildStepFailed(plan.shown, f"{output}\nwrangler wrote no {stem}.js.")
