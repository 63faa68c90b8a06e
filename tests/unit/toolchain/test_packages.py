from __future__ import annotations

import pytest

from gridiron.toolchain.packages import (
    ESBUILD,
    RESTATE_SERVER,
    RESTATECTL,
    WORKERD,
    NpmProgram,
    package_of,
    plan_packages,
    sdk_entries,
    sdk_packages,
    wanted_versions,
)


@pytest.mark.parametrize(
    ("program", "system", "machine", "package"),
    [
        (RESTATE_SERVER, "Linux", "x86_64", "@restatedev/restate-server-linux-x64"),
        (RESTATE_SERVER, "Linux", "aarch64", "@restatedev/restate-server-linux-arm64"),
        (RESTATE_SERVER, "Darwin", "x86_64", "@restatedev/restate-server-darwin-x64"),
        (RESTATE_SERVER, "Darwin", "arm64", "@restatedev/restate-server-darwin-arm64"),
        (RESTATECTL, "Linux", "x86_64", "@restatedev/restatectl-linux-x64"),
        (RESTATECTL, "Linux", "aarch64", "@restatedev/restatectl-linux-arm64"),
        (RESTATECTL, "Darwin", "arm64", "@restatedev/restatectl-darwin-arm64"),
        (WORKERD, "Linux", "x86_64", "@cloudflare/workerd-linux-64"),
        (WORKERD, "Linux", "aarch64", "@cloudflare/workerd-linux-arm64"),
        (WORKERD, "Darwin", "x86_64", "@cloudflare/workerd-darwin-64"),
        (WORKERD, "Darwin", "arm64", "@cloudflare/workerd-darwin-arm64"),
        (ESBUILD, "Linux", "x86_64", "@esbuild/linux-x64"),
        (ESBUILD, "Linux", "aarch64", "@esbuild/linux-arm64"),
        (ESBUILD, "Darwin", "x86_64", "@esbuild/darwin-x64"),
        (ESBUILD, "Darwin", "arm64", "@esbuild/darwin-arm64"),
        (WORKERD, "Linux", "riscv64", None),
        (WORKERD, "FreeBSD", "amd64", None),
        (WORKERD, "Windows", "AMD64", None),
    ],
)
def test_a_program_comes_in_the_package_of_its_platform(
    program: NpmProgram, system: str, machine: str, package: str | None
) -> None:
    assert package_of(program, system, machine) == package


def test_what_scripts_import_of_the_sdk() -> None:
    package = "@restatedev/restate-sdk-cloudflare-workers"
    exports = {
        ".": {"import": "./dist/index.js", "require": "./dist/index.cjs"},
        "./fetch": {"import": "./dist/fetch.js"},
        "./package.json": "./package.json",
    }
    expected = {package: "./dist/index.js", f"{package}/fetch": "./dist/fetch.js"}
    assert sdk_entries({"exports": exports}) == expected


def test_wanted_versions_are_those_of_package_json() -> None:
    package_json = {
        "dependencies": {
            "workerd": "1.20261117.1",
            "@restatedev/restate-server": "1.7.12",
            "restate-sdk-cloudflare-workers-1.16": "npm:@restatedev/restate-sdk-cloudflare-workers@1.16.0",
        }
    }

    assert wanted_versions(package_json) == {
        "workerd": "1.20261117.1",
        "@restatedev/restate-server": "1.7.12",
        "restate-sdk-cloudflare-workers-1.16": "1.16.0",
    }


def test_the_sdk_comes_first_and_its_other_versions_after_it() -> None:
    wanted = {
        "workerd": "1.20261117.1",
        "restate-sdk-cloudflare-workers-1.16": "1.16.0",
        "@restatedev/restate-sdk-cloudflare-workers": "1.17.2",
        "restate-sdk-cloudflare-workers-1.15": "1.15.1",
    }

    assert sdk_packages(wanted) == [
        "@restatedev/restate-sdk-cloudflare-workers",
        "restate-sdk-cloudflare-workers-1.15",
        "restate-sdk-cloudflare-workers-1.16",
    ]


LOCK = {
    "packages": {
        "": {"dependencies": {"workerd": "1.20261117.1"}},
        "node_modules/workerd": {},
        "node_modules/@cloudflare/workerd-linux-64": {"os": ["linux"], "cpu": ["x64"], "optional": True},
        "node_modules/@cloudflare/workerd-darwin-arm64": {
            "os": ["darwin"],
            "cpu": ["arm64"],
            "optional": True,
        },
        "node_modules/@img/sharp-linux-x64": {"os": ["linux"], "cpu": ["x64"], "libc": ["glibc"]},
        "node_modules/@img/sharp-linuxmusl-x64": {"os": ["linux"], "cpu": ["x64"], "libc": ["musl"]},
        "node_modules/sharp/node_modules/semver": {},
        "node_modules/typescript": {"dev": True},
    }
}


@pytest.mark.parametrize(
    ("system", "machine", "directories"),
    [
        (
            "Linux",
            "x86_64",
            [
                "node_modules/workerd",
                "node_modules/@cloudflare/workerd-linux-64",
                "node_modules/@img/sharp-linux-x64",
                "node_modules/sharp/node_modules/semver",
            ],
        ),
        (
            "Darwin",
            "arm64",
            [
                "node_modules/workerd",
                "node_modules/@cloudflare/workerd-darwin-arm64",
                "node_modules/sharp/node_modules/semver",
            ],
        ),
    ],
)
def test_a_platform_gets_its_own_packages_of_the_lock(
    system: str, machine: str, directories: list[str]
) -> None:
    assert plan_packages(LOCK, system, machine) == directories
