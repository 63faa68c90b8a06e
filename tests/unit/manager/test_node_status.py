from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import gridiron
from gridiron.errors import SettingsInvalid
from gridiron.manager import node_status
from gridiron.manager.api import WrittenSettings
from gridiron.manager.node_status import NodeReader, list_listeners
from gridiron.toolchain.programs import find_toolchain
from tests.unit.manager.conftest import NOW, Manager, make_settings


async def test_a_node_tells_what_it_is(manager: Manager) -> None:
    async with manager.serve() as client:
        manager.clock.now = NOW + timedelta(minutes=1)
        said = (await client.get("/node")).json()
    assert (said["node"], said["version"]) == ("n1", gridiron.__version__)
    assert (said["started_at"], said["now"]) == ("2026-11-01T12:00:00Z", "2026-11-01T12:01:00Z")
    assert said["programs"].keys() == {"python", "restate", "workerd", "haproxy"}
    assert 0 < said["disk"]["free"] <= said["disk"]["total"]
    assert said["settings"] == {"live": [], "restart": [], "problem": None}
    here = {"host": "127.0.0.1", "is_loopback": True, "is_encrypted": False}
    assert {"purpose": "manager", "port": 8081, **here} in said["listens"]


def read_written(manager: Manager, **written: Any) -> WrittenSettings:
    settings = manager.context.settings
    return node_status._compare_written(settings, lambda: make_settings(manager.directory, **written))


def test_settings_that_wait_are_named(manager: Manager) -> None:
    assert read_written(manager, retain=1, cells=7) == WrittenSettings(
        live=("retain",), restart=("cells",), problem=None
    )
    broken = read_written(manager, cells=-1)
    assert (broken.live, broken.restart) == ((), ())
    with pytest.raises(SettingsInvalid, match="cells") as caught:
        make_settings(manager.directory, cells=-1)
    assert broken.problem == str(caught.value)


def test_a_port_beyond_loopback_is_told_from_one_on_it(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, manager_host="0.0.0.0", ingress_host="::1", admin_host="localhost")  # noqa: S104
    outside = {each.purpose for each in list_listeners(settings) if not each.is_loopback}
    assert outside == {"manager"}


async def test_a_disk_that_is_gone_is_unknown(manager: Manager, tmp_path: Path) -> None:
    settings = make_settings(manager.directory, bundles_dir=tmp_path / "nowhere")
    manager.context.settings = settings
    reader = NodeReader(manager.context, find_toolchain(settings), lambda: settings)
    assert (await reader.fetch()).disk is None
