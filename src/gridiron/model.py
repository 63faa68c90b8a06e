"""The nouns of Gridiron as immutable values: what a bundle says, what a build is, what a part of it is named.

Nothing here does I/O. The values that stand in files or answers are pydantic models, so that reading one
back checks it.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from gridiron.errors import NameInvalid, VersionInvalid

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
ADDRESS = re.compile(
    rf"/(?P<name>{NAME.pattern})/(?P<version>{VERSION.pattern})-(?P<timestamp>0|[1-9][0-9]*)/?"
)

DEFAULT_COMPATIBILITY_DATE = dt.date(2026, 10, 1)
"""What a bundle gets that names none: the day whose behaviour the demos and tests are run with."""

MAX_MODULES_SIZE = 64 * 1024 * 1024
"""Bytes of all modules of a bundle together; workerd's loader takes no more (`worker-loader.c++`)."""


def check_name(name: str) -> str:
    """Give `name` back, or raise NameInvalid."""
    if not NAME.fullmatch(name):
        raise NameInvalid(name)
    return name


def check_version(version: str) -> str:
    """Give `version` back, or raise VersionInvalid."""
    if not VERSION.fullmatch(version):
        raise VersionInvalid(version)
    return version


class Value(BaseModel):
    """An immutable record that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Address(Value):
    """Where one build lives: its name, version and timestamp (UTC milliseconds since 1970).

    `str()` is the build id, `{name}-{version}-{timestamp}`. Both name and version may hold dashes, so a build
    id cannot be taken apart again; a path can (`parse_path`).
    """

    name: Annotated[str, AfterValidator(check_name)]
    version: Annotated[str, AfterValidator(check_version)]
    timestamp: Annotated[int, Field(ge=0)]

    def __str__(self) -> str:
        return f"{self.name}-{self.version}-{self.timestamp}"

    @property
    def path(self) -> str:
        """The path that workers serve the build at, with no slash at its end."""
        return f"/{self.name}/{self.version}-{self.timestamp}"

    @classmethod
    def parse_path(cls, path: str) -> Address | None:
        """Read a path that `path` gave; None for any other text."""
        match = ADDRESS.fullmatch(path)
        if match is None:
            return None
        return cls(name=match["name"], version=match["version"], timestamp=int(match["timestamp"]))


def name_build(path: str) -> str:
    """Give the id of the build that is served at a path, which may lack its first slash."""
    return path.removeprefix("/").replace("/", "-", 1)


class ModuleKind(StrEnum):
    """How workerd gives a module to the script that imports it."""

    JS = "js"
    CJS = "cjs"
    WASM = "wasm"
    JSON = "json"
    TEXT = "text"
    DATA = "data"


MODULE_KINDS: Mapping[str, ModuleKind] = {
    ".js": ModuleKind.JS,
    ".mjs": ModuleKind.JS,
    ".wasm": ModuleKind.WASM,
    ".json": ModuleKind.JSON,
    ".txt": ModuleKind.TEXT,
    ".html": ModuleKind.TEXT,
    ".sql": ModuleKind.TEXT,
    ".bin": ModuleKind.DATA,
}
"""The endings of a module's name. A file with another is no part of a bundle, unless a rule says so."""


def module_kind(name: str) -> ModuleKind | None:
    """Tell what kind of module a file is by its ending; None for a file that is no module."""
    return MODULE_KINDS.get(PurePosixPath(name).suffix)


class Rule(Value):
    """Which files of a bundle are modules of one kind, whatever their endings."""

    type: ModuleKind
    globs: tuple[str, ...]  # see gridiron.bundles.rules


class Module(Value):
    """One file of a build that its script can import."""

    name: str  # relative to the bundle, with forward slashes
    kind: ModuleKind
    size: int  # bytes
    sha256: str  # of its bytes, lower-case hexadecimal


class Compatibility(Value):
    """Which behaviour of workerd a bundle was written for."""

    date: dt.date = DEFAULT_COMPATIBILITY_DATE
    flags: tuple[str, ...] = ()


class Manifest(Value):
    """What a bundle says of itself; all of it optional."""

    name: str | None = None
    version: str | None = None
    main: str = "index.js"
    compatibility: Compatibility = Compatibility()
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()  # the first that matches counts
    required_secrets: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)


class Signature(Value):
    """Who vouches for a bundle: a detached Ed25519 signature (RFC 8032) of its digest."""

    key_id: str  # see gridiron.bundles.signature
    text: str  # base64


class Git(Value):
    """The commit that a bundle was made from."""

    commit: Annotated[str, Field(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")]
    branch: Annotated[str, Field(max_length=1024)] | None = None  # None: on no branch
    dirty: bool = False  # with changes that are in no commit


class Build(Value):
    """One stored, immutable bundle; exactly what its `metadata.json` holds.

    What concerns secrets is left out of that where there is none.
    """

    name: Annotated[str, AfterValidator(check_name)]
    version: Annotated[str, AfterValidator(check_version)]
    timestamp: Annotated[int, Field(ge=0)]
    created_at: dt.datetime
    source: str
    sha256: str  # of the content: see gridiron.bundles.digest
    main: str
    archive_sha256: str | None = None  # of the archive that it came in
    signature: Signature | None = None  # of the archive's digest, where there is one, or of the content's
    modules: tuple[Module, ...]  # by name
    manifests: dict[str, str] | None = None  # files of the source with their sha256; None: not recorded
    compatibility: Compatibility
    vars: dict[str, JsonValue] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()  # by which its modules were chosen
    git: Git | None = None  # None: not known
    required_secrets: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)
    secrets: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)  # names of those it has, sorted
    secrets_tag: str | None = Field(default=None, exclude_if=operator.not_)  # equal for equal secrets

    @property
    def address(self) -> Address:
        """Where the build lives."""
        return Address(name=self.name, version=self.version, timestamp=self.timestamp)

    @property
    def build_id(self) -> str:
        """`{name}-{version}-{timestamp}`."""
        return str(self.address)

    @property
    def size(self) -> int:
        """Bytes of all its modules."""
        return sum(module.size for module in self.modules)


class State(StrEnum):
    """Where a build is in its life; `unknown` where it cannot be said."""

    STAGED = "staged"
    ACTIVE = "active"
    DRAINING = "draining"
    DRAINED = "drained"
    RETIRED = "retired"
    FAILED = "failed"
    UNKNOWN = "unknown"


TOLD = 20
"""Errors of one request or file that a sentence tells."""


def describe_validation(errors: list[Any]) -> str:
    """Put pydantic's list of errors, as far as anyone reads, into a line: `field: what is wrong; …`."""
    told = [
        f"{'.'.join(str(part) for part in error['loc']) or 'body'}: {error['msg']}" for error in errors[:TOLD]
    ]
    return "; ".join(told if len(errors) <= TOLD else [*told, f"and {len(errors) - TOLD} more"])


def redact_url(source: str) -> str:
    """Give a source or another URL as it may be shown and kept: without its query, which may be a key.

    Also for URLs that no source may have: what stands before an @ is left out.
    """
    shown = re.split(r"[?#]", source, maxsplit=1)[0]
    return re.sub(r"(?<=//)[^/]*@", "", shown, count=1)
