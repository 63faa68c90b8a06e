"""What goes between the managers of a cluster: answers, as JSON.

Nodes may be of two versions while a cluster is updated. So what reads these ignores fields that it does not
know, and a field may be added, with a default, but none be taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field, Json

from gridiron.manager.api import Guarding, Health, NodeStatus
from gridiron.model import Value
from gridiron.workers.log_files import Ring
from gridiron.workers.logs import Level, LogEvent
from gridiron.workers.status import PoolQuarantined

NEWS_MEDIA_TYPE = "application/x-ndjson"


class Copied(Value):
    """The answer to `POST /builds/{name}/{version}-{timestamp}/copy`."""

    present: bool  # always true: where there is no such build, that is a problem


class NodeBuilds(Value):
    """The answer to `GET /builds`: what a node has of all builds. None: it cannot tell at the moment."""

    node: str
    version: str  # of Gridiron
    copies: frozenset[str] | None  # ids of the builds that are on its disk
    loaded: Mapping[str, Mapping[str, int]] | None  # by cell: requests in flight of each build, by its path
    quarantined: tuple[PoolQuarantined, ...] | None


class NodeHealth(Value):
    """The answer to `GET /node`."""

    status: NodeStatus
    health: Health
    guarding: Guarding | None = None  # None: of a version that has no guardian


class LogQuery(Value):
    """The parameters of `GET /builds/{name}/{version}-{timestamp}/logs`."""

    model_config = ConfigDict(extra="ignore")

    follow: bool = False
    level: Level = "debug"  # and what is graver
    since: AwareDatetime | None = None
    limit: Annotated[int, Field(ge=0, le=10_000)] = 1000  # the newest so many
    place: Json[dict[Ring, tuple[int, int]]] | None = None  # of LogNews; what is followed goes on from there


class LogNews(Value):
    """A line of the answer to `GET /builds/{name}/{version}-{timestamp}/logs?follow=true`.

    The first comes at once and has the newest of what there is. One without events says that there are none.
    """

    events: tuple[LogEvent, ...] = ()
    place: dict[Ring, tuple[int, int]] = Field(default_factory=dict)  # to be asked on with
    problem: str | None = None  # why this line is the last
