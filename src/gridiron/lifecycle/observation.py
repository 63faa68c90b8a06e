"""What was seen of the builds and of Restate at one time: the input of every decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gridiron.model import Address, Build


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part that could not be read. It is a value of its own, so that it cannot pass for an empty one."""

    reason: str  # why, for people


@dataclass(frozen=True, slots=True)
class Registration:
    """A deployment as Restate has it."""

    deployment_id: str  # "dp_…"
    uri: str  # where Restate calls it
    address: Address | None  # the build that the uri's path names; None: it is not one of ours
    created_at: datetime  # aware
    services: tuple[str, ...]  # names, sorted
    protocol: str  # "BidiStream" or "RequestResponse"; "" for what is not called over HTTP
    metadata: Mapping[str, str]  # what it was registered with


@dataclass(frozen=True, slots=True)
class Demand:
    """What still needs a deployment. No invocation that is completed counts."""

    pinned: int  # invocations whose journal its code wrote: running, backing off, suspended or paused
    attempting: int  # invocations with no journal entry yet whose attempt runs or backs off on it


@dataclass(frozen=True, slots=True)
class Observation:
    """All parts of one look at the world; each may be Unknown for itself."""

    builds: tuple[Build, ...] | Unknown
    activating: frozenset[str]  # ids of builds whose activation was under way after `builds` was read
    registrations: tuple[Registration, ...] | Unknown
    newest: Mapping[str, str] | Unknown  # service -> deployment that gets its new invocations
    demand: Mapping[str, Demand] | Unknown  # by deployment id; a deployment that is not in it has none
    observed_at: datetime  # when the look began: what happened later may be missing
