"""A node under runit: each role is a user of its own, comes back when killed, takes up what is changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.settings import Settings
from gridiron.testing.probe import ProbeBundles
from gridiron.testing.processes import descendants, fetch_program
from tests.acceptance.users import NAMESPACE, plan_namespace, run_in, users_of
from tests.harness import Client, alive, wait_until

pytestmark = pytest.mark.skipif(
    (shutil.which("runsvdir") is None or os.geteuid() != 0) and "CI" not in os.environ,
    reason="this takes root and Debian's runit",
)
ROLES = ("restate", "workers", "manager")
ROOT = Path(__file__).parents[2]
RUNIT = ROOT / "runit"
SECRET = "only for its own build"  # noqa: S105 - of no use anywhere


class Services:
    """A runsvdir of its own with the three roles in it, each a user of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "service"
        self.directory.mkdir()
        template = directory / "workerd-template.capnp"
        shutil.copy(
            Settings.model_fields["workerd_template_path"].get_default(call_default_factory=True), template
        )
        self.settings = choose_settings(
            directory / "data",
            41_000,
            cells=2,
            sweep_seconds=0.5,
            workerd_template_path=template,
            workers_service=self.directory / "workers",
        )
        self.config = directory / "gridiron.toml"
        self.config.write_text("\n".join(f"{key} = {value!r}" for key, value in self._file().items()) + "\n")
        for role in ROLES:
            service = self.directory / role
            service.mkdir()
            shutil.copy(RUNIT / role / "run", service / "run")
        self.client = Client(Subject(self.settings, directory))
        self._work = directory / "namespace"
        self._work.mkdir()
        self.log = directory / "runit.log"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "GRIDIRON_CONFIG": str(self.config)}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        compiled = self.directory.parent / "compiled"  # once, and not by each user: see tests/conftest.py
        compiled.mkdir()
        compiled.chmod(0o1777)
        environment["PYTHONPYCACHEPREFIX"] = str(compiled)
        reached = {Path(sys.base_prefix), Path(sys.prefix), ROOT, self.directory.parent}
        script = f"{plan_namespace(self._work, reached)}\n{RUNIT}/setup {self.settings.data_dir}\n"
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*NAMESPACE, "sh", "-c", f"{script} exec runsvdir -P {self.directory}"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def _file(self) -> dict[str, object]:
        settings = self.settings
        return {
            "data_dir": str(settings.data_dir),
            "toolchain_dir": str(self.directory.parent / "toolchain"),
            "port_offset": settings.port_offset,
            "cells": settings.cells,
            "sweep_seconds": settings.sweep_seconds,
            "workerd_template_path": str(settings.workerd_template_path),
            "workers_service": str(settings.workers_service),
            "source_roots": ["/"],
        }

    def pid_of(self, role: str) -> int:
        """The process that runit watches; 0 while there is none."""
        file = self.directory / role / "supervise" / "pid"
        text = file.read_text().strip() if file.exists() else ""
        return int(text) if text else 0

    def users_of(self, role: str) -> dict[str, str]:
        """Who runs each process of a role."""
        users = users_of(self._work)
        pids = descendants(self.pid_of(role))
        return {fetch_program(pid): users[Path(f"/proc/{pid}").stat().st_uid] for pid in pids}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root on the node's machine, as its users see it."""
        return run_in(self._process.pid, *command)

    def can_read(self, user: str, path: str) -> bool:
        """Try to read a file, or to list a directory, of the node."""
        target = self.settings.data_dir / path
        assert os.path.lexists(target), target
        reader = "ls" if target.is_dir() else "cat"
        return self.run("chpst", "-u", user, reader, str(target)).returncode == 0

    def owner_of(self, path: Path) -> str:
        return f"{users_of(self._work)[path.stat().st_uid]} {path.stat().st_mode & 0o7777:04o}"

    def stop(self) -> None:
        self.client.close()
        processes = descendants(self._process.pid)
        for role in ROLES:
            subprocess.run(["sv", "-w", "15", "exit", self.directory / role], check=False, timeout=30)
        self._process.send_signal(signal.SIGHUP)
        self._process.wait(15)
        wait_until(lambda: not alive(processes), 15, what=str(alive(processes)))


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with tempfile.TemporaryDirectory(prefix="gridiron-") as directory:  # a short path, that others reach
        Path(directory).chmod(0o755)
        services = Services(Path(directory))
        try:
            yield services
        finally:
            services.stop()


@pytest.fixture(scope="module", autouse=True)
def build(services: Services, probe: Path) -> str:
    """The node serves, and has a build with a secret."""
    wait_until(services.client.is_ready, 120, what=services.log.read_text())
    bundles = ProbeBundles(probe, services.directory.parent / "made")  # where the manager's user can read it
    activated = services.client.activate(bundles.make("1"), "1", secrets={"TOKEN": SECRET})
    return str(activated["build_id"])


def call(services: Services) -> str:
    return str(services.client.call("probe", "version"))


def cells(services: Services) -> set[int]:
    return {pid for pid in descendants(services.pid_of("workers")) if fetch_program(pid) == "workerd"}


def test_each_role_is_a_user_of_its_own(services: Services) -> None:
    assert call(services) == "1"
    assert services.users_of("restate") == {"restate-server": "gridiron-restate"}
    assert set(services.users_of("manager").values()) == {"gridiron-manager"}
    workers = services.users_of("workers")
    assert workers.keys() >= {"haproxy", "workerd"}
    assert set(workers.values()) == {"gridiron-workers"}


def test_a_role_reads_what_it_needs_and_no_more(services: Services, build: str) -> None:
    restate, workers, manager = "gridiron-restate", "gridiron-workers:gridiron", "gridiron-manager:gridiron"
    readers = {
        "restate": {restate},
        "restate/restate.toml": {restate},
        "restate/n1/.cluster-marker": {restate},
        "identity/signing.pem": {restate},
        "identity/public/accepted.json": {restate, workers, manager},
        "secrets/key": {workers, manager},
        "secrets/probe.json": {manager},
        f"bundles/{build}/index.js": {workers, manager},
        f"bundles/{build}/secrets.sealed": {workers, manager},
        "manager": {manager},
        "manager/state.json": {manager},
        "workers/workerd.capnp": {workers, manager},
        "run": {workers, manager},
        "run/manager": {workers, manager},
    }
    everybody = (restate, workers, manager, "nobody:nogroup")
    assert {
        path: {user for user in everybody if services.can_read(user, path)} for path in readers
    } == readers


def test_each_role_is_brought_back_when_killed(services: Services) -> None:
    for role in ROLES:
        killed = services.pid_of(role)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda r=role, k=killed: services.pid_of(r) not in {0, k}, 15)
        services.client.await_ready(30, what=services.log.read_text())
        assert call(services) == "1"


def test_a_changed_configuration_is_applied_through_sv(services: Services) -> None:
    workers = services.pid_of("workers")
    for file, line in (
        (services.settings.workerd_template_path, "# changed"),
        (services.config, 'egress_allow = ["10.1.0.0/16"]'),
    ):
        before = cells(services)
        assert len(before) == 2
        file.write_text(f"{file.read_text()}{line}\n")
        wait_until(lambda b=before: are_replaced(services, b), 30)
    assert '"10.1.0.0/16"' in services.settings.workerd_config_path.read_text()
    assert services.pid_of("workers") == workers  # the role went on; its cells were replaced


def are_replaced(services: Services, before: set[int]) -> bool:
    now = cells(services)
    return len(now) == 2 and not now & before and call(services) == "1"


def test_a_restored_node_has_the_same_owners(services: Services, build: str) -> None:
    data, elsewhere = services.settings.data_dir, services.directory.parent / "restored"
    gridiron, file = str(Path(sys.executable).with_name("gridiron")), str(elsewhere.with_suffix(".tar.gz"))
    config = f"GRIDIRON_CONFIG={services.config}"
    for arguments in (("backup", file), ("restore", file, "--data-dir", str(elsewhere))):
        done = services.run("env", config, gridiron, *arguments)
        assert done.returncode == 0, done.stderr
    for path in (
        "",
        "restate",
        "restate/n1",
        "bundles",
        f"bundles/{build}/index.js",
        "secrets/key",
        "manager",
        "workers",
    ):
        assert services.owner_of(elsewhere / path) == services.owner_of(data / path), path
    assert services.run(str(RUNIT / "setup"), str(elsewhere)).returncode == 0
    assert services.owner_of(elsewhere / "run") == services.owner_of(data / "run")
