"""Every setting of a node and of the command line, in one place.

Order: flag, environment, `gridiron.toml`, default. The variable of a field is `GRIDIRON_` and its name in
capitals, except for the six that the contract fixes (`MANAGER_PORT`, `BUNDLES_DIR`, `MANAGER_STATE_DIR`,
`WORKERD_CONFIG_PATH`, `WORKERD_TEMPLATE_PATH`, `RESTATE_ADMIN_URL`) and for OpenTelemetry's, which have no
prefix of ours. The key in
`gridiron.toml` is the field's name. `port_offset` moves every port of the node: `Settings.ports` has the
numbers that are really used.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gridiron.cluster import Cluster, fabric_urls
from gridiron.egress import Range, parse_ranges
from gridiron.errors import SettingsInvalid


def _read_ranges(value: object) -> tuple[Range, ...]:
    try:
        return parse_ranges(value)
    except ValueError as error:  # pydantic would put "Value error" before it
        raise PydanticCustomError("ranges", "{problem}", {"problem": str(error)}) from error


def _read_networks(value: object) -> tuple[Range, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise PydanticCustomError("networks", 'write a list of ranges, as in ["10.1.0.0/16"]')
    try:
        return tuple(ip_network(str(part).strip()) for part in parts if str(part).strip())
    except ValueError as error:
        raise PydanticCustomError("networks", "{problem}", {"problem": str(error)}) from error


def _read_paths(value: object) -> object:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


Port = Annotated[int, Field(ge=1, le=65_535)]
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]
Ranges = Annotated[tuple[Range, ...], NoDecode, BeforeValidator(_read_ranges)]
"""Of addresses: text with commas in the environment, a list in gridiron.toml."""

Paths = Annotated[tuple[AbsolutePath, ...], NoDecode, BeforeValidator(_read_paths)]
"""Text with colons in the environment, as PATH has them; a list in gridiron.toml."""

Networks = Annotated[tuple[Range, ...], NoDecode, BeforeValidator(_read_networks)]
"""As Ranges, and of any addresses."""

BUNDLES_IDENTITY = ".store"
"""Holds the identity of a bundle directory, made with it. Without it, the disk may not be mounted."""

CONFIG_FILE = "gridiron.toml"
SHARE = Path(__file__).parent / "_share"
"""What a checkout has at its root and the package needs: links there, copies in an installed package."""

MAX_SOCKET_DIRECTORY = 70
"""Characters of a directory that unix sockets fit in: Linux ends their paths at 107, macOS at 103, and a
socket's own name with HAProxy's temporary suffix takes up to 30."""


EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - to be told from others
"""What listens there listens on loopback, too."""

LIVE = frozenset(
    {
        "egress_allow",
        "source_roots",
        "source_http",
        "source_allow",
        "source_mib",
        "source_files",
        "source_seconds",
        "source_redirects",
        "trusted_keys",
        "require_signature",
        "sweep_seconds",
        "drain_grace_seconds",
        "retain",
        "log_level",
    }
)
"""Settings that a running process takes up. All others are of processes, files and ports that are there."""


class Ports(NamedTuple):
    """The ports that a node listens on, offset included."""

    manager: int
    workers: int
    ingress: int
    admin: int
    fabric: int


def checkout() -> Path | None:
    """Give the root of the checkout that this package runs from, or None when it is installed."""
    root = Path(__file__).parents[2]
    return root if (root / "package.json").is_file() and (root / "config").is_dir() else None


def shared_path(relative: str) -> Path:
    """Find a file or directory that goes along with the package: in `config`, `demo`, `package.json`."""
    return SHARE / relative


def user_data_dir() -> Path:
    """Give the user's directory for data that outlives a run (XDG base directory specification)."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "gridiron"


def _socket_dir(data_dir: Path) -> Path:
    """Choose a directory for sockets: in the data directory, or a short one where that is too long."""
    directory = data_dir / "run"
    if len(str(directory)) <= MAX_SOCKET_DIRECTORY:
        return directory
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"gridiron-{os.getuid()}-{digest}"


def _fabric_host(given: dict[str, Any]) -> str:
    return str(given["cluster"].address) if given["cluster"] else "127.0.0.1"


def _fabric_url(given: dict[str, Any]) -> str:
    if not given["cluster"]:
        return _url_of(given, "fabric")
    port = given["fabric_port"] + given["port_offset"]
    return fabric_urls([given["cluster"].address], port)[0]


class Settings(BaseSettings):
    """The settings of one node. `load_settings` reads them. All paths are absolute."""

    model_config = SettingsConfigDict(env_prefix="GRIDIRON_", extra="forbid", frozen=True)

    # where things are
    data_dir: AbsolutePath = Field(default_factory=lambda: user_data_dir() / "data")
    bundles_dir: AbsolutePath = Field(
        default_factory=lambda given: given["data_dir"] / "bundles", validation_alias="bundles_dir"
    )
    manager_state_dir: AbsolutePath = Field(
        default_factory=lambda given: given["data_dir"] / "manager", validation_alias="manager_state_dir"
    )
    secrets_dir: AbsolutePath = Field(default_factory=lambda given: given["data_dir"] / "secrets")
    logs_dir: AbsolutePath = Field(default_factory=lambda given: given["data_dir"] / "logs")  # of builds
    identity_dir: AbsolutePath = Field(default_factory=lambda given: given["data_dir"] / "identity")
    workerd_config_path: AbsolutePath = Field(
        default_factory=lambda given: given["data_dir"] / "workers" / "workerd.capnp",
        validation_alias="workerd_config_path",
    )
    workerd_template_path: AbsolutePath = Field(
        default_factory=lambda: shared_path("config/workerd-template.capnp"),
        validation_alias="workerd_template_path",
    )
    haproxy_template_path: AbsolutePath = Field(
        default_factory=lambda: shared_path("config/haproxy-template.cfg")
    )
    restate_template_path: AbsolutePath = Field(
        default_factory=lambda: shared_path("config/restate-template.toml")
    )
    run_dir: AbsolutePath = Field(default_factory=lambda given: _socket_dir(given["data_dir"]))
    toolchain_dir: AbsolutePath = Field(default_factory=lambda: user_data_dir() / "toolchain")

    # the cluster; None: this node is alone
    cluster: Cluster | None = None

    # what listens where, before the offset; of a cluster, the same ports on every node
    port_offset: Annotated[int, Field(ge=0, le=50_000)] = 0
    manager_host: str = "127.0.0.1"
    manager_port: Port = Field(default=8081, validation_alias="manager_port")
    workers_host: str = "127.0.0.1"
    workers_port: Port = 9080
    ingress_host: str = "127.0.0.1"
    ingress_port: Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: Port = 9070
    fabric_host: str = Field(default_factory=_fabric_host)
    fabric_port: Port = 5122
    peer_port: Port = 8082  # of managers for each other, at the cluster's address; a node alone has none

    # who may ask the manager, and how: see docs/access.md
    open_loopback: bool = False  # whether requests from this machine have the scope admin without a token
    tls_cert: AbsolutePath | None = None  # PEM: the manager's certificate, and those that vouch for it
    tls_key: AbsolutePath | None = Field(default=None, validate_default=True)
    tls_ca: AbsolutePath | None = None  # PEM: what clients trust; None: what the system trusts
    request_rate: Annotated[float, Field(gt=0)] = 200.0  # a second, of one client
    request_burst: Annotated[int, Field(ge=1)] = 1_000  # of one client, at once

    # how the components reach one another, and clients reach them
    restate_admin_url: str = Field(
        default_factory=lambda given: _url_of(given, "admin"), validation_alias="restate_admin_url"
    )
    ingress_url: str = Field(default_factory=lambda given: _url_of(given, "ingress"))
    fabric_url: str = Field(default_factory=_fabric_url)
    workers_url: str = Field(  # builds are registered with it, in a cluster for whichever node calls them
        default_factory=lambda given: f"http://localhost:{given['workers_port'] + given['port_offset']}"
    )
    manager_url: str = Field(
        default_factory=lambda given: _url_of(given, "manager", secure=given["tls_cert"] is not None)
    )

    # the node
    node_name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = Field(
        default_factory=lambda given: "" if given["cluster"] else "n1", validate_default=True
    )
    cells: Annotated[int, Field(ge=0, le=256)] = 0  # 0: one for each core
    cell_memory_mib: Annotated[int, Field(ge=0)] = 0  # 0: half of the machine's, shared by the cells
    quarantine_memory_mib: Annotated[int, Field(ge=0)] = 0  # of a quarantined build's cell; 0: the same
    cell_hang_seconds: Annotated[float, Field(ge=2)] = 2.0  # without an answer, until a cell is replaced
    cell_evictions: Annotated[int, Field(ge=1)] = 200  # builds unloaded, until a cell is replaced
    idle_unload_seconds: Annotated[float, Field(ge=0)] = 0.0  # 0: an idle build stays loaded
    restate_memory: str = "256 MiB"  # of RocksDB; Restate's own default is 2 GiB
    restate_partitions: Annotated[int, Field(ge=0, le=65_535)] = 0  # for good; 0: one for two cores
    egress_allow: Ranges = ()  # private ranges that workers may connect to, beside the public internet
    logs_build_mib: Annotated[int, Field(ge=1)] = 8  # of what a build printed
    logs_mib: Annotated[int, Field(ge=0)] = 1024  # of what all printed; 0: nothing is kept, or shown
    log_format: Literal["auto", "text", "json"] = "auto"  # of the node; auto: json where no terminal shows it
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # of the node, and what is graver
    workers_service: AbsolutePath | None = None  # of runit, where runit runs the workers

    # sources: where bundles may come from, and how much of the node they may take meanwhile
    source_roots: Paths = ()  # of file:// sources
    source_anywhere: bool = False  # for admins, where there are no roots; `gridiron up` on loopback says so
    source_http: bool = False  # whether http:// will do
    source_allow: Networks = ()  # beside public addresses, of http and https sources
    source_mib: Annotated[int, Field(ge=1)] = 256  # of a source, packed and unpacked
    source_files: Annotated[int, Field(ge=1)] = 10_000
    source_seconds: Annotated[float, Field(gt=0)] = 300.0
    source_redirects: Annotated[int, Field(ge=0)] = 5
    s3_endpoint: str | None = None  # None: AWS, or what the AWS tools' own settings say

    # the identity of Restate
    identity_key: AbsolutePath | None = None  # a private key in PEM; None: the node makes one

    # signatures of bundles
    trusted_keys: AbsolutePath | None = None  # a PEM file of public keys, or a directory of such files
    require_signature: bool = False  # whether a bundle without a signature is refused

    # programs; None: looked for in the checkout, the toolchain directory, the PATH
    restate_server: AbsolutePath | None = None
    restatectl: AbsolutePath | None = None
    workerd: AbsolutePath | None = None
    haproxy: AbsolutePath | None = None

    # traces; the names are OpenTelemetry's own
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, validation_alias="otel_exporter_otlp_endpoint"
    )
    otel_exporter_otlp_traces_endpoint: str | None = Field(
        default=None, validation_alias="otel_exporter_otlp_traces_endpoint"
    )

    # lifecycle
    sweep_seconds: Annotated[float, Field(gt=0)] = 30.0
    drain_grace_seconds: Annotated[float, Field(ge=0)] = 60.0
    retain: Annotated[int, Field(ge=0)] = 5  # retired builds of a name whose files are kept

    @field_validator("node_name", mode="before")
    @classmethod
    def _nodes_have_names(cls, value: object, info: ValidationInfo) -> object:
        if value == "" and info.data.get("cluster"):
            problem = "each node of a cluster needs a name of its own: set GRIDIRON_NODE_NAME"
            raise PydanticCustomError("no_name", problem)
        return value

    @field_validator("tls_key")
    @classmethod
    def _certificates_have_keys(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_cert") is None):
            raise PydanticCustomError("half_a_pair", "set GRIDIRON_TLS_CERT and GRIDIRON_TLS_KEY, or neither")
        return value

    @field_validator("require_signature")
    @classmethod
    def _signatures_need_keys(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - of pydantic
        if value and info.data.get("trusted_keys") is None:
            raise PydanticCustomError("no_keys", "no signature would do: set GRIDIRON_TRUSTED_KEYS too")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings calls it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put gridiron.toml behind the environment; read no .env and no secrets directory."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, config_file())

    @property
    def ports(self) -> Ports:
        """The ports that are really used: each setting plus the offset."""
        offset = self.port_offset
        return Ports(
            manager=self.manager_port + offset,
            workers=self.workers_port + offset,
            ingress=self.ingress_port + offset,
            admin=self.admin_port + offset,
            fabric=self.fabric_port + offset,
        )

    @property
    def used_peer_port(self) -> int:
        """Where a manager listens to those of the cluster's other nodes; it is the same on all of them."""
        return self.peer_port + self.port_offset

    @property
    def drain_grace(self) -> timedelta:
        """How long a build stays drained before it is removed."""
        return timedelta(seconds=self.drain_grace_seconds)

    @property
    def traces_endpoint(self) -> str | None:
        """Where traces are sent to by OTLP over HTTP, as OpenTelemetry's exporters find it; None: nowhere."""
        if self.otel_exporter_otlp_traces_endpoint:
            return self.otel_exporter_otlp_traces_endpoint
        base = self.otel_exporter_otlp_endpoint
        return f"{base.rstrip('/')}/v1/traces" if base else None

    @property
    def manager_urls(self) -> tuple[str, ...]:
        """The managers that clients may ask: one, or several of a cluster with commas between them."""
        return _split(self.manager_url)

    @property
    def ingress_urls(self) -> tuple[str, ...]:
        """The same of ingresses."""
        return _split(self.ingress_url)

    @property
    def private_paths(self) -> tuple[Path, ...]:
        """What no bundle may be made of: whoever sees it has the node."""
        kept = (self.secrets_dir, self.identity_dir, self.manager_state_dir, self.identity_key, self.tls_key)
        return tuple(path for path in kept if path)

    @property
    def restate_dir(self) -> Path:
        """Restate's own data."""
        return self.data_dir / "restate"

    @property
    def restoring_dir(self) -> Path:
        """What a restore has brought so far; gone when it has ended. Restate does not start beside it."""
        return self.data_dir / ".restoring"

    @property
    def workers_dir(self) -> Path:
        """What is generated for HAProxy and workerd."""
        return self.workerd_config_path.parent

    def environment(self, *, live: bool = True) -> dict[str, str]:
        """Give the variables that make another process of this program load exactly these settings.

        Without those that are `live`, it reads these for itself, at its start and when it is told to.
        """
        return {
            variable_name(field): _format(value)
            for field in type(self).model_fields
            if (value := getattr(self, field)) is not None and (live or field not in LIVE)
        }

    def take_up(self, written: Settings) -> Settings:
        """Give these settings with the live ones as they are written now; all else takes a new process."""
        return self.model_copy(update={field: getattr(written, field) for field in LIVE})

    def read_anew(self) -> Settings:
        """Read what is written now, and take it up.

        So a range that is taken out of gridiron.toml is closed without a restart, and two roles that were not
        started at once still render the same. Raises SettingsInvalid.
        """
        return self.take_up(load_settings())


class Changes(NamedTuple):
    """Settings that are written otherwise than a process has them, by name."""

    live: tuple[str, ...]  # it takes them up when it is told to
    restart: tuple[str, ...]  # only its next start does


def find_changes(running: Settings, written: Settings) -> Changes:
    """Compare the settings of a process with those that it would start with now."""
    changed = [field for field in Settings.model_fields if getattr(running, field) != getattr(written, field)]
    return Changes(
        tuple(field for field in changed if field in LIVE),
        tuple(field for field in changed if field not in LIVE),
    )


def _format(value: object) -> str:
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if not isinstance(value, tuple):
        return str(value)
    separator = os.pathsep if any(isinstance(each, Path) for each in value) else ","
    return separator.join(map(str, value))


def _url_of(given: dict[str, Any], purpose: str, *, secure: bool = False) -> str:
    """Give the URL at which this machine reaches what listens for a purpose."""
    host, port = local_host(given[f"{purpose}_host"]), given[f"{purpose}_port"] + given["port_offset"]
    return f"{'https' if secure else 'http'}://{host}:{port}"


def local_host(host: str) -> str:
    """Name the host at which this machine reaches what listens at `host`; an address of IPv6 in brackets."""
    if host in {"127.0.0.1", "::1", "localhost", *EVERY_ADDRESS}:
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _split(urls: str) -> tuple[str, ...]:
    return tuple(url for part in urls.split(",") if (url := part.strip())) or (urls,)


def config_file() -> Path:
    """Name the file that settings are read from; it need not be there."""
    return Path(os.environ.get("GRIDIRON_CONFIG") or CONFIG_FILE)


def variable_name(field: str) -> str:
    """Name the environment variable of a field of Settings."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias).upper() if alias else f"GRIDIRON_{field.upper()}"


CLUSTER_FLAGS = {"address": "--address", "peers": "--join", "bucket": "--bucket"}
"""Of `gridiron up`, by the keys of the table that they stand for."""


def _follows(problem: ErrorDetails) -> bool:
    """Tell whether a problem only follows from another one.

    So does a default that is made of a setting that failed, and a list without what failed in it.
    """
    kind = problem["type"]
    return kind == "default_factory_not_called" or (kind == "too_short" and bool(problem["input"]))


def _describe(problem: ErrorDetails) -> str:
    """Say what is wrong with a setting; of a table that is not whole, what is missing and how to give it."""
    table, *rest = problem["loc"]
    flag = CLUSTER_FLAGS.get(str(rest[0])) if table == "cluster" and rest else None
    if flag and problem["type"] in {"missing", "too_short"}:
        return f"{rest[0]} is missing: give it in the table [cluster], or to `gridiron up` as {flag}"
    if flag and problem["type"] == "no_ip":
        return f"{problem['msg']}, which {rest[0]} ({flag}) needs"
    return problem["msg"]


def load_settings(**flags: Any) -> Settings:  # noqa: ANN401 - a flag has its field's type, checked here
    """Read the settings: `flags` that are not None, then the environment, gridiron.toml and the defaults.

    Raises SettingsInvalid, naming every setting that cannot be used.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = [each for each in error.errors() if not _follows(each)]
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in problems)
        raise SettingsInvalid(names, "; ".join(map(_describe, problems))) from error
    except (ValueError, OSError) as error:  # gridiron.toml is no TOML, or cannot be read
        raise SettingsInvalid(str(config_file()), str(error)) from error
