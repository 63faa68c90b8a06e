from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gridiron.errors import GridironError, ToolMissing, ToolVersionWrong
from gridiron.toolchain.programs import Program, SdkCore, Search, Toolchain
from gridiron.toolchain.trees import Tree, plan_trees

WORKERD = "@cloudflare/workerd-linux-64"
SDK = "@restatedev/restate-sdk-cloudflare-workers"
SDK_CORE = "dist/endpoint/handlers/vm/sdk_shared_core_wasm_bindings_bg.wasm"
WANTED = {"workerd": "1.20261117.1", "wrangler": "4.164.0", SDK: "1.17.2"}


def put_package(node_modules: Path, name: str, version: str, *files: str) -> Path:
    directory = node_modules / name
    directory.mkdir(parents=True)
    (directory / "package.json").write_text(json.dumps({"name": name, "version": version}))
    for file in files:
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {version}")
    return directory


class Place:
    """A checkout and a toolchain directory, both empty at first."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "checkout"
        self.home = directory / "toolchain" / "0123456789abcdef"

    @property
    def trees(self) -> tuple[Tree, ...]:
        return plan_trees(self.home, self.root)

    def toolchain(self, **changes: Any) -> Toolchain:
        search = Search(explicit={}, trees=self.trees, wanted=WANTED, system="Linux", machine="x86_64")
        return Toolchain(replace(search, **changes))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sentence(error: type[GridironError], act: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        act()
    return str(caught.value)


def test_the_checkout_is_looked_in_before_the_toolchain_directory(place: Place) -> None:
    first = put_package(place.root / "node_modules", WORKERD, "1.20261117.1", "bin/workerd")
    put_package(place.home / "node_modules", WORKERD, "1.20261117.1", "bin/workerd")

    assert place.toolchain().workerd() == Program("workerd", first / "bin/workerd", "1.20261117.1")


def test_the_toolchain_directory_is_looked_in_where_the_checkout_has_no_packages(place: Place) -> None:
    second = put_package(place.home / "node_modules", WORKERD, "1.20261117.1", "bin/workerd")

    assert place.toolchain().workerd() == Program("workerd", second / "bin/workerd", "1.20261117.1")


def test_what_was_found_is_not_looked_for_again(place: Place) -> None:
    directory = put_package(place.home / "node_modules", WORKERD, "1.20261117.1", "bin/workerd")
    toolchain = place.toolchain()
    found = toolchain.workerd()
    (directory / "package.json").unlink()

    assert toolchain.workerd() is found


def test_missing_in_a_fresh_checkout(place: Place) -> None:
    assert sentence(ToolMissing, place.toolchain().workerd) == (
        f"workerd is missing (looked in {place.root}/node_modules, {place.home}/node_modules). "
        f"Run `./justw --list` in {place.root}, which installs it."
    )


def test_missing_in_a_checkout_with_packages(place: Place) -> None:
    (place.root / "node_modules").mkdir(parents=True)

    assert sentence(ToolMissing, place.toolchain().workerd) == (
        f"workerd is missing (looked in {place.root}/node_modules, {place.home}/node_modules). "
        f"Remove {place.root}/node_modules and run `./justw --list` in {place.root}, "
        "which installs it again."
    )


def test_missing_outside_a_checkout(place: Place) -> None:
    toolchain = place.toolchain(trees=plan_trees(place.home, None))

    assert sentence(ToolMissing, toolchain.workerd) == (
        f"workerd is missing (looked in {place.home}/node_modules). Run `gridiron up`, which installs it."
    )


def test_a_package_without_its_program(place: Place) -> None:
    directory = put_package(place.home / "node_modules", WORKERD, "1.20261117.1")

    assert sentence(ToolMissing, place.toolchain().workerd) == (
        f"workerd is missing (looked in {directory}/bin/workerd). "
        f"Remove {place.home} and run `gridiron up`, which installs it again."
    )


def test_a_wrong_version_is_not_passed_over(place: Place) -> None:
    first = put_package(place.root / "node_modules", WORKERD, "1.20250101.0", "bin/workerd")
    put_package(place.home / "node_modules", WORKERD, "1.20261117.1", "bin/workerd")

    assert sentence(ToolVersionWrong, place.toolchain().workerd) == (
        f"{first} is workerd 1.20250101.0, and 1.20261117.1 is needed. "
        f"Remove {place.root}/node_modules and run `./justw --list` in {place.root}, "
        "which installs it again."
    )


def test_a_platform_that_has_no_package(place: Place) -> None:
    toolchain = place.toolchain(system="Linux", machine="riscv64")

    assert sentence(ToolMissing, toolchain.workerd) == (
        "workerd is missing (looked in the packages for Linux on riscv64). "
        "Use Linux or macOS on x86-64 or arm64."
    )


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("restate-server", "GRIDIRON_RESTATE_SERVER"),
        ("restatectl", "GRIDIRON_RESTATECTL"),
        ("workerd", "GRIDIRON_WORKERD"),
        ("haproxy", "GRIDIRON_HAPROXY"),
    ],
)
def test_a_setting_that_names_no_program(place: Place, tmp_path: Path, name: str, variable: str) -> None:
    path = tmp_path / "elsewhere" / name
    toolchain = place.toolchain(explicit={name: path})
    method = {
        "restate-server": toolchain.restate_server,
        "restatectl": toolchain.restatectl,
        "workerd": toolchain.workerd,
        "haproxy": toolchain.haproxy,
    }[name]

    assert sentence(ToolMissing, method) == (
        f"{name} is missing (looked in {path}). Set {variable} to another, or unset it to use Gridiron's own."
    )


def test_each_version_of_the_sdk_gives_its_core(place: Place) -> None:
    alias = "restate-sdk-cloudflare-workers-1.16"
    modules = place.home / "node_modules"
    newest = put_package(modules, SDK, "1.17.2", SDK_CORE) / SDK_CORE
    older = put_package(modules, alias, "1.16.0", SDK_CORE) / SDK_CORE
    toolchain = place.toolchain(wanted={**WANTED, alias: "1.16.0"})

    assert toolchain.sdk_cores() == (
        SdkCore("1.17.2", newest, hashlib.sha256(newest.read_bytes()).hexdigest()),
        SdkCore("1.16.0", older, hashlib.sha256(older.read_bytes()).hexdigest()),
    )


def test_an_sdk_without_its_core(place: Place) -> None:
    directory = put_package(place.home / "node_modules", SDK, "1.17.2")

    assert sentence(ToolMissing, place.toolchain().sdk_cores) == (
        f"the Restate SDK is missing (looked in {directory}/{SDK_CORE}). "
        f"Remove {place.home} and run `gridiron up`, which installs it again."
    )


def test_node_modules_is_the_first_that_is_there(place: Place) -> None:
    (place.home / "node_modules").mkdir(parents=True)
    only_installed = place.toolchain().node_modules
    (place.root / "node_modules").mkdir(parents=True)

    assert (only_installed, place.toolchain().node_modules) == (
        place.home / "node_modules",
        place.root / "node_modules",
    )
