from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gridiron.errors import GridironError, StorageFailed, TemplateInvalid
from gridiron.restate.config import (
    ensure_restate_config,
    plan_partitions,
    plan_variables,
    render_restate_config,
    restate_arguments,
    toml_value,
)
from gridiron.restate.role import restate_environment
from gridiron.settings import Settings, load_settings, shared_path, variable_name

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.golden"))
DASHES = "-" * 80


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_name(field), raising=False)
    monkeypatch.chdir(tmp_path)


def render(given: dict[str, object]) -> str:
    shipped = shared_path("config/restate-template.toml").read_text()
    template = str(given.pop("template", shipped))
    settings = load_settings(restate_template_path=Path("/etc/restate-template.toml"), **given)
    try:
        return render_restate_config(template, settings)
    except GridironError as error:
        return f"{type(error).__name__}: {error}\n"


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
def test_settings_render_to(golden: Path) -> None:
    given, expected = golden.read_text().split(f"{DASHES}\n")
    assert render(tomllib.loads(given)) == expected


@pytest.mark.parametrize(("cores", "partitions"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (64, 32)])
def test_a_node_alone_has_a_partition_for_every_two_cores(cores: int, partitions: int) -> None:
    assert plan_partitions(cores) == partitions


def test_partitions_that_are_given_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert plan_variables(load_settings())["partitions"] == 6
    assert plan_variables(load_settings(restate_partitions=3))["partitions"] == 3


def test_there_are_golden_files() -> None:
    assert len(GOLDEN) >= 8


def test_a_template_that_fails_while_it_runs_is_invalid() -> None:
    with pytest.raises(TemplateInvalid):  # its words are Python's
        render_restate_config("a = {{ partitions // 0 }}", load_settings())


@pytest.mark.parametrize(
    "text",
    ["", "plain", 'a "quoted" \\ one', "two\nlines\t\x00\x1f\x7f", "häuser 🏠", "{{ x }} # no comment"],
)
def test_any_text_comes_back_from_toml(text: str) -> None:
    assert tomllib.loads(f"key = {toml_value(text)}") == {"key": text}


def test_the_configuration_is_put_in_place_whole(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data")
    path = ensure_restate_config(settings)
    assert path == tmp_path / "data" / "restate" / "restate.toml"
    first = path.read_text()
    assert first == render_restate_config(settings.restate_template_path.read_text(), settings)
    assert ensure_restate_config(load_settings(data_dir=tmp_path / "data", port_offset=7)) == path
    assert path.read_text() == first.replace(":9070", ":9077").replace(":8080", ":8087").replace(
        ":5122", ":5129"
    )
    assert [found.name for found in path.parent.iterdir()] == ["restate.toml"]


def test_a_wrong_template_leaves_the_configuration_as_it_was(tmp_path: Path) -> None:
    path = ensure_restate_config(load_settings(data_dir=tmp_path))
    before = path.read_text()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("node-name = {{ node }}")
    with pytest.raises(TemplateInvalid):
        ensure_restate_config(load_settings(data_dir=tmp_path, restate_template_path=wrong, port_offset=7))
    assert path.read_text() == before


def test_a_template_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no-template.toml"
    with pytest.raises(StorageFailed) as failure:
        ensure_restate_config(load_settings(data_dir=tmp_path, restate_template_path=missing))
    assert failure.value.path == str(missing)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed) as failure:
        ensure_restate_config(load_settings(data_dir=tmp_path / "file"))
    assert failure.value.path == str(tmp_path / "file" / "restate" / "restate.toml")


def test_the_command_names_both_its_configuration_and_its_data(tmp_path: Path) -> None:
    assert restate_arguments(load_settings(data_dir=tmp_path), Path("/opt/restate-server")) == (
        "/opt/restate-server",
        "--config-file",
        f"{tmp_path}/restate/restate.toml",
        "--base-dir",
        f"{tmp_path}/restate",
        "--no-logo",
    )


def test_no_variable_of_restate_gets_past_its_configuration() -> None:
    given = {"PATH": "/bin", "RESTATE_BIND_PORT": "1", "RESTATE_ADMIN_URL": "http://x", "RUST_LOG": "info"}
    assert restate_environment(given) == {"PATH": "/bin", "RUST_LOG": "info"}
