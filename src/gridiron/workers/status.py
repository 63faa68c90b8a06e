"""What a pool says of itself: the values that go over its socket."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gridiron.model import Value


class PoolCell(Value):
    """One cell."""

    cell: str
    pid: int
    serving: bool  # False: it ends what it is answering, or has just started
    own: str | None  # path of the quarantined build that it is for; None: all the others
    own_in_flight: int | None  # requests for that build at the last look; None: it is not loaded
    uptime_seconds: float
    memory: int  # bytes that it has in memory
    memory_limit: int  # bytes, above which it is replaced
    loaded: int = 0  # builds, as it said last


class PoolQuarantined(Value):
    """A build that is served by a cell of its own, as it brought others down."""

    path: str
    since: datetime
    reason: str  # of the last cell that it brought down: a `Reason` of the watchdog
    cell: str | None  # None: it does not serve at the moment


class PoolStatus(Value):
    """The cells of a node."""

    size: int = 0  # cells that there are to be for all builds; 0: there is no pool
    cells: tuple[PoolCell, ...] = ()
    quarantined: tuple[PoolQuarantined, ...] = ()
    restarts: dict[str, int] = Field(default_factory=dict)  # cells replaced since the start, by reason


class BuildTraffic(Value):
    """What was asked of one build since the workers started, in all cells that there ever were."""

    path: str  # empty: all builds that have no place of their own here
    in_flight: int  # requests
    outcomes: dict[str, int]  # requests that have ended, by each of `gridiron.workers.traffic.OUTCOMES`
    durations: tuple[int, ...]  # invocations by what they took: up to each of its BOUNDS, and beyond the last
    seconds: float  # that all of those took together


class BackendCounts(Value):
    """What HAProxy counted of a backend since its start."""

    queued: int  # requests that wait for a cell now
    retries: int  # attempts to reach a cell once more
    redispatches: int  # requests that another cell got than the one that they were meant for
    connect_errors: int  # requests that reached no cell
    response_errors: int  # answers that broke off, or were none


class ProxyCounts(Value):
    """What HAProxy counted since its start."""

    connections: int  # of clients, now
    connections_limit: int
    requests: int
    invalid: int  # requests that were none
    denied: int  # requests that a rule refused
    responses: dict[str, int]  # by class: 1xx, 2xx and so on
    backends: dict[str, BackendCounts]


class PoolTraffic(Value):
    """What went through the data plane of a node."""

    builds: tuple[BuildTraffic, ...] = ()
    refused: dict[str, int] = Field(
        default_factory=dict
    )  # requests that no build answered, by the problem's code
    evictions: int = 0  # builds that cells have unloaded
    proxy: ProxyCounts | None = None  # None: HAProxy does not say
