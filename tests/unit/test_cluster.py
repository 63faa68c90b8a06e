from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from gridiron.cli.roles import plan_cluster
from gridiron.cluster import Cluster, fabric_urls
from gridiron.errors import SettingsInvalid
from gridiron.settings import Settings, load_settings, variable_name

GIVEN = {
    "address": "10.99.0.1",
    "peers": ["10.99.0.3", "10.99.0.2"],
    "bucket": "s3://gridiron/mesh",
}
TABLE = """
node_name = "n1"
[cluster]
address = "10.99.0.1"
peers = ["10.99.0.3", "10.99.0.2"]
bucket = "s3://gridiron/mesh"
"""


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_name(field), raising=False)
    monkeypatch.delenv("GRIDIRON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def load(**changed: object) -> Settings:
    return load_settings(node_name="n1", cluster={**GIVEN, **changed})


def test_a_table_of_the_file_names_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "gridiron.toml").write_text(TABLE)
    settings = load_settings()
    assert settings.cluster == Cluster.model_validate(GIVEN)
    assert (settings.fabric_host, settings.fabric_url) == ("10.99.0.1", "http://10.99.0.1:5122")
    assert load_settings(port_offset=10).fabric_url == "http://10.99.0.1:5132"


def test_a_child_of_a_node_loads_the_same_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(replication=3, address="fd00::1", peers=["fd00::1", "fd00::2", "fd00::3"])
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings
    assert settings.fabric_url == "http://[fd00::1]:5122"


def test_a_flag_says_a_part_and_the_file_the_rest(tmp_path: Path) -> None:
    (tmp_path / "gridiron.toml").write_text(TABLE)
    flags = plan_cluster("10.99.0.4, 10.99.0.5", None, None)
    assert load_settings(cluster=flags).cluster == Cluster.model_validate(
        {**GIVEN, "peers": ["10.99.0.4", "10.99.0.5"]}
    )
    assert plan_cluster(None, None, None) is None


@pytest.mark.parametrize("given", [("", None, None), (" , ", None, None), (None, "", None), (None, None, "")])
def test_a_flag_of_a_variable_that_is_not_set_is_refused(
    given: tuple[str | None, str | None, str | None],
) -> None:
    with pytest.raises(SettingsInvalid, match=r"it is empty: give a value, or leave it out"):
        plan_cluster(*given)


def test_what_flags_leave_out_is_named() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(node_name="n1", cluster=plan_cluster("10.99.0.2,n3", None, None))
    assert str(caught.value) == (
        "cluster.address, cluster.peers.1, cluster.bucket: "
        "address is missing: give it in the table [cluster], or to `gridiron up` as --address; "
        "'n3' is no IP address, which peers (--join) needs; "
        "bucket is missing: give it in the table [cluster], or to `gridiron up` as --bucket."
    )


def test_flags_alone_name_a_cluster() -> None:
    flags = plan_cluster("10.99.0.3,10.99.0.2", "10.99.0.1", "s3://gridiron/mesh")
    assert load_settings(node_name="n1", cluster=flags).cluster == Cluster.model_validate(GIVEN)


def test_the_members_are_all_that_are_told_of_each_once() -> None:
    cluster = Cluster.model_validate({**GIVEN, "peers": ["10.99.0.10", "10.99.0.1", "10.99.0.2"]})
    assert cluster.members == tuple(map(ip_address, ("10.99.0.1", "10.99.0.2", "10.99.0.10")))
    assert fabric_urls(cluster.members, 5122)[2] == "http://10.99.0.10:5122"
    assert cluster.folder("restate") == "s3://gridiron/mesh/restate"


def test_a_node_alone_is_called_n1_and_one_of_a_cluster_needs_a_name() -> None:
    assert load_settings().node_name == "n1"
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(cluster=GIVEN)
    assert (
        str(caught.value)
        == "node_name: each node of a cluster needs a name of its own: set GRIDIRON_NODE_NAME."
    )


ELSEWHERE = "no address at which other machines find this one: give one of the nodes' private network"
PUBLIC = "public, and the port between nodes asks nobody who he is: give one of a private network"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"address": "127.0.0.1"}, f"cluster.address: 127.0.0.1 is {ELSEWHERE}."),
        ({"address": "::"}, f"cluster.address: :: is {ELSEWHERE}."),
        ({"address": "fe80::1"}, f"cluster.address: fe80::1 is {ELSEWHERE}."),
        (
            {"address": "n1.example.com"},
            "cluster.address: 'n1.example.com' is no IP address, which address (--address) needs.",
        ),
        ({"address": "::ffff:127.0.0.1"}, f"cluster.address: ::ffff:127.0.0.1 is {ELSEWHERE}."),
        ({"address": "::ffff:0.0.0.0"}, f"cluster.address: ::ffff:0.0.0.0 is {ELSEWHERE}."),
        ({"peers": ["::ffff:8.8.8.8"]}, f"cluster.peers.0: ::ffff:8.8.8.8 is {PUBLIC}."),
        (
            {"peers": ["10.99.0.2", "n3"]},
            "cluster.peers.1: 'n3' is no IP address, which peers (--join) needs.",
        ),
        ({"address": "8.8.8.8"}, f"cluster.address: 8.8.8.8 is {PUBLIC}."),
        ({"peers": ["10.99.0.2", "2600::1"]}, f"cluster.peers.1: 2600::1 is {PUBLIC}."),
        ({"peers": ["10.99.0.2", "10.99.0.2"]}, "cluster: peers: an address is there twice."),
        (
            {"replication": 4},
            "cluster: replication: 4 copies need as many nodes, and there are 3 with this one.",
        ),
        (
            {"bucket": "file:///tmp"},
            "cluster.bucket: write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.",
        ),
        ({"leader": True}, "cluster.leader: Extra inputs are not permitted."),
    ],
)
def test_what_would_hurt_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(**changed)
    assert str(caught.value) == message
