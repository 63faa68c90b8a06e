"""A node under runit: each role is brought back when killed, a changed configuration reaches the workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from gridiron.cli.demo.subject import choose_settings
from gridiron.settings import Settings
from gridiron.testing.probe import ProbeBundles
from gridiron.testing.processes import descendants
from tests.harness import alive, wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("runsvdir") is None and "CI" not in os.environ, reason="Debian's runit is not installed"
)
ROLES = ("restate", "workers", "manager")
RUNIT = Path(__file__).parents[2] / "runit"


class Services:
    """A runsvdir of its own with the three roles in it."""

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
        lines = [f"{key} = {value!r}" for key, value in self._file().items()]
        (directory / "gridiron.toml").write_text("\n".join(lines) + "\n")
        for role in ROLES:
            service = self.directory / role
            service.mkdir()
            shutil.copy(RUNIT / role / "run", service / "run")
        environment = {**os.environ, "GRIDIRON_CONFIG": str(directory / "gridiron.toml")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        self.log = directory / "runit.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["runsvdir", "-P", self.directory], env=environment, stdout=log, stderr=log
            )

    def _file(self) -> dict[str, object]:
        settings = self.settings
        return {
            "data_dir": str(settings.data_dir),
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

    def ready(self) -> bool:
        try:
            return httpx2.get(f"{self.settings.manager_url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        processes = descendants(self._process.pid)
        for role in ROLES:
            subprocess.run(["sv", "-w", "15", "exit", self.directory / role], check=False, timeout=30)
        self._process.send_signal(signal.SIGHUP)
        self._process.wait(15)
        wait_until(lambda: not alive(processes), 15, what=str(alive(processes)))


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    yield services
    services.stop()


def cells(services: Services) -> set[int]:
    return {
        pid
        for pid in descendants(services.pid_of("workers"))
        if (comm := Path(f"/proc/{pid}/comm")).exists() and comm.read_text().strip() == "workerd"
    }


def call(services: Services) -> str:
    response = httpx2.post(f"{services.settings.ingress_url}/probe/version", timeout=30)
    return response.text


def test_each_role_is_brought_back_when_killed(services: Services, bundles: ProbeBundles) -> None:
    wait_until(services.ready, 30, what=services.log.read_text())
    body = {"source": bundles.make("1").as_uri(), "name": "probe", "version": "1"}
    assert httpx2.post(f"{services.settings.manager_url}/activate", json=body, timeout=30).status_code == 201
    for role in ROLES:
        killed = services.pid_of(role)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda r=role, k=killed: services.pid_of(r) not in {0, k}, 15)
        wait_until(services.ready, 30, what=services.log.read_text())
        assert call(services) == '"1"'


def test_a_changed_configuration_is_applied_through_sv(services: Services, bundles: ProbeBundles) -> None:
    wait_until(services.ready, 30, what=services.log.read_text())
    body = {"source": bundles.make("1").as_uri(), "name": "probe", "version": "1"}
    assert httpx2.post(f"{services.settings.manager_url}/activate", json=body, timeout=30).status_code == 201
    workers = services.pid_of("workers")
    template, settings = services.settings.workerd_template_path, services.directory.parent / "gridiron.toml"
    for file, line in ((template, "# changed"), (settings, 'egress_allow = ["10.1.0.0/16"]')):
        before = cells(services)
        assert len(before) == 2
        file.write_text(f"{file.read_text()}{line}\n")
        wait_until(lambda b=before: are_replaced(services, b), 30)
    assert '"10.1.0.0/16"' in services.settings.workerd_config_path.read_text()
    assert services.pid_of("workers") == workers  # the role went on; its cells were replaced


def are_replaced(services: Services, before: set[int]) -> bool:
    now = cells(services)
    return len(now) == 2 and not now & before and call(services) == '"1"'
