from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gridiron.cluster import Cluster
from gridiron.egress import parse_ranges
from gridiron.errors import SettingsInvalid, StorageFailed, TemplateInvalid
from gridiron.settings import Settings, load_settings, shared_path
from gridiron.toolchain.programs import SdkCore, Search, Toolchain
from gridiron.workers.config import ensure_config, fetch_digest, haproxy_config_path


class Cores(Toolchain):
    """A toolchain that has nothing but cores of the SDK."""

    def __init__(self, *cores: SdkCore) -> None:
        super().__init__(Search({}, (), {}, "Linux", "x86_64"))
        self._cores = cores

    def sdk_cores(self) -> tuple[SdkCore, ...]:
        return self._cores


def core(directory: Path, version: str, content: bytes) -> SdkCore:
    path = directory / f"core-{version}.wasm"
    path.write_bytes(content)
    return SdkCore(version, path, hashlib.sha256(content).hexdigest())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    template = tmp_path / "template.capnp"
    template.write_bytes(shared_path("config/workerd-template.capnp").read_bytes())
    return load_settings(data_dir=tmp_path / "data", workerd_template_path=template, port_offset=7)


@pytest.fixture
def toolchain(tmp_path: Path) -> Cores:
    return Cores(core(tmp_path, "1", b"one"), core(tmp_path, "2", b"two"), core(tmp_path, "3", b"one"))


def names(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.workers_dir.iterdir())


def test_everything_that_is_generated_lies_side_by_side(settings: Settings, toolchain: Cores) -> None:
    assert ensure_config(settings, toolchain)
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two"))
    scripts = [name for name in names(settings) if name.endswith(".js")]
    assert sorted(name.partition("-")[2] for name in scripts) == [
        "build_log.js",
        "fetching.js",
        "identity.js",
        "main_module.js",
        "problem.js",
        "router.js",
    ]
    assert names(settings) == sorted(
        ["haproxy.cfg", *scripts, f"sdk-core-{one}.wasm", f"sdk-core-{two}.wasm", "workerd.capnp"]
    )
    assert (settings.workers_dir / f"sdk-core-{two}.wasm").read_bytes() == b"two"
    text = settings.workerd_config_path.read_text()
    assert all(f'embed "{script}"' in text for script in scripts)
    assert text.count(f'embed "sdk-core-{one}.wasm"') == 1
    assert f'disk = (path = "{settings.bundles_dir}")' in text
    assert 'bind "127.0.0.1:9087"' in haproxy_config_path(settings).read_text()


def test_a_second_time_changes_nothing(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    before = {path: path.stat().st_mtime_ns for path in settings.workers_dir.iterdir()}
    assert not ensure_config(settings, toolchain)
    assert {path: path.stat().st_mtime_ns for path in settings.workers_dir.iterdir()} == before


def test_a_deployment_changes_nothing(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    (settings.bundles_dir / "greeter-1.0.0-1").mkdir(parents=True)
    assert not ensure_config(settings, toolchain)


def test_a_changed_template_is_a_change(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    digest = fetch_digest(settings.workerd_config_path)
    with settings.workerd_template_path.open("a") as template:
        template.write("# more\n")
    assert ensure_config(settings, toolchain)
    assert fetch_digest(settings.workerd_config_path) != digest
    assert not ensure_config(settings, toolchain)


def test_another_core_is_a_change(settings: Settings, toolchain: Cores, tmp_path: Path) -> None:
    ensure_config(settings, toolchain)
    assert ensure_config(settings, Cores(*toolchain.sdk_cores(), core(tmp_path, "4", b"four")))


def test_another_opened_range_is_a_change(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    opened = settings.model_copy(update={"egress_allow": parse_ranges("10.1.0.0/16")})
    assert ensure_config(opened, toolchain)
    assert '"10.1.0.0/16"' in settings.workerd_config_path.read_text()
    assert not ensure_config(opened, toolchain)
    assert ensure_config(settings, toolchain)


def test_a_cluster_is_a_change_and_a_node_alone_renders_as_before(
    settings: Settings, toolchain: Cores
) -> None:
    ensure_config(settings, toolchain)
    alone = settings.workerd_config_path.read_bytes()
    given = {"address": "10.99.0.1", "peers": ["10.99.0.2"], "bucket": "s3://gridiron/mesh"}
    member = settings.model_copy(update={"cluster": Cluster.model_validate(given)})
    assert ensure_config(member, toolchain)
    assert f'"unix:{settings.run_dir}/manager/fetch.sock"' in settings.workerd_config_path.read_text()
    assert ensure_config(settings, toolchain)
    assert settings.workerd_config_path.read_bytes() == alone


def test_a_change_of_haproxys_alone_is_none_of_the_cells(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    moved = settings.model_copy(update={"port_offset": 8})
    assert not ensure_config(moved, toolchain)
    assert 'bind "127.0.0.1:9088"' in haproxy_config_path(settings).read_text()


def test_a_core_that_was_damaged_is_put_back(settings: Settings, toolchain: Cores) -> None:
    ensure_config(settings, toolchain)
    (copy, *_) = settings.workers_dir.glob("sdk-core-*")
    content = copy.read_bytes()
    for damage in (b"", None):
        copy.unlink()
        if damage is not None:
            copy.write_bytes(damage)
        assert not ensure_config(settings, toolchain)
        assert copy.read_bytes() == content


@pytest.mark.parametrize(
    ("text", "problem"), [(b"{{ nothing }}", "line 1: 'nothing' is undefined"), (b"\xff", "it is no UTF-8")]
)
def test_a_broken_template_is_named_and_changes_nothing(
    settings: Settings, toolchain: Cores, text: bytes, problem: str
) -> None:
    ensure_config(settings, toolchain)
    before = {path: path.read_bytes() for path in settings.workers_dir.iterdir()}
    settings.workerd_template_path.write_bytes(text)
    with pytest.raises(TemplateInvalid) as invalid:
        ensure_config(settings, toolchain)
    assert invalid.value.template == str(settings.workerd_template_path)
    assert invalid.value.problem.startswith(problem)
    assert {path: path.read_bytes() for path in settings.workers_dir.iterdir()} == before


def test_a_template_that_is_not_there_is_told(settings: Settings, toolchain: Cores) -> None:
    settings.workerd_template_path.unlink()
    with pytest.raises(StorageFailed, match=r"Reading .*template\.capnp failed: No such file"):
        ensure_config(settings, toolchain)
    assert not settings.workers_dir.exists()


def test_a_host_that_is_none_is_told(settings: Settings, toolchain: Cores) -> None:
    with pytest.raises(SettingsInvalid, match="workers_host"):
        ensure_config(settings.model_copy(update={"workers_host": "no host"}), toolchain)


def test_a_directory_that_cannot_be_made_is_told(settings: Settings, toolchain: Cores) -> None:
    settings.data_dir.parent.mkdir(exist_ok=True)
    settings.data_dir.write_text("a file in its place")
    with pytest.raises(StorageFailed, match="Writing"):
        ensure_config(settings, toolchain)


def test_two_processes_may_do_it_at_once(settings: Settings, toolchain: Cores) -> None:
    with ThreadPoolExecutor(8) as pool:
        changes = list(pool.map(lambda _: ensure_config(settings, toolchain), range(8)))
    assert any(changes)
    assert not [name for name in names(settings) if name.startswith(".")]
    assert not ensure_config(settings, toolchain)
