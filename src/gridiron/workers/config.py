"""The generated configuration of the data plane on disk, with what it embeds beside it.

The router's scripts and the SDK cores are named by their content, so the text of the workerd configuration
changes when any of them does, and a cell that starts a moment after a change still finds what its text names.
"""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from gridiron.egress import plan_rules
from gridiron.errors import StorageFailed, TemplateInvalid
from gridiron.identity.store import PUBLIC_DIRECTORY
from gridiron.process.files import replace_file
from gridiron.settings import Settings
from gridiron.toolchain.programs import SdkCore, Toolchain
from gridiron.workers.render import (
    MAX_DESCRIPTORS,
    Embedded,
    HaproxyValues,
    Template,
    WorkerdValues,
    plan_address,
    plan_max_connections,
    render_haproxy_config,
    render_workerd_config,
)
from gridiron.workers.sockets import fetch_socket

SCRIPTS = ("router.js", "fetching.js", "identity.js", "problem.js", "main_module.js", "build_log.js")
"""The router worker, and the modules that it imports."""


def ensure_config(settings: Settings, toolchain: Toolchain) -> bool:
    """Put the data plane's configuration in place; tell whether the cells' changed, or what it embeds.

    Each file appears in one step, and only where its content changed. Safe to repeat, also from two processes
    at once. Raises TemplateInvalid, SettingsInvalid, StorageFailed, and what a missing toolchain raises.
    """
    scripts = {name: (files("gridiron.workers") / name).read_bytes() for name in SCRIPTS}
    cores = {core.sha256: core for core in toolchain.sdk_cores()}  # two SDKs may have the same core
    values = plan_workerd_values(settings, scripts, tuple(cores))
    workerd_config = render_workerd_config(_read_template(settings.workerd_template_path), values)
    haproxy_config = render_haproxy_config(
        _read_template(settings.haproxy_template_path),
        HaproxyValues(
            address=plan_address(settings.workers_host, settings.ports.workers),
            max_connections=plan_max_connections(descriptor_limit()),
        ),
    )
    # what a text embeds stands before the text does
    for script in values.scripts:
        _ensure_file(settings.workers_dir / script.file, scripts[script.module])
    for core in cores.values():
        _ensure_core(settings.workers_dir / core_file(core.sha256), core)
    _ensure_file(haproxy_config_path(settings), haproxy_config.encode())
    return _ensure_file(settings.workerd_config_path, workerd_config.encode())


def plan_workerd_values(
    settings: Settings, scripts: Mapping[str, bytes], core_digests: tuple[str, ...]
) -> WorkerdValues:
    """Give the variables of the workerd template: for the settings, scripts by name, cores' sha256."""
    rules = plan_rules(settings.egress_allow)
    return WorkerdValues(
        bundles_dir=str(settings.bundles_dir),
        secrets_dir=str(settings.secrets_dir),
        identity_dir=str(settings.identity_dir / PUBLIC_DIRECTORY),
        scripts=tuple(Embedded(name, script_file(name, content)) for name, content in scripts.items()),
        cores=tuple(Embedded(f"{digest}.wasm", core_file(digest)) for digest in core_digests),
        core_digests=json.dumps(core_digests),
        egress_allow=rules.allow,
        egress_deny=rules.deny,
        manager_address=None if settings.cluster is None else f"unix:{fetch_socket(settings.run_dir)}",
    )


def script_file(name: str, content: bytes) -> str:
    """Name the file of a script of the router worker: by its content, too."""
    return f"{hashlib.sha256(content).hexdigest()[:16]}-{name}"


def core_file(digest: str) -> str:
    """Name the file of a core of Restate's SDK."""
    return f"sdk-core-{digest}.wasm"


def haproxy_config_path(settings: Settings) -> Path:
    """Say where HAProxy's rendered configuration goes."""
    return settings.workers_dir / "haproxy.cfg"


def descriptor_limit() -> int:
    """Say how many files a process of this machine's user may have open (the hard limit), within reason.

    Every process of a node finds the same here, whatever its soft limit; `gridiron workers` raises that.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)


def fetch_digest(path: Path) -> str:
    """Give the sha256 of a generated configuration as it is on disk. Raises StorageFailed."""
    return hashlib.sha256(_read(path)).hexdigest()


def _read_template(path: Path) -> Template:
    try:
        return Template(str(path), _read(path).decode())
    except UnicodeDecodeError as error:
        raise TemplateInvalid(str(path), f"it is no UTF-8: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageFailed("Reading", str(path), error.strerror or str(error)) from error


def _ensure_core(path: Path, core: SdkCore) -> None:
    """Copy a core unless it is there; its name says its content, so its size is enough to compare."""
    if not path.is_file() or path.stat().st_size != core.path.stat().st_size:
        _ensure_file(path, _read(core.path))


def _ensure_file(path: Path, content: bytes) -> bool:
    """Put a file in place in one step; False when it was there with this content."""
    try:
        if path.is_file() and path.read_bytes() == content:
            return False
        replace_file(path, content, mode=0o644)  # the manager and the workers may be two users
    except OSError as error:
        raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error
    return True
