"""The decisions of an activation: which build it makes, of which content, and what it answers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from gridiron.bundles.staging import Staged
from gridiron.errors import BuildNotFound, GridironError, NothingToRollBackTo
from gridiron.lifecycle.observation import Inventory
from gridiron.lifecycle.routing import Change, Routing, Service
from gridiron.manager.api import Activated, ActivateRequest, ChangeView, Keeping, NodeCopy, Refusal
from gridiron.manager.registry import Record
from gridiron.manager.turns import Check
from gridiron.model import Address, Build, redact_url
from gridiron.secrets.rules import check_bindings
from gridiron.secrets.store import NO_SECRETS, Secrets, Snapshot

SOURCE_OF_A_ROLLBACK = "build:"
"""Begins the `source` of a build that has its content from an earlier one; the id of that follows."""


NO_CHANGE = Routing((), {})


@dataclass(frozen=True, slots=True)
class Active:
    """A build that Restate routes new invocations of some service to."""

    build: Build
    record: Record
    services: tuple[str, ...]  # those
    here: bool  # at the address that it has here now

    @property
    def whole(self) -> bool:
        """Whether activating it again would change nothing."""
        return self.here and self.services == self.record.services


@dataclass(frozen=True, slots=True)
class Live:
    """What Restate knows of a build in the end."""

    services: tuple[str, ...]
    routing: Routing = NO_CHANGE
    deployment_id: str | None = None  # None: not registered
    protocol: str | None = None
    refusals: tuple[GridironError, ...] = ()  # of a dry run
    copies: tuple[NodeCopy, ...] = ()  # of a cluster: how the other nodes are


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn of a name, which an activation holds."""

    start: str  # of Restate, when the turn began
    check: Check  # whether it is still held
    inventory: Inventory | None = None  # of the name; None: nobody has looked yet


@dataclass(frozen=True, slots=True)
class Before:
    """How things were when an activation began."""

    turn: Turn  # of the name
    builds: tuple[Build, ...]  # of it, by timestamp
    active: tuple[Active, ...]  # of them
    kept: Secrets = field(default_factory=dict)  # of the name
    wanted: Secrets = field(default_factory=dict)  # what these are to be in the end


def plan_build(
    address: Address,
    staged: Staged,
    request: ActivateRequest,
    now: datetime,
    snapshot: Snapshot = NO_SECRETS,
) -> Build:
    """Make the record of a build from what was staged and asked for, and the secrets that it is given.

    Raises SecretsMissing, SecretIsVariable.
    """
    build = Build(
        name=address.name,
        version=address.version,
        timestamp=address.timestamp,
        created_at=now,
        source=redact_url(request.source),
        sha256=staged.sha256,
        archive_sha256=staged.archive_sha256,
        signature=staged.signature,
        manifests=staged.manifests,
        main=staged.manifest.main,
        modules=staged.modules,
        compatibility=staged.manifest.compatibility,
        vars={**staged.manifest.vars, **request.vars},
        rules=staged.manifest.rules,
        git=request.git,
        required_secrets=staged.manifest.required_secrets,
        secrets=snapshot.keys,
        secrets_tag=snapshot.tag,
    )
    check_bindings(build.name, build.vars, build.secrets, build.required_secrets)
    return build


def plan_rollback(earlier: Build, address: Address, now: datetime, snapshot: Snapshot = NO_SECRETS) -> Build:
    """Make the record of a new build that has the content of an earlier one, and the secrets of now.

    Raises SecretsMissing, SecretIsVariable.
    """
    check_bindings(earlier.name, earlier.vars, snapshot.keys, earlier.required_secrets)
    changed = {
        "timestamp": address.timestamp,
        "created_at": now,
        "source": SOURCE_OF_A_ROLLBACK + earlier.build_id,
        "secrets": snapshot.keys,
        "secrets_tag": snapshot.tag,
    }
    return earlier.model_copy(update=changed)


def find_same(build: Build, active: Collection[Active]) -> Active | None:
    """Find the build with this version, content and secrets that is active with all that it has."""
    return next(
        (
            each
            for each in active
            if each.whole and _alike(each.build, build) and each.build.secrets_tag == build.secrets_tag
        ),
        None,
    )


def find_earlier(
    name: str, builds: Collection[Build], active: Collection[Active], build_id: str | None
) -> Build:
    """Choose what to roll back to: the build that is named, or the newest one before the active one.

    That is one of another version or content, as the same again would change nothing: whatever its secrets
    were, it gets those of now. `builds` are those of the name. Raises BuildNotFound, NothingToRollBackTo.
    """
    if build_id is not None:
        for build in builds:
            if build.build_id == build_id:
                return build
        raise BuildNotFound(build_id)
    newest = find_newest(active)
    candidates = [
        build
        for build in builds
        if newest is None or (build.timestamp < newest.build.timestamp and not _alike(build, newest.build))
    ]
    if not candidates:
        raise NothingToRollBackTo(name)
    return max(candidates, key=lambda build: build.timestamp)


def find_newest(active: Collection[Active]) -> Active | None:
    """Find the newest build of those that are active."""
    return max(active, key=lambda each: each.build.timestamp, default=None)


def _alike(one: Build, other: Build) -> bool:
    """Tell whether two builds have the same version, content and variables; their secrets may differ."""
    # by their JSON, as in Python 1 and True are equal
    one_vars, other_vars = (json.dumps(each.vars, sort_keys=True) for each in (one, other))
    return (one.version, one.sha256, one_vars) == (other.version, other.sha256, other_vars)


def names_of(services: Collection[Service]) -> tuple[str, ...]:
    """Give the names of services, sorted."""
    return tuple(sorted(service.name for service in services))


def find_keeping(active: Collection[Active], services: Collection[str]) -> tuple[Keeping, ...]:
    """Find what the builds that were active keep when a build with these services becomes the newest."""
    return tuple(
        Keeping(service=service, build_id=each.build.build_id)
        for each in active
        for service in each.services
        if service not in services
    )


def render_activated(  # noqa: PLR0913, PLR0917 - the parts of the answer
    outcome: Literal["activated", "unchanged", "dry_run"],
    build: Build,
    live: Live,
    ignored: tuple[str, ...],
    active: Collection[Active],
    timings_ms: dict[str, float],
) -> Activated:
    """Put the answer together. `active` are the builds that were so before, and are not any more."""
    return Activated(
        outcome=outcome,
        build_id=build.build_id,
        path=build.address.path,
        deployment_id=live.deployment_id,
        protocol=live.protocol,
        services=live.services,
        sha256=build.sha256,
        size=build.size,
        ignored=ignored,
        replaces=tuple(each.build.build_id for each in active),
        changes=tuple(_render_change(change) for change in live.routing.changes),
        takes_over={service: str(owner) for service, owner in live.routing.taken.items()},
        keeps=find_keeping(active, live.services),
        refusals=tuple(Refusal(code=refusal.code, detail=str(refusal)) for refusal in live.refusals),
        copies=live.copies,
        timings_ms=timings_ms,
    )


def render_unchanged(same: Active, ignored: tuple[str, ...], timings_ms: dict[str, float]) -> Activated:
    """Put the answer together where a build of the same content is active already."""
    live = Live(same.services, deployment_id=same.record.deployment_id, protocol=same.record.protocol)
    return render_activated("unchanged", same.build, live, ignored, (), timings_ms)


def _render_change(change: Change) -> ChangeView:
    return ChangeView(
        kind=change.kind,
        service=change.service,
        handler=change.handler,
        breaking=change.breaking,
        detail=str(change),
    )
