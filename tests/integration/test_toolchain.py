from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gridiron.errors import ToolchainNotInstalled, ToolVersionWrong
from gridiron.settings import checkout, load_settings, shared_path
from gridiron.toolchain.install import InstallProgress, install_toolchain
from gridiron.toolchain.packages import plan_packages
from gridiron.toolchain.programs import find_toolchain, make_toolchain
from gridiron.toolchain.trees import plan_trees, toolchain_home
from gridiron.toolchain.versions import parse_version, printed_version

WANTED = json.loads(shared_path("package.json").read_bytes())["dependencies"]
SHARED_CORE = "sdk_shared_core_wasm_bindings_bg.wasm"


def say_version(*command: str) -> str | None:
    done = subprocess.run(
        [*command, "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return parse_version(done.stdout)


def test_every_program_is_there_and_is_what_it_is_said_to_be() -> None:
    toolchain = find_toolchain(load_settings())
    restate, workerd, esbuild = toolchain.restate_server(), toolchain.workerd(), toolchain.esbuild()
    node, haproxy, restatectl = toolchain.node(), toolchain.haproxy(), toolchain.restatectl()

    assert (restate.version, restatectl.version, workerd.version, esbuild.version) == (
        WANTED["@restatedev/restate-server"],
        WANTED["@restatedev/restatectl"],
        WANTED["workerd"],
        WANTED["esbuild"],
    )
    assert say_version(str(restate.path)) == restate.version
    assert say_version(str(restatectl.path)) == restatectl.version
    assert say_version(str(workerd.path)) == printed_version("workerd", workerd.version)
    assert say_version(str(esbuild.path)) == esbuild.version
    assert say_version(str(node.path)) == node.version
    assert say_version(*toolchain.wrangler_command()) == WANTED["wrangler"]
    assert os.access(haproxy.path, os.X_OK)
    assert [core.path.name for core in toolchain.sdk_cores()] == [SHARED_CORE] * len(toolchain.sdk_cores())


def test_a_program_that_a_setting_names_is_asked_for_its_version() -> None:
    own = find_toolchain(load_settings())
    named = find_toolchain(
        load_settings(
            workerd=own.workerd().path,
            restate_server=own.restate_server().path,
            restatectl=own.restatectl().path,
            haproxy=own.haproxy().path,
        )
    )

    assert named.workerd().path == own.workerd().path
    assert named.workerd().version == printed_version("workerd", own.workerd().version)
    assert named.restate_server() == own.restate_server()
    assert named.restatectl() == own.restatectl()
    assert named.haproxy() == own.haproxy()


def write_program(path: Path, output: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("output", "actual"),
    [("HAProxy version 2.6.12-1+deb12u1", "2.6.12"), ("something else", "of unknown version")],
)
def test_an_older_haproxy_is_refused(tmp_path: Path, output: str, actual: str) -> None:
    path = write_program(tmp_path / "haproxy", output)

    with pytest.raises(ToolVersionWrong) as caught:
        find_toolchain(load_settings(haproxy=path)).haproxy()

    assert str(caught.value) == (
        f"{path} is haproxy {actual}, and 2.8 or later is needed. "
        "Set GRIDIRON_HAPROXY to another, or unset it to use Gridiron's own."
    )


def test_another_workerd_is_refused(tmp_path: Path) -> None:
    path = write_program(tmp_path / "workerd", "workerd 2025-01-01")
    wanted = printed_version("workerd", WANTED["workerd"])

    with pytest.raises(ToolVersionWrong) as caught:
        find_toolchain(load_settings(workerd=path)).workerd()

    assert str(caught.value) == (
        f"{path} is workerd 2025-01-01, and {wanted} is needed. "
        "Set GRIDIRON_WORKERD to another, or unset it to use Gridiron's own."
    )


def test_two_that_install_at_once_install_once_and_whole(tmp_path: Path) -> None:
    settings = load_settings(toolchain_dir=tmp_path)
    home = toolchain_home(tmp_path)
    seen: tuple[list[InstallProgress], list[InstallProgress]] = ([], [])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda states: install_toolchain(settings, states.append), seen))

    (states,) = [states for states in seen if states]  # the other one found it done
    assert states[-1].done == states[-1].total
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([home.name, "lock"])
    installed = make_toolchain(plan_trees(home, None), {})
    assert say_version(str(installed.restate_server().path)) == WANTED["@restatedev/restate-server"]
    assert say_version(*installed.wrangler_command()) == WANTED["wrangler"]


def test_without_the_network_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")  # the discard port: nobody listens
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    directory = tmp_path / "toolchain"

    with pytest.raises(ToolchainNotInstalled) as caught:
        install_toolchain(load_settings(toolchain_dir=directory), lambda _: None)

    assert "ECONNREFUSED" in caught.value.output
    assert [path.name for path in directory.iterdir()] == ["lock"]


def pins(requirements: Path) -> dict[str, str]:
    """Read which version of which package a file pins; fail on a line that pins nothing."""
    found = re.findall(
        r"^(?P<pin>\S+==\S+)(?: ; [^\\]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+",
        requirements.read_text(),
        re.MULTILINE,
    )
    starts = [line for line in requirements.read_text().splitlines() if not line.startswith((" ", "#"))]
    assert len(found) == len(starts)
    return dict(pin.split("==") for pin in found)


@pytest.mark.skipif(checkout() is None, reason="an installed package carries no pins")
def test_what_is_installed_is_pinned_and_names_no_server() -> None:
    root = checkout() or Path()
    running, all_of_it = pins(root / "requirements/runtime.txt"), pins(root / "requirements/dev.txt")
    lock = json.loads((root / "package-lock.json").read_bytes())
    directories = {*plan_packages(lock, "Linux", "x86_64"), *plan_packages(lock, "Linux", "aarch64")}

    assert {name: all_of_it[name] for name in running} == running
    assert [directory for directory in directories if "integrity" not in lock["packages"][directory]] == []
    assert [directory for directory in directories if "resolved" in lock["packages"][directory]] == []
