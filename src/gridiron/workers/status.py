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


class PoolQuarantined(Value):
    """A build that is served by a cell of its own, as it brought others down."""

    path: str
    since: datetime
    reason: str  # of the last cell that it brought down: a `Reason` of the watchdog
    cell: str | None  # None: it does not serve at the moment


class PoolStatus(Value):
    """The cells of a node."""

    cells: tuple[PoolCell, ...] = ()
    quarantined: tuple[PoolQuarantined, ...] = ()
    restarts: dict[str, int] = Field(default_factory=dict)  # cells replaced since the start, by reason
