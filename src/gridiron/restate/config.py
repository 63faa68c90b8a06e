"""The configuration that restate-server is started with."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError

from gridiron.cluster import IP, PARTITIONS, fabric_urls, join_address
from gridiron.egress import is_loopback
from gridiron.errors import SettingsInvalid, StorageFailed, TemplateInvalid
from gridiron.identity.store import IdentityStore
from gridiron.process.files import replace_file
from gridiron.settings import Settings

SIGNING = ("worker", "invoker", "request-identity-private-key-pem-file")
"""What Restate does not sign without."""

SNAPSHOTS = ("worker", "snapshots", "destination")
"""What a cluster cannot do without: see docs/decisions/0027."""

SNAPSHOTS_FOLDER = "restate"
"""In the bucket of a cluster."""

ALONE = "gridiron"
"""The name of the cluster that a node alone is."""

CONFIG_FILE = "restate.toml"
"""In Restate's own directory: its user may have no other to write in."""


def render_restate_config(template: str, settings: Settings) -> str:
    """Render the text of a template; config/restate-template.toml says which variables there are.

    Raises TemplateInvalid, which names the template that the settings name, for an error of syntax, a
    variable that there is not, a result that is no TOML, and one by which Restate would not sign;
    SettingsInvalid for an address with a name.
    """
    environment = Environment(
        undefined=StrictUndefined,
        finalize=toml_value,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - TOML is no HTML; toml_value quotes what is put in
    )
    try:
        rendered = environment.from_string(template).render(plan_variables(settings))
        config = tomllib.loads(rendered)
    except TemplateSyntaxError as error:
        raise _invalid(settings, f"line {error.lineno}: {error.message}") from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid(settings, f"what it renders to is no TOML: {error}") from error
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise _invalid(settings, str(error)) from error
    if not _find(config, SIGNING):
        problem = f"it does not set {'.'.join(SIGNING)}, and the cells refuse what Restate did not sign"
        raise _invalid(settings, problem)
    if settings.cluster is not None and (hazard := _find_hazard(config)):
        raise _invalid(settings, hazard)
    return rendered


def _find_hazard(config: object) -> str | None:
    """Say what a node of a cluster must not be configured with, where it is."""
    if _find(config, ("auto-provision",)) is not False:
        return "it does not set auto-provision = false: a node that lost its disk would make a second cluster"
    if not _find(config, SNAPSHOTS):
        return f"it does not set {'.'.join(SNAPSHOTS)}: no log would ever be trimmed, and no node could join"
    if (host := _advertised_host(config)) is not None and is_loopback(host):
        return f"it sets advertised-address to {host}, at which no other node finds this one: use fabric_url"
    return None


def _advertised_host(config: object) -> str | None:
    """Give the host of the address that a configuration tells other nodes; None where it has none."""
    address = _find(config, ("advertised-address",))
    if not isinstance(address, str):
        return None
    try:
        return urlsplit(address if "://" in address else f"//{address}").hostname
    except ValueError:  # Restate says so itself
        return None


def plan_variables(settings: Settings) -> Mapping[str, str | int | Sequence[str]]:
    """Give the variables of the template. Raises SettingsInvalid for an address with a name."""
    ports = settings.ports
    fabric_ip = parse_ip("fabric_host", settings.fabric_host)
    return {
        "node_name": settings.node_name,
        "memory": settings.restate_memory,
        "log_format": "json" if settings.log_format == "json" else "compact",
        "admin_address": join_address(parse_ip("admin_host", settings.admin_host), ports.admin),
        "ingress_address": join_address(parse_ip("ingress_host", settings.ingress_host), ports.ingress),
        "fabric_address": join_address(fabric_ip, ports.fabric),
        **_plan_cluster(settings, fabric_ip),
        # the scheme is Restate's for OTLP over HTTP; without it, it speaks gRPC
        **({"traces_endpoint": f"otlp+{traces}"} if (traces := settings.traces_endpoint) else {}),
        "identity_key": str(IdentityStore.of(settings).signing_key),
    }


def _plan_cluster(settings: Settings, fabric_ip: IP) -> Mapping[str, str | int | Sequence[str]]:
    """Give the variables that tell a node of a cluster from one that is alone."""
    cluster, ports = settings.cluster, settings.ports
    if cluster is None:
        own = fabric_urls([reachable(fabric_ip)], ports.fabric)
        return {
            "cluster_name": ALONE,
            "provisions_itself": True,
            "partitions": settings.restate_partitions or plan_partitions(os.cpu_count() or 1),
            "replication": 1,
            "fabric_url": own[0],
            "metadata_urls": own,
        }
    if fabric_ip != cluster.address:
        problem = (
            f"{fabric_ip} is not the address of this node in its cluster, {cluster.address}, and whoever "
            "reaches Restate's port between nodes elsewhere commands the cluster: leave it out"
        )
        raise SettingsInvalid("fabric_host", problem)
    return {
        "cluster_name": cluster.name,
        "provisions_itself": False,
        "partitions": settings.restate_partitions or PARTITIONS,
        "replication": cluster.replication,
        "fabric_url": fabric_urls([cluster.address], ports.fabric)[0],
        "metadata_urls": fabric_urls(cluster.members, ports.fabric),
        "snapshots_url": cluster.folder(SNAPSHOTS_FOLDER),
        **({"s3_endpoint": endpoint} if (endpoint := settings.s3_endpoint) else {}),
    }


def plan_partitions(cores: int) -> int:
    """Say how many partitions a node alone gets: one for every two cores, as the cells need the others.

    Each has a thread, a log and batches of its own; docs/decisions/0011 has what they cost.
    """
    return max(1, cores // 2)


def toml_value(value: object) -> str:
    """Write a string, a whole number, a truth value or a sequence of such as TOML.

    Raises TypeError for anything else.
    """
    match value:
        case list() | tuple():
            return f"[{', '.join(toml_value(each) for each in value)}]"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            value.encode()  # raises where a path is no UTF-8
            # a string of JSON is one of TOML, but for one character that JSON leaves as it is
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case StrictUndefined():
            return str(value)  # raises, and names the variable
        case _:
            raise TypeError(f"{value!r} cannot be written as TOML")


def parse_ip(setting: str, host: str) -> IP:
    """Read an address to listen on: restate-server takes no names there. Raises SettingsInvalid."""
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise SettingsInvalid(setting, f"{host!r} is no IP address, and restate-server needs one") from error


def reachable(ip: IP) -> IP:
    """Give the address at which this machine reaches what listens on `ip`: loopback for every address."""
    if not ip.is_unspecified:
        return ip
    return ip_address("127.0.0.1" if ip.version == 4 else "::1")


def restate_config_path(settings: Settings) -> Path:
    """Say where the rendered configuration goes."""
    return settings.restate_dir / CONFIG_FILE


def restate_arguments(settings: Settings, binary: Path) -> tuple[str, ...]:
    """Give the command that starts restate-server with what `ensure_restate_config` wrote."""
    return (
        str(binary),
        "--config-file",
        str(restate_config_path(settings)),
        "--base-dir",
        str(settings.restate_dir),
        "--no-logo",
    )


def ensure_restate_config(settings: Settings) -> Path:
    """Render the template that the settings name, and put the result in place in one step. Safe to repeat.

    Raises TemplateInvalid, and StorageFailed when the template cannot be read or the result not be written.
    """
    template = settings.restate_template_path
    try:
        text = template.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageFailed("Reading", str(template), error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _invalid(settings, f"it is no UTF-8: {error}") from error
    path = restate_config_path(settings)
    rendered = render_restate_config(text, settings)
    try:
        replace_file(path, rendered.encode(), mode=0o600)
    except OSError as error:
        raise StorageFailed("Writing", str(path), error.strerror or str(error)) from error
    return path


def _find(config: object, path: tuple[str, ...]) -> object:
    for key in path:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _invalid(settings: Settings, problem: str) -> TemplateInvalid:
    # its sentence ends with a full stop, and so do some of Jinja's
    return TemplateInvalid(str(settings.restate_template_path), problem.removesuffix("."))
