"""What goes over the manager's HTTP API: requests, answers and problems. The command line reads the same."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, PlainSerializer, SecretStr, model_validator

from gridiron.access.audit import Entry
from gridiron.access.tokens import check_token_name
from gridiron.lifecycle.routing import ChangeKind
from gridiron.model import Git, State, Value, check_name, check_version
from gridiron.process.disk import Disk
from gridiron.workers.logs import LogEvent

PROBLEM_MEDIA_TYPE = "application/problem+json"
EVENTS_MEDIA_TYPE = "text/event-stream"

SecretText = Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value, when_used="json")]
"""A value that no `repr` and no error shows. It is in the JSON that a client sends, and in nothing else."""


def check_text(text: str) -> str:
    """Give a text back, or raise ValueError where no file can hold it: JSON may have half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is no UTF-8") from None
    return text


MAX_BUILD_ID = 255
"""Characters: a build is a directory of this name."""

BuildId = Annotated[str, Field(max_length=MAX_BUILD_ID), AfterValidator(check_text)]


def check_variables(variables: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Give variables back, or raise ValueError where no file of JSON can hold them."""
    try:
        json.dumps(variables, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in them is no UTF-8") from None
    except ValueError:
        raise ValueError("a number in them is not finite") from None
    return variables


class ActivateRequest(Value):
    """Store a bundle as a new build and route new invocations to it."""

    source: Annotated[str, AfterValidator(check_text)] = Field(
        description="Where the bundle is: a directory, `.tar.gz` or `.zip` at `file:///absolute/path`, "
        "`https://…` or `s3://bucket/key`; or `bundle:{sha256}`, an archive that was sent before."
    )
    name: Annotated[str, AfterValidator(check_name)] = Field(description="`[a-z][a-z0-9-]{0,62}`")
    version: Annotated[str, AfterValidator(check_version)] = Field(
        description="`[0-9A-Za-z][0-9A-Za-z._-]{0,63}`"
    )
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="Refuse the bundle unless this is the digest of the archive's bytes, or of the content "
        "of the directory.",
    )
    signature: str | None = Field(
        default=None, description="Base64 of the Ed25519 signature of `sha256:` and that digest."
    )
    vars: Annotated[dict[str, JsonValue], AfterValidator(check_variables)] = Field(
        default_factory=dict, description="Bindings of the worker; these win over those of the bundle."
    )
    secrets: dict[str, SecretText] = Field(
        default_factory=dict,
        description="Secrets of the name from now on, beside those that it has; kept when this succeeds.",
    )
    breaking: bool = Field(
        default=False,
        description="Allow what callers may not expect: a service or handler less, or one of another type.",
    )
    takeover: bool = Field(default=False, description="Allow services that builds of other names have now.")
    git: Git | None = Field(
        default=None, description="The commit that the bundle was made from. It is no part of the content."
    )
    dry_run: bool = Field(
        default=False,
        description="Go through every check, say what would change and be refused, then leave all as it was.",
    )


class RollbackRequest(Value):
    """Make the content of an earlier build active again, as a new build."""

    name: Annotated[str, AfterValidator(check_name)]
    build_id: BuildId | None = Field(
        default=None,
        description="None: the newest build before the active one that differs from it, and is kept.",
    )


class PutSecretRequest(Value):
    """Set one secret of a name."""

    value: SecretText = Field(description="A text of 1 byte to 64 KiB in UTF-8.")


class PruneRequest(Value):
    """Remove one build, or all that are drained."""

    build_id: BuildId | None = Field(default=None, description="None: every drained build.")
    force: bool = Field(default=False, description="Remove it even when invocations still need it.")
    dry_run: bool = Field(default=False, description="Say what would go, and remove nothing.")

    @model_validator(mode="after")
    def _force_names_a_build(self) -> Self:
        if self.force and self.build_id is None:
            raise ValueError("force needs a build_id: it removes what is in use")
        return self


class ServiceView(Value):
    """A Restate service that a build offers."""

    name: str
    active: bool = Field(description="Whether Restate routes its new invocations to this build.")


class Invocations(Value):
    """What a build still has to do."""

    pinned: int = Field(description="Invocations, not completed, whose journal this build wrote.")
    attempting: int = Field(description="Invocations with no journal entry yet that run or retry on it.")


class CellView(Value):
    """One cell's part in a build."""

    cell: str
    loaded: bool
    in_flight: int = Field(description="Requests that it is answering now.")


class NodeView(Value):
    """One node's part in a build."""

    node: str
    loaded: bool | None = Field(
        description="Whether any cell of the node has it loaded; None: unknown, in a cluster only."
    )
    cells: tuple[CellView, ...] = Field(description="Empty where they do not answer.")
    present: bool | None = Field(
        default=None,
        description="Whether a copy of the build is on its disk. None: unknown, or the node is alone: it has "
        "the builds themselves.",
    )
    quarantined: bool | None = Field(
        default=None, description="Whether a cell of its own serves it there; None: unknown."
    )
    reason: str | None = Field(default=None, description="Why `loaded` is unknown.")


class QuarantineView(Value):
    """Why a build is served by a cell of its own: it was in flight in three that hung or died."""

    since: datetime
    reason: str = Field(description="What became of the last of them: `hung`, `died`, `memory_exhausted`.")
    cell: str | None = Field(description="The cell of its own; None while that does not serve.")


class HolderView(Value):
    """An invocation that still needs a build."""

    invocation_id: str
    target: str = Field(description="`service/handler`, or `service/key/handler`.")
    status: str = Field(description="As Restate has it: running, suspended, backing-off, paused, …")
    pinned: bool = Field(description="Whether its journal was written by the build, so that it stays on it.")
    created_at: datetime
    attempts: int = Field(description="How often it was tried in a row without success.")
    failure: str | None = Field(description="Of the last attempt.")
    ways_out: dict[str, str] = Field(
        description="Shell commands: `cancel` has the handler clean up, `kill` ends it at once, `resume` "
        "moves it to the newest build, which has to be able to read its journal."
    )


class DeploymentView(Value):
    """One build and what is known of it. What its files say is None where they are damaged or gone."""

    build_id: str
    name: str | None = Field(description="None: the directory is damaged, so that nobody knows.")
    version: str | None
    path: str | None
    state: State
    reason: str = Field(description="Why it is in this state, in a sentence.")
    deployment_id: str | None
    protocol: str | None = Field(description="How Restate talks to it: `BidiStream` or `RequestResponse`.")
    services: tuple[ServiceView, ...]
    invocations: Invocations | None = Field(description="None: unknown.")
    held_by: tuple[HolderView, ...] | None = Field(
        default=None,
        description="The oldest invocations that still need it, up to 20; None in lists, or: unknown.",
    )
    sha256: str | None
    archive_sha256: str | None = Field(default=None, description="Of the archive that it came in, if it did.")
    signed_by: str | None = Field(default=None, description="Id of the key that vouches for it.")
    size: int | None = Field(description="Bytes of its modules.")
    source: str | None
    git: Git | None = Field(default=None, description="The commit that it was made from; None: not known.")
    secrets: tuple[str, ...] = Field(default=(), description="Names of the secrets that it was made with.")
    created_at: datetime | None
    activated_at: datetime | None
    draining_at: datetime | None
    drained_at: datetime | None
    timings_ms: dict[str, float] = Field(description="The steps of its activation, in order.")
    nodes: tuple[NodeView, ...] | None = Field(
        description="All of the cluster. None: the node is alone, and its cells could not be asked."
    )
    quarantine: QuarantineView | None = Field(
        default=None,
        description="On this node. None: cells that it shares with others serve it. A new version, or "
        "`POST /deployments/{build_id}/release`, leads out of quarantine.",
    )

    @property
    def is_quarantined(self) -> bool:
        """Whether some node serves it by a cell of its own."""
        return self.quarantine is not None or any(node.quarantined for node in self.nodes or ())


class DeploymentList(Value):
    """A page of builds, oldest first."""

    deployments: tuple[DeploymentView, ...]
    next: str | None = Field(description="`cursor` of the next page; None on the last.")


class LogEnd(Value):
    """Why a build is followed no longer."""

    build_id: str
    reason: str
    again: bool = Field(
        default=False,
        description="Whether it may print more: the manager stops, and can be asked again.",
    )


class LogList(Value):
    """The newest of what a build printed."""

    events: tuple[LogEvent, ...] = Field(description="Oldest first.")
    silent: tuple[str, ...] = Field(
        description="Cells that do not answer, so that their newest may be missing; `workers` for all. In a "
        "cluster `cell-1 of n2`, or `n2` for a node: all that it has is missing."
    )


class Released(Value):
    """The outcome of a release."""

    build_id: str
    released: bool = Field(description="False: it was in no quarantine.")


class Restarted(Value):
    """The outcome of a restart of the workers."""

    cells: int = Field(description="How many were replaced.")


class ChangeView(Value):
    """One difference that callers of a service see."""

    kind: ChangeKind
    service: str
    handler: str | None = Field(description="None: it is about the service itself.")
    breaking: bool = Field(description="Whether a caller may fail by it; `breaking` allows that.")
    detail: str = Field(description="The same in words.")


class Keeping(Value):
    """A service that an older build goes on serving, as the new one does not have it."""

    service: str
    build_id: str


class Refusal(Value):
    """Why an activation would be refused."""

    code: str
    detail: str


class NodeCopy(Value):
    """Whether another node of the cluster has the files of a new build."""

    node: str
    present: bool
    reason: str = Field(default="", description="Why not. It fetches them when they are first called for.")


class Activated(Value):
    """The outcome of an activation."""

    outcome: Literal["activated", "unchanged", "dry_run"]
    build_id: str
    path: str
    deployment_id: str | None = Field(description="None after a dry run.")
    protocol: str | None
    services: tuple[str, ...]
    sha256: str
    size: int
    ignored: tuple[str, ...] = Field(description="Files of the source that are no part of a bundle.")
    replaces: tuple[str, ...] = Field(description="Builds of this name that were active until now.")
    changes: tuple[ChangeView, ...] = Field(description="What it changes for callers of its services.")
    takes_over: dict[str, str] = Field(description="Services that others had, each with its owner until now.")
    keeps: tuple[Keeping, ...] = Field(description="What builds of this name go on serving besides it.")
    refusals: tuple[Refusal, ...] = Field(description="After a dry run: what the activation would fail by.")
    copies: tuple[NodeCopy, ...] = Field(default=(), description="In a cluster: each of the other nodes.")
    timings_ms: dict[str, float] = Field(description="The steps in order, and `total`.")


class Progress(Value):
    """How far an activation has come."""

    build_id: str | None = Field(description="None: the source is on its way.")
    step: str
    done: int | None = Field(default=None, description="Bytes that have come in this step.")
    total: int | None = Field(default=None, description="Bytes that will come, where that is known.")


class Uploaded(Value):
    """An archive that was sent and is kept for an hour."""

    sha256: str
    source: str = Field(description="What to activate it by.")


class SecretView(Value):
    """One secret of a name; nothing shows its value."""

    key: str
    set_at: datetime


class SecretList(Value):
    """The secrets of a name, by key."""

    name: str
    secrets: tuple[SecretView, ...]


class SecretChanged(Value):
    """The outcome of setting or removing a secret."""

    name: str
    key: str
    changed: bool = Field(description="False: it had this value already.")
    activated: Activated | None = Field(
        description="The new build, of the same code as the active one. None: no build of it is active, "
        "it has these secrets already, or `missing` keeps the new one from being made."
    )
    missing: tuple[str, ...] = Field(
        description="Secrets that the active build's code requires and that the name has not got yet."
    )


class Pruned(Value):
    """A build that was removed, and what of it."""

    build_id: str
    unregistered: bool
    files_removed: bool


class Kept(Value):
    """A build that stayed, and why."""

    build_id: str
    state: State
    reason: str


class PruneOutcome(Value):
    """What a prune removed and what it left."""

    dry_run: bool
    pruned: tuple[Pruned, ...]
    kept: tuple[Kept, ...]


class CreateTokenRequest(Value):
    """Make a token."""

    name: Annotated[str, AfterValidator(check_token_name)] = Field(
        description="What it is called in lists and in the audit log: `[a-z][a-z0-9-]{0,62}`"
    )
    scopes: Annotated[tuple[str, ...], Field(min_length=1, max_length=100)] = Field(
        description="Each `read`, `deploy:PATTERN` or `admin`; `*` in a pattern stands for any text."
    )
    expires: str | None = Field(
        default=None, description="How long it is good: `15m`, `12h`, `30d`. None: until it is revoked."
    )


class TokenView(Value):
    """A token, without what makes it one."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = Field(description="None: never.")
    expired: bool


class TokenList(Value):
    """All tokens, oldest first."""

    tokens: tuple[TokenView, ...]


class TokenCreated(Value):
    """A new token."""

    token: TokenView
    text: str = Field(description="What its holder sends. It is shown here and never again.")


class AuditPage(Value):
    """A page of the audit log, newest first."""

    entries: tuple[Entry, ...]
    next: str | None = Field(description="`cursor` of the next page; None on the last.")


class Component(Value):
    """One thing that the node needs to work, or that deployments need."""

    name: str
    ready: bool
    required: bool = Field(description="Whether the node is not ready without it.")
    reason: str = Field(
        description="Why it is not ready; where it is, what is less than it should be, and mostly empty."
    )
    since: datetime = Field(description="When it last turned from ready to not ready, or back.")
    age_seconds: float | None = Field(description="Since it was last looked at; None: it was not yet.")


class Health(Value):
    """Whether the node can be used, as it was seen within the last seconds."""

    ready: bool
    reason: str = Field(
        description="Why it cannot: `starting`, `stopping`, or each component that it lacks with its reason. "
        "Empty where it can."
    )
    since: datetime = Field(description="Since when that is so.")
    components: tuple[Component, ...]


GuardState = Literal["active", "drained", "drained_by_operator", "unknown"]


class Guarding(Value):
    """What a node's guardian has made of its node, which leads no partitions while its workers are down."""

    state: GuardState = Field(
        description="`active`: it may lead; `drained`: by its guardian, which takes it back; "
        "`drained_by_operator`: by somebody else, who has to; `unknown`: it is not known, or not yet."
    )
    since: datetime = Field(description="Since when that is so, or was first seen to be.")
    reason: str = Field(description="Why, or what its guardian waits for; empty where all is well.")
    drains_in_last_hour: int = Field(description="By its guardian. Each makes it wait longer.")


class Listener(Value):
    """A port that the node listens on."""

    purpose: Literal["manager", "workers", "ingress", "admin", "fabric", "peers"]
    host: str
    port: int
    is_loopback: bool = Field(description="Whether only this machine reaches it.")
    is_encrypted: bool = Field(description="Whether it speaks TLS.")


class WrittenSettings(Value):
    """What is written about settings, against what the manager runs with. Names, and no values."""

    live: tuple[str, ...] = Field(description="Changed, and taken up on SIGHUP.")
    restart: tuple[str, ...] = Field(description="Changed, and taken up by the next start only.")
    problem: str | None = Field(description="Why what is written cannot be used; None: it can.")


class NodeStatus(Value):
    """One node: what it runs, where it listens, and what it has left."""

    node: str
    version: str = Field(description="Of Gridiron.")
    programs: dict[str, str | None] = Field(
        description="Versions of what it drives; None: missing, or not one that it can use."
    )
    started_at: datetime = Field(description="The manager.")
    now: datetime = Field(description="Its clock.")
    listens: tuple[Listener, ...]
    urls: dict[str, str] = Field(description="How its components reach one another, by purpose.")
    disk: Disk | None = Field(description="None: it does not answer.")
    settings: WrittenSettings


class Problem(Value):
    """A failure (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="What happened and what to do.")
    code: str = Field(description="Stable; compare this.")
    build_id: str | None = None
    request_id: str | None = Field(default=None, description="The manager's log names it.")
    step: str | None = Field(default=None, description="The step of an activation that failed.")
    invocations: int | None = Field(default=None, description="How many still need the build.")
