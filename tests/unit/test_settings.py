from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from gridiron.errors import SettingsInvalid
from gridiron.settings import (
    LIVE,
    MAX_SOCKET_DIRECTORY,
    Ports,
    Settings,
    find_changes,
    load_settings,
    variable_name,
)

FIXED = {
    "manager_port": "MANAGER_PORT",
    "bundles_dir": "BUNDLES_DIR",
    "manager_state_dir": "MANAGER_STATE_DIR",
    "workerd_config_path": "WORKERD_CONFIG_PATH",
    "workerd_template_path": "WORKERD_TEMPLATE_PATH",
    "restate_admin_url": "RESTATE_ADMIN_URL",
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_name(field), raising=False)
    monkeypatch.delenv("GRIDIRON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_contract_fixes_six_variables_and_new_ones_start_with_the_name() -> None:
    assert {field: variable_name(field) for field in FIXED} == FIXED
    of_opentelemetry = {field for field in Settings.model_fields if variable_name(field).startswith("OTEL_")}
    assert of_opentelemetry == {"otel_exporter_otlp_endpoint", "otel_exporter_otlp_traces_endpoint"}
    others = set(Settings.model_fields) - set(FIXED) - of_opentelemetry
    assert {variable_name(field) for field in others} == {f"GRIDIRON_{field.upper()}" for field in others}


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "d")
    assert settings.ports == Ports(manager=8081, workers=9080, ingress=8080, admin=9070, fabric=5122)
    assert settings.restate_admin_url == "http://localhost:9070"
    assert settings.bundles_dir == tmp_path / "d" / "bundles"
    assert settings.manager_state_dir == tmp_path / "d" / "manager"
    assert settings.retain == 5
    hosts = {getattr(settings, f"{name}_host") for name in Ports._fields}
    assert hosts == {"127.0.0.1"}


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gridiron.toml").write_text("cells = 1\nretain = 1\nmanager_port = 1111\n")
    monkeypatch.setenv("GRIDIRON_CELLS", "2")
    monkeypatch.setenv("GRIDIRON_RETAIN", "2")
    settings = load_settings(cells=3, retain=None)
    assert (settings.cells, settings.retain, settings.manager_port) == (3, 2, 1111)


def test_the_offset_moves_every_port_and_every_address_made_of_one() -> None:
    settings = load_settings(port_offset=100)
    assert settings.ports == Ports(manager=8181, workers=9180, ingress=8180, admin=9170, fabric=5222)
    assert (settings.manager_url, settings.ingress_url) == ("http://localhost:8181", "http://localhost:8180")
    assert (settings.restate_admin_url, settings.workers_url) == (
        "http://localhost:9170",
        "http://localhost:9180",
    )


def test_what_listens_at_one_address_is_asked_there() -> None:
    settings = load_settings(manager_host="10.0.0.1", ingress_host="fd00::1", admin_host="0.0.0.0")  # noqa: S104 - text
    assert (settings.manager_url, settings.ingress_url, settings.restate_admin_url) == (
        "http://10.0.0.1:8081",
        "http://[fd00::1]:8080",
        "http://localhost:9070",
    )
    assert load_settings(workers_host="10.0.0.1").workers_url == "http://localhost:9080"


def test_the_environment_of_a_child_makes_it_load_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    more = {"workerd": tmp_path / "w", "egress_allow": "10.1.0.0/16,fd12::/16"}
    settings = load_settings(data_dir=tmp_path / "x y", port_offset=7, cells=2, **more)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_opened_ranges_are_text_in_the_environment_and_a_list_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings().egress_allow == ()
    (tmp_path / "gridiron.toml").write_text('egress_allow = ["10.1.0.0/16", "fd12::/16"]\n')
    assert load_settings().egress_allow == (IPv4Network("10.1.0.0/16"), IPv6Network("fd12::/16"))
    monkeypatch.setenv("GRIDIRON_EGRESS_ALLOW", "10.2.0.0/16, 10.3.0.0/16")
    assert load_settings().egress_allow == (IPv4Network("10.2.0.0/16"), IPv4Network("10.3.0.0/16"))
    monkeypatch.setenv("GRIDIRON_EGRESS_ALLOW", "")
    assert load_settings().egress_allow == ()


def test_a_child_opens_nothing_when_its_parent_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = load_settings().environment()
    (tmp_path / "gridiron.toml").write_text('egress_allow = ["10.1.0.0/16"]\n')
    monkeypatch.setenv("GRIDIRON_EGRESS_ALLOW", environment["GRIDIRON_EGRESS_ALLOW"])
    assert load_settings().egress_allow == ()


def test_live_settings_alone_are_read_anew(tmp_path: Path) -> None:
    (tmp_path / "gridiron.toml").write_text('egress_allow = ["10.1.0.0/16"]\ncells = 1\nretain = 1\n')
    settings = load_settings(data_dir=tmp_path / "d")
    (tmp_path / "gridiron.toml").write_text('egress_allow = ["10.2.0.0/16"]\ncells = 2\nretain = 2\n')
    anew = settings.read_anew()
    live = {"egress_allow": (IPv4Network("10.2.0.0/16"),), "retain": 2}
    assert anew == settings.model_copy(update=live)
    written = load_settings(data_dir=tmp_path / "d")
    assert find_changes(settings, written) == (("egress_allow", "retain"), ("cells",))
    assert find_changes(anew, written) == ((), ("cells",))


def test_each_live_setting_is_one() -> None:
    assert Settings.model_fields.keys() >= LIVE


def test_a_child_reads_live_settings_for_itself() -> None:
    settings = load_settings(retain=1)
    left_out = settings.environment().keys() - settings.environment(live=False).keys()
    assert left_out == {variable_name(field) for field in LIVE if getattr(settings, field) is not None}
    assert variable_name("retain") in left_out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"cells": "many"},
            "cells: Input should be a valid integer, unable to parse string as an integer.",
        ),
        ({"port_offset": -1}, "port_offset: Input should be greater than or equal to 0."),
        (
            {"egress_allow": "10.1.2.3/16"},
            "egress_allow: 10.1.2.3/16 has bits set behind its length: write 10.1.0.0/16.",
        ),
        ({"colour": "red"}, "colour: Extra inputs are not permitted."),
        (
            {"require_signature": True},
            "require_signature: no signature would do: set GRIDIRON_TRUSTED_KEYS too.",
        ),
        (
            {"source_allow": "10.1.0.1/16"},
            "source_allow: 10.1.0.1/16 has host bits set.",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(flags: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings(**flags)
    assert str(refusal.value) == message


def test_an_unknown_key_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gridiron.toml").write_text("celles = 1\n")
    with pytest.raises(SettingsInvalid, match="celles"):
        load_settings()
    (tmp_path / "gridiron.toml").write_text("cells = \n")
    with pytest.raises(SettingsInvalid, match=r"gridiron\.toml"):
        load_settings()


def test_a_file_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDIRON_CONFIG", "x" * 1000)  # whoever runs this may read all others
    with pytest.raises(SettingsInvalid, match="File name too long"):
        load_settings()


def test_sockets_get_a_short_directory_where_the_data_directory_is_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["deep"] * 20)
    chosen = load_settings(data_dir=deep).run_dir
    assert len(str(chosen)) <= MAX_SOCKET_DIRECTORY
    assert chosen == load_settings(data_dir=deep).run_dir
    assert chosen != load_settings(data_dir=deep / "er").run_dir


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ({}, None),
        ({"otel_exporter_otlp_endpoint": ""}, None),
        ({"otel_exporter_otlp_endpoint": "http://collector:4318/"}, "http://collector:4318/v1/traces"),
        (
            {"otel_exporter_otlp_endpoint": "http://a", "otel_exporter_otlp_traces_endpoint": "http://b/in"},
            "http://b/in",
        ),
    ],
)
def test_where_traces_go(given: dict[str, str], endpoint: str | None) -> None:
    assert load_settings(**given).traces_endpoint == endpoint
