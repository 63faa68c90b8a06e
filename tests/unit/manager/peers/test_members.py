from __future__ import annotations

from pathlib import Path

from gridiron.manager.peers.client import Peer
from gridiron.manager.peers.members import list_told_peers
from tests.unit.manager.conftest import make_settings

CLUSTER = {"address": "10.99.0.1", "peers": ["10.99.0.1", "fd00::2"], "bucket": "s3://gridiron/mesh"}


def test_the_others_are_those_that_the_settings_tell_of(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, node_name="n1", cluster=CLUSTER, port_offset=10)
    assert list_told_peers(settings) == (Peer("fd00::2", "http://[fd00::2]:8092"),)


def test_a_node_alone_has_none(tmp_path: Path) -> None:
    assert list_told_peers(make_settings(tmp_path)) == ()
