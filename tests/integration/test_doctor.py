"""The doctor on a machine where something is really broken: each has its line, with what mends it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gridiron.secrets.key import ensure_key
from tests.acceptance.disks import read_only, small_disk

Line = tuple[str, str]  # meaning, mend
Examine = Callable[..., dict[str, Line]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A node's data directory."""
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


@pytest.fixture
def examine(data: Path) -> Examine:
    """Run the doctor, and give what is not in order by its check."""

    def examine(
        *before: str, environment: Mapping[str, str] | None = None, status: int = 1
    ) -> dict[str, Line]:
        command = [sys.executable, "-P", "-m", "gridiron", "doctor", "--json", "--port-offset", "37"]
        ended = subprocess.run(
            [*before, *command],
            env={**os.environ, "GRIDIRON_DATA_DIR": str(data), **(environment or {})},
            cwd=data,  # where there is no gridiron.toml, unless a test writes one
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (status, "")
        lines = json.loads(ended.stdout)
        assert any(line["state"] == "failure" for line in lines) is (status == 1)
        return {line["check"]: (line["meaning"], line["mend"]) for line in lines if line["state"] != "ok"}

    return examine


def test_a_machine_in_order(examine: Examine) -> None:
    assert examine(status=0).keys() <= {"open files", "memory"}  # as the machine that this runs on has them


def test_several_things_at_once(examine: Examine, data: Path) -> None:
    haproxy = data / "haproxy"
    haproxy.write_text("#!/bin/sh\necho 'HAProxy version 2.0.1 2020/01/01'\n")
    haproxy.chmod(0o755)
    ensure_key(data / "secrets")
    (data / "secrets" / "key").chmod(0o644)
    (data / "run").mkdir(mode=0o700)
    os.chown(data / "run", 54321, 54321)
    with socket.create_server(("127.0.0.1", 9107)), socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        environment = {
            "GRIDIRON_HAPROXY": str(haproxy),
            "GRIDIRON_RUN_DIR": str(data / "run"),
            "GRIDIRON_S3_ENDPOINT": endpoint,
            "GRIDIRON_WORKERS_HOST": "0.0.0.0",  # noqa: S104 - which is to be told
            "GRIDIRON_FABRIC_HOST": "192.0.2.1",
        }
        found = examine(environment=environment)
    found.pop("open files", None)
    found.pop("memory", None)
    assert found == {
        "haproxy": (
            f"{haproxy} is haproxy 2.0.1, and 2.8 or later is needed",
            "Set GRIDIRON_HAPROXY to another, or unset it to use Gridiron's own.",
        ),
        "key of the secrets": (
            f"{data}/secrets/key is open to others (0644)",
            f"Close it: `chmod 640 {data}/secrets/key`.",
        ),
        "sockets": (
            f"{data}/run belongs to user 54321, and root is to use it alone",
            "Run this as the user who runs the node, or remove the directory.",
        ),
        "port 9107": (
            f"admin at 127.0.0.1: process {os.getpid()}, none of this node, listens there",
            "Stop it, or give another --port-offset or GRIDIRON_ADMIN_PORT.",
        ),
        "port 5159": (
            "fabric at 192.0.2.1: that is no address of this machine",
            "Set GRIDIRON_FABRIC_HOST to one of its addresses.",
        ),
        "exposure": found["exposure"],
        "object store": (
            f"{endpoint} does not answer ([Errno 111] Connection refused)",
            "Start it, or set GRIDIRON_S3_ENDPOINT to where it is.",
        ),
    }


def test_settings_that_cannot_be_read(examine: Examine, data: Path) -> None:
    (data / "gridiron.toml").write_text("cells = -1\n")
    assert examine() == {
        "settings": (
            "cells: Input should be greater than or equal to 0.",
            "Mend gridiron.toml, the environment or the flag. The rest is looked at after that.",
        )
    }


def test_a_disk_that_is_full_and_one_that_is_read_only(examine: Examine, data: Path) -> None:
    (data / "bundles").mkdir()
    (data / "manager").mkdir()
    with small_disk(data / "bundles", "1m"), read_only(data / "manager"):
        found = examine()
    full, mend = found["disk"]
    assert (full.startswith(f"{data}/bundles has 1.0 MB left"), mend) == (True, "Make room on that disk.")
    assert found["manager's state"][0] == f"{data}/manager cannot be written to by root"


def test_too_few_open_files(examine: Examine) -> None:
    found = examine("sh", "-c", 'ulimit -n 200; exec "$@"', "sh")
    assert found["open files"][0] == "200 are allowed, too few for HAProxy"
