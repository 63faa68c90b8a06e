"""Make a bundle of a project, each time that something in it was saved."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gridiron.bundles.build import BuildPlan, run_build
from gridiron.bundles.esbuild import OUTPUT
from gridiron.bundles.git import fetch_repository_name
from gridiron.bundles.identity import plan_name
from gridiron.bundles.incremental import Incremental, Mistake, plan_extra
from gridiron.bundles.project import find_recipe, prepare_project, write_manifest
from gridiron.bundles.sdk import fetch_sdk
from gridiron.bundles.wrangler import Wrangler
from gridiron.bundles.wrangler_build import plan_manifest
from gridiron.errors import IdentityMissing
from gridiron.model import Manifest
from gridiron.toolchain.programs import Toolchain


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a build."""

    bundle: Path | None  # None: there are errors
    errors: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()


class Maker:
    """Makes bundles of one project: a context manager. It is for one thread at a time, and blocks.

    What it makes is gone with the next one, and in the end.
    """

    def __init__(self, directory: Path, toolchain: Toolchain) -> None:
        self._directory = directory
        self._toolchain = toolchain
        self._digests: dict[str, str | None] = {}  # of files that were saved
        self._has_command = False

    def __enter__(self) -> Self:
        self.out = Path(tempfile.mkdtemp(prefix="gridiron-dev-"))
        self.out.chmod(0o755)  # the manager may be another user
        self._incremental = Incremental(self._toolchain.node().path, self._toolchain.esbuild_api(), self.out)
        self._incremental.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._incremental.__exit__()
        shutil.rmtree(self.out)

    def is_new(self, paths: Collection[str]) -> bool:
        """Tell whether what was saved has to be built.

        Where the project has a command of its own, that may have written it: False where each file is as it
        was when this was asked before.
        """
        if not self._has_command:
            return True
        found = {path: _fetch_digest(self._directory / path) for path in paths}
        changed = any(self._digests.get(path, "") != digest for path, digest in found.items())
        self._digests |= found
        return changed or not paths

    def make(self) -> Made:
        """Build. Raises what `find_recipe` and the builds raise."""
        recipe = find_recipe(self._directory)
        if recipe.entry is not None:
            return self._rebuild(recipe.entry, (), Manifest(main=OUTPUT))
        if recipe.wrangler is None:
            return Made(self._directory)
        wrangler = recipe.wrangler[1]
        self._has_command = wrangler.command is not None
        extra = plan_extra(wrangler)
        if extra is None or wrangler.main is None:
            return self._build_whole()
        self._run_command(wrangler)
        return self._rebuild(wrangler.main, extra, plan_manifest(wrangler, OUTPUT))

    def _rebuild(self, entry: str, extra: tuple[str, ...], manifest: Manifest) -> Made:
        sdk = fetch_sdk(self._directory, self._toolchain)
        rebuilt = self._incremental.build(self._directory, entry, sdk, extra)
        if rebuilt.errors:
            return Made(None, rebuilt.errors, rebuilt.warnings)
        write_manifest(self._incremental.bundle, manifest)
        return Made(self._incremental.bundle, (), rebuilt.warnings)

    def _build_whole(self) -> Made:
        """Build as `gridiron deploy` does, which takes seconds."""
        out = self.out / "whole"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        project = prepare_project(self._directory, self._toolchain, out)
        return Made(project.directory)

    def _run_command(self, wrangler: Wrangler) -> None:
        """Run the project's own command, as wrangler does before it builds."""
        if wrangler.command is None:
            return
        command = ("/bin/sh", "-c", wrangler.command)
        tools = self._toolchain.node().path.parent
        plan = BuildPlan(command, wrangler.command, self.out, tools=tools)
        run_build(self._directory / wrangler.command_cwd, plan)


def find_name(directory: Path, wanted: str | None) -> str:
    """Name the bundle of a project: as somebody wants, or as the project says.

    Raises what `find_recipe` raises, also where a name is wanted, and IdentityMissing.
    """
    recipe = find_recipe(directory)
    said = recipe.manifest.name if recipe.wrangler is None else recipe.wrangler[1].name
    name = wanted or said or recipe.package.name or plan_name(fetch_repository_name(directory))
    if name is None:
        raise IdentityMissing("name", str(directory))
    return name


def _fetch_digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:  # gone, or no file
        return None
