"""Which npm package holds which program, and at which version: pure functions of package.json and lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PACKAGE_FILE = "package.json"

SDK_PACKAGE = "@restatedev/restate-sdk-cloudflare-workers"
SDK_ALIAS_PREFIX = "restate-sdk-cloudflare-workers-"
"""Further versions of the SDK are installed under names that begin so (`npm:` aliases)."""

SDK_CORE = "dist/endpoint/handlers/vm/sdk_shared_core_wasm_bindings_bg.wasm"
"""Where the SDK's package keeps its Wasm core."""

WRANGLER_PACKAGE = "wrangler"
WRANGLER_ENTRY = "bin/wrangler.js"

_NODE_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_NODE_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
"""What Python's `platform` says, in the words of Node and npm."""


@dataclass(frozen=True, slots=True)
class NpmProgram:
    """A native program that npm packages carry, one package for each platform."""

    name: str  # as people know it
    package: str  # the one that our package.json names; its version is the program's
    platform_package: str  # a pattern of {system} and {machine}
    binary: str  # within that package
    machines: Mapping[str, str]  # from Node's word for a machine to the pattern's


_PLAIN = {"x64": "x64", "arm64": "arm64"}

RESTATE_SERVER = NpmProgram(
    name="restate-server",
    package="@restatedev/restate-server",
    platform_package="@restatedev/restate-server-{system}-{machine}",
    binary="bin/restate-server",
    machines=_PLAIN,
)
RESTATECTL = NpmProgram(
    name="restatectl",
    package="@restatedev/restatectl",
    platform_package="@restatedev/restatectl-{system}-{machine}",
    binary="bin/restatectl",
    machines=_PLAIN,
)
WORKERD = NpmProgram(
    name="workerd",
    package="workerd",
    platform_package="@cloudflare/workerd-{system}-{machine}",
    binary="bin/workerd",
    machines={"x64": "64", "arm64": "arm64"},
)
ESBUILD_API = "lib/main.js"
"""Where esbuild's package keeps what other programs import."""

TYPESCRIPT = NpmProgram(
    name="tsc",
    package="typescript",
    platform_package="@typescript/typescript-{system}-{machine}",
    binary="lib/tsc",
    machines=_PLAIN,
)
ESBUILD = NpmProgram(
    name="esbuild",
    package="esbuild",
    platform_package="@esbuild/{system}-{machine}",
    binary="bin/esbuild",
    machines=_PLAIN,
)


def node_platform(system: str, machine: str) -> tuple[str, str] | None:
    """Translate `platform.system()` and `platform.machine()` into Node's words; None for others than ours."""
    node_system, node_machine = _NODE_SYSTEMS.get(system), _NODE_MACHINES.get(machine.lower())
    return (node_system, node_machine) if node_system and node_machine else None


def package_of(program: NpmProgram, system: str, machine: str) -> str | None:
    """Name the package that carries a program for `platform.system()` and `platform.machine()`.

    None for a platform that has none.
    """
    platform = node_platform(system, machine)
    if platform is None:
        return None
    return program.platform_package.format(system=platform[0], machine=program.machines[platform[1]])


def wanted_versions(package_json: Mapping[str, Any]) -> dict[str, str]:
    """Read from our package.json which version of each package is wanted; an alias has its target's."""
    return {name: wanted.rpartition("@")[2] for name, wanted in package_json["dependencies"].items()}


def sdk_packages(wanted: Mapping[str, str]) -> list[str]:
    """List the packages among `wanted` that are the Restate SDK, one a version; the plain name first."""
    return [name for name in sorted(wanted) if name == SDK_PACKAGE or name.startswith(SDK_ALIAS_PREFIX)]


def sdk_entries(package_json: Mapping[str, Any]) -> dict[str, str]:
    """Read from the SDK's package.json which file each of its entries is, by what scripts import."""
    exports: Mapping[str, Any] = package_json["exports"]
    return {
        SDK_PACKAGE + entry.removeprefix("."): files["import"]
        for entry, files in exports.items()
        if isinstance(files, dict)
    }


def plan_packages(lock: Mapping[str, Any], system: str, machine: str) -> list[str]:
    """List the directories that `npm ci` makes on a platform, from a decoded package-lock.json, in its order.

    A few too many: what only another platform's packages depend on is not marked in a lock. On Linux that of
    glibc is assumed: the programs are built for no other.
    """
    return list(_matching(lock["packages"], node_platform(system, machine) or (system, machine)))


def _matching(packages: Mapping[str, Any], platform: tuple[str, str]) -> Iterator[str]:
    for directory, package in packages.items():
        fits = (
            platform[0] in package.get("os", [platform[0]])
            and platform[1] in package.get("cpu", [platform[1]])
            and "glibc" in package.get("libc", ["glibc"])
        )
        if directory and fits and not package.get("dev", False):
            yield directory
