"""The programs that Gridiron drives, found and checked: `find_toolchain(settings).workerd()`.

A program is looked for in its setting, in the checkout's `node_modules`, in the toolchain directory; HAProxy
in its setting, its wheel, on the PATH. Versions are those of our package.json. What npm installed is checked
by reading its package.json; only a program from elsewhere is started, to ask for its version.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gridiron.errors import ToolMissing, ToolVersionWrong
from gridiron.settings import Settings, shared_path, variable_name
from gridiron.toolchain.haproxy import MEND as HAPROXY_MEND
from gridiron.toolchain.haproxy import find_haproxy
from gridiron.toolchain.nodejs import find_node
from gridiron.toolchain.packages import (
    ESBUILD,
    ESBUILD_API,
    PACKAGE_FILE,
    RESTATE_SERVER,
    RESTATECTL,
    SDK_CORE,
    SDK_PACKAGE,
    TYPESCRIPT,
    WORKERD,
    WRANGLER_ENTRY,
    WRANGLER_PACKAGE,
    NpmProgram,
    package_of,
    sdk_entries,
    sdk_packages,
    wanted_versions,
)
from gridiron.toolchain.trees import Package, Tree, fetch_trees, find_package, missing
from gridiron.toolchain.versions import OLDEST_HAPROXY, is_haproxy_new_enough, parse_version, printed_version

ASK_SECONDS = 10
"""How long a program may take to say its version; a broken one must not hold up the start for ever."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is there, in a version that will do."""

    name: str
    path: Path
    version: str


@dataclass(frozen=True, slots=True)
class SdkCore:
    """The Wasm core of one version of the Restate SDK, as bundles carry it."""

    sdk_version: str
    path: Path
    sha256: str  # lower-case hexadecimal


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look, and for what: data, so that a test can make another."""

    explicit: Mapping[str, Path]  # program to the path that a setting names
    trees: tuple[Tree, ...]  # in their order
    wanted: Mapping[str, str]  # npm package to version
    system: str  # as platform.system() says it
    machine: str  # as platform.machine() says it


class Toolchain:
    """Finds and checks each program when it is asked for, once.

    Every method raises ToolMissing or ToolVersionWrong, naming what mends it. Asking again is cheap.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._found: dict[str, Program] = {}

    def restate_server(self) -> Program:
        """Give Restate."""
        return self._npm_program(RESTATE_SERVER)

    def restatectl(self) -> Program:
        """Give the program that asks and changes a cluster of Restate."""
        return self._npm_program(RESTATECTL)

    def workerd(self) -> Program:
        """Give workerd."""
        return self._npm_program(WORKERD)

    def esbuild(self) -> Program:
        """Give esbuild."""
        return self._npm_program(ESBUILD)

    def esbuild_api(self) -> Path:
        """Give the module that another program of Node's imports to use esbuild."""
        return self._file(self._package("esbuild", ESBUILD.package), "esbuild", ESBUILD_API)

    def tsc(self) -> Program:
        """Give TypeScript's compiler."""
        return self._npm_program(TYPESCRIPT)

    def haproxy(self) -> Program:
        """Give HAProxy, 2.8 or later."""
        return self._once("haproxy", self._find_haproxy)

    def node(self) -> Program:
        """Give Node."""
        path, version = find_node()
        return Program("node", path, version)

    def wrangler_command(self) -> tuple[str, ...]:
        """Give the command that is wrangler, to add arguments to."""
        package = self._package("wrangler", WRANGLER_PACKAGE)
        return (str(self.node().path), str(self._file(package, "wrangler", WRANGLER_ENTRY)))

    def sdk_cores(self) -> tuple[SdkCore, ...]:
        """Give the core of each Restate SDK that our package.json names; two may have the same content."""
        return self._sdk_cores

    def sdk_entries(self) -> dict[str, Path]:
        """Give the file of each entry of the Restate SDK, by what scripts import."""
        package = self._package("the Restate SDK", SDK_PACKAGE)
        description = self._file(package, "the Restate SDK", PACKAGE_FILE)
        files = sdk_entries(json.loads(description.read_bytes()))
        return {name: self._file(package, "the Restate SDK", file) for name, file in files.items()}

    @property
    def node_modules(self) -> Path:
        """The directory that projects find npm's packages in: the first tree that is there."""
        for tree in self._search.trees:
            if tree.node_modules.is_dir():
                return tree.node_modules
        raise missing(self._search.trees, "node_modules")

    @cached_property
    def _sdk_cores(self) -> tuple[SdkCore, ...]:
        return tuple(self._sdk_core(name) for name in sdk_packages(self._search.wanted))

    def _sdk_core(self, name: str) -> SdkCore:
        package = self._package("the Restate SDK", name)
        path = self._file(package, "the Restate SDK", SDK_CORE)
        return SdkCore(package.version, path, hashlib.sha256(path.read_bytes()).hexdigest())

    def _once(self, name: str, find: Callable[[], Program]) -> Program:
        if name not in self._found:
            self._found[name] = find()
        return self._found[name]

    def _npm_program(self, program: NpmProgram) -> Program:
        explicit = self._search.explicit.get(program.name)
        if explicit is None:
            return self._once(program.name, lambda: self._find_in_packages(program))
        return self._once(program.name, lambda: self._check_explicit(program, explicit))

    def _find_in_packages(self, program: NpmProgram) -> Program:
        platform_package = package_of(program, self._search.system, self._search.machine)
        if platform_package is None:
            raise ToolMissing(
                program.name,
                f"the packages for {self._search.system} on {self._search.machine}",
                "Use Linux or macOS on x86-64 or arm64.",
            )
        wanted = self._search.wanted[program.package]
        package = find_package(self._search.trees, program.name, platform_package, wanted)
        return Program(program.name, self._file(package, program.name, program.binary), package.version)

    def _check_explicit(self, program: NpmProgram, path: Path) -> Program:
        mend = _mend_setting(program.name)
        actual = fetch_version(program.name, path, "--version", mend)
        wanted = printed_version(program.name, self._search.wanted[program.package])
        if actual != wanted:
            raise ToolVersionWrong(program.name, str(path), actual or "of unknown version", wanted, mend)
        return Program(program.name, path, actual)

    def _find_haproxy(self) -> Program:
        explicit = self._search.explicit.get("haproxy")
        path, mend = (
            (find_haproxy(), HAPROXY_MEND) if explicit is None else (explicit, _mend_setting("haproxy"))
        )
        version = fetch_version("haproxy", path, "-v", mend)
        if version is None or not is_haproxy_new_enough(version):
            wanted = f"{'.'.join(map(str, OLDEST_HAPROXY))} or later"
            raise ToolVersionWrong("haproxy", str(path), version or "of unknown version", wanted, mend)
        return Program("haproxy", path, version)

    def _package(self, tool: str, name: str) -> Package:
        return find_package(self._search.trees, tool, name, self._search.wanted[name])

    def _file(self, package: Package, tool: str, relative: str) -> Path:
        path = package.directory / relative
        if not path.is_file():
            tree = next(tree for tree in self._search.trees if path.is_relative_to(tree.node_modules))
            raise ToolMissing(tool, str(path), tree.repair)
        return path


def find_toolchain(settings: Settings) -> Toolchain:
    """Give the toolchain of these settings. Nothing is checked yet, and nothing is started."""
    explicit = {
        "restate-server": settings.restate_server,
        "restatectl": settings.restatectl,
        "workerd": settings.workerd,
        "haproxy": settings.haproxy,
    }
    return make_toolchain(
        fetch_trees(settings.toolchain_dir), {name: path for name, path in explicit.items() if path}
    )


def make_toolchain(trees: tuple[Tree, ...], explicit: Mapping[str, Path]) -> Toolchain:
    """Give the toolchain of some trees, for this machine and the versions of our package.json."""
    wanted = wanted_versions(json.loads(shared_path("package.json").read_bytes()))
    return Toolchain(Search(explicit, trees, wanted, platform.system(), platform.machine()))


def fetch_version(name: str, path: Path, flag: str, mend: str) -> str | None:
    """Start a program to read its version from what it prints; None when it prints none.

    Raises ToolMissing when it cannot be started, or does not end within ASK_SECONDS.
    """
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ToolMissing(name, str(path), mend)
    try:
        done = subprocess.run(
            [path, flag], stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(name, str(path), mend) from error
    return parse_version(done.stdout.decode(errors="replace"))


def fetch_versions(toolchain: Toolchain) -> Mapping[str, str | None]:
    """Give the version of each component's program as it is on disk; None where it is missing or unusable."""
    found: dict[str, str | None] = {}
    finders = {
        "restate": toolchain.restate_server,
        "workerd": toolchain.workerd,
        "haproxy": toolchain.haproxy,
    }
    for component, find in finders.items():
        try:
            found[component] = find().version
        except (ToolMissing, ToolVersionWrong):  # its role says so when it starts
            found[component] = None
    return found


def _mend_setting(program: str) -> str:
    variable = variable_name(program.replace("-", "_"))
    return f"Set {variable} to another, or unset it to use Gridiron's own."
