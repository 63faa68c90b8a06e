"""What was seen of the builds, of Restate and of the cells at one time: the input of every decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from gridiron.model import Address, Build

BUILD_KEY = "build_id"
"""Of a registration's metadata: the build."""

STORE_KEY = "store"
"""Of a registration's metadata: the identity of the bundle directory that the build lies in."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part that could not be read. It is a value of its own, so that it cannot pass for an empty one."""

    reason: str  # why, for people


class Mark(StrEnum):
    """What is written beside a stored build of where it is in its life; most have none.

    A build without a mark was registered by its activation, and is to be so until it is retired.
    """

    ACTIVATING = "activating"  # stored, and Restate was not asked to register it yet
    REGISTERING = "registering"  # Restate was asked, and it is not known to have done so
    RETIRED = "retired"  # unregistered on purpose, or about to be; its files stay for a rollback
    LEAVING = "leaving"  # its removal began, as nothing needed it
    FORCED = "forced"  # somebody forced its removal, which is to be brought to its end whatever needs it

    @property
    def unfinished(self) -> bool:
        """Whether its activation has not come to its end."""
        return self in {Mark.ACTIVATING, Mark.REGISTERING}


@dataclass(frozen=True, slots=True)
class Damaged:
    """A directory that should be a build and cannot be read as one."""

    build_id: str  # the directory's name
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that a bundle directory holds, or the bucket of a cluster."""

    identity: str  # of the directory or the cluster: registrations made from it carry this
    builds: tuple[Build, ...]  # by timestamp
    damaged: tuple[Damaged, ...] = ()  # by name
    marks: Mapping[str, Mark] = field(default_factory=dict)  # by build id, of the builds
    elsewhere: frozenset[str] = frozenset()  # ids of those whose activation another node has under way

    def list_kept(self, name: str) -> tuple[Build, ...]:
        """Give the builds of a name that are registered or were so: none that comes or goes right now."""
        kept = {None, Mark.RETIRED}
        return tuple(
            build for build in self.builds if build.name == name and self.marks.get(build.build_id) in kept
        )


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

    @property
    def build_id(self) -> str | None:
        """The build that a Gridiron registered; None where the uri only looks as if it named one."""
        return str(self.address) if self.address and BUILD_KEY in self.metadata else None


@dataclass(frozen=True, slots=True)
class Demand:
    """What still needs a deployment. No invocation that is completed counts."""

    pinned: int  # invocations whose journal its code wrote: running, backing off, suspended or paused
    attempting: int  # invocations with no journal entry yet whose attempt runs or backs off on it


@dataclass(frozen=True, slots=True)
class Observation:
    """All parts of one look at the world; each may be Unknown for itself."""

    inventory: Inventory | Unknown
    activating: frozenset[str]  # ids of builds whose activation was under way after the inventory was read
    registrations: tuple[Registration, ...] | Unknown
    newest: Mapping[str, str] | Unknown  # service -> deployment that gets its new invocations
    demand: Mapping[str, Demand] | Unknown  # by deployment id; a deployment that is not in it has none
    loaded: frozenset[str] | Unknown  # paths of the builds that some cell has loaded
    incarnation: str | None = None  # the start of Restate that answered; None: unknown
    remembered: frozenset[str] = frozenset()  # ids of builds with a record when the look began
    failures: Mapping[str, str] = field(default_factory=dict)  # build id or path -> what failed the last time
    held_off: frozenset[str] = frozenset()  # those of them that are not tried again yet
    damage: Mapping[str, str] = field(default_factory=dict)  # build id -> how its modules are not as stored
