"""The generated configuration of HAProxy and workerd as text: pure functions of a template and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType

from jinja2 import Environment, StrictUndefined, TemplateError, TemplateSyntaxError

from gridiron.errors import SettingsInvalid, TemplateInvalid

MAX_DESCRIPTORS = 65_536
"""Open files that HAProxy is planned for; a larger limit would only make its tables larger."""

RESERVED_DESCRIPTORS = 200
"""Of HAProxy's open files those that carry no connection: listeners, pipes, the admin socket, checks."""

_HOST = re.compile(r"[0-9A-Za-z._-]+|\[?[0-9A-Fa-f:.]+(%[0-9A-Za-z]+)?\]?|\*")


@dataclass(frozen=True, slots=True)
class Template:
    """The text of a template, and the name that an error gives it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A module of the router worker."""

    module: str  # the name that it is imported by
    file: str  # beside the configuration


@dataclass(frozen=True, slots=True)
class WorkerdValues:
    """The variables of the workerd template."""

    bundles_dir: str
    secrets_dir: str
    identity_dir: str
    scripts: tuple[Embedded, ...]  # the first is the router itself
    cores: tuple[Embedded, ...]  # of Restate's SDK
    core_digests: str  # JSON
    egress_allow: tuple[str, ...]  # rules of workerd's network: "public", or a range
    egress_deny: tuple[str, ...]
    manager_address: str | None = None  # of the socket that builds are asked for at; None: a node alone


@dataclass(frozen=True, slots=True)
class HaproxyValues:
    """The variables of the HAProxy template."""

    address: str
    max_connections: int


def render_workerd_config(template: Template, values: WorkerdValues) -> str:
    """Render workerd's configuration. Raises TemplateInvalid, or SettingsInvalid for a path not in UTF-8."""
    return _render(template, asdict(values), capnp_value)


def render_haproxy_config(template: Template, values: HaproxyValues) -> str:
    """Render HAProxy's configuration. Raises TemplateInvalid; SettingsInvalid for text with control codes."""
    return _render(template, asdict(values), haproxy_value)


def capnp_value(value: object) -> str:
    """Write a text or a whole number in Cap'n Proto's language. Raises TypeError for anything else."""
    match value:
        case int():
            return str(value)
        case str():
            return '"' + "".join(_escape(character) for character in value) + '"'
        case StrictUndefined():
            return str(value)  # raises, and names the variable
        case _:
            raise TypeError(f"{value!r} cannot be written as Cap'n Proto")


def haproxy_value(value: object) -> str:
    """Write a text or a whole number as one word of HAProxy's. Raises TypeError for anything else."""
    match value:
        case int():
            return str(value)
        case str():
            if not value.isprintable():
                raise SettingsInvalid("haproxy.cfg", f"{value!r} holds a character that HAProxy cannot read")
            return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'
        case StrictUndefined():
            return str(value)  # raises, and names the variable
        case _:
            raise TypeError(f"{value!r} cannot be written as HAProxy's configuration")


def plan_address(host: str, port: int) -> str:
    """Join what the workers listen on. Raises SettingsInvalid for a host that is neither name nor address."""
    if not _HOST.fullmatch(host):
        raise SettingsInvalid("workers_host", f"{host!r} is neither an address nor the name of a host")
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def plan_max_connections(descriptors: int) -> int:
    """Say how many connections HAProxy may have, given how many files it may have open.

    Raises SettingsInvalid when these do not suffice for anything.
    """
    connections = (min(descriptors, MAX_DESCRIPTORS) - RESERVED_DESCRIPTORS) // 2
    if connections < 1:
        raise SettingsInvalid("ulimit -n", f"{descriptors} open files are too few; allow at least 1024")
    return connections


def _render(template: Template, values: Mapping[str, object], write_value: Callable[[object], str]) -> str:
    environment = Environment(
        undefined=StrictUndefined,
        finalize=write_value,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - this is no HTML; write_value quotes what is put in
    )
    try:
        return environment.from_string(template.text).render(values)
    except TemplateSyntaxError as error:
        raise TemplateInvalid(template.name, f"line {error.lineno}: {error.message}") from error
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateInvalid(template.name, f"{_line(error.__traceback__)}{error}") from error


def _line(traceback: TracebackType | None) -> str:
    """Say in which line of the template an error arose: Jinja puts its lines into the traceback."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return "" if line is None else f"line {line}: "


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character < " " or character == "\x7f":
        return f"\\x{ord(character):02x}"
    if "\ud800" <= character <= "\udfff":  # how Python keeps a byte of a path that is no UTF-8
        raise SettingsInvalid(
            "bundles_dir, secrets_dir, identity_dir, run_dir",
            "the path is no UTF-8, so workerd cannot be told it",
        )
    return character
