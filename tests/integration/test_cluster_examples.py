"""The examples of docs/cluster.md, as those who read them take them: by the programs that they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gridiron.cluster import Cluster
from gridiron.settings import Settings, load_settings, variable_name
from gridiron.toolchain.programs import find_toolchain
from tests.pages import find_examples

PAGE = "cluster.md"


def test_haproxy_takes_its_configuration(tmp_path: Path) -> None:
    (given,) = find_examples(PAGE, "haproxy")
    config = tmp_path / "haproxy.cfg"
    config.write_text(given)
    haproxy = find_toolchain(load_settings()).haproxy().path
    check = subprocess.run(
        [haproxy, "-c", "-f", config], capture_output=True, text=True, timeout=60, check=False
    )
    assert (check.returncode, check.stderr) == (0, "")


def test_a_node_takes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (given,) = find_examples(PAGE, "toml")
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_name(field), raising=False)
    monkeypatch.setenv("GRIDIRON_CONFIG", str(tmp_path / "gridiron.toml"))
    (tmp_path / "gridiron.toml").write_text(given)
    settings = load_settings()
    assert (settings.node_name, settings.data_dir) == ("n1", Path("/var/lib/gridiron"))
    assert isinstance(settings.cluster, Cluster)
