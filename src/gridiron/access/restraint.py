"""How often somebody may ask, and how long who sends wrong tokens waits. Pure: the caller brings the time.

Times are seconds of a clock that only goes forward. Both tables are bounded: who was not seen for longest is
forgotten first, so that a flood from many addresses takes some megabytes and no more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

T = TypeVar("T")

REMEMBERED = 10_000
"""Clients, in each table."""

FREE_FAILURES = 10
"""Wrong tokens of an address that are answered at once: somebody mistypes, or a program has an old one."""

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.25, 4.0
"""What the first wrong token after these waits, and what any waits at the most; each waits twice as long."""

LONGEST_WAIT_SECONDS = 10.0
"""For those before it. Who would wait longer is refused at once, so that a flood is not kept in memory."""

FORGOTTEN_AFTER_SECONDS = 900.0


def client_of(address: str) -> str:
    """Say whom an address stands for: itself, or the /64 that a client of IPv6 has all of (RFC 6177)."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address


class _Table(Generic[T]):
    """What is remembered of clients, as long as there is room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[str, T] = OrderedDict()

    def get(self, client: str) -> T | None:
        return self._rows.get(client)

    def set(self, client: str, row: T) -> None:
        self._rows[client] = row
        self._rows.move_to_end(client)
        if len(self._rows) > self._size:
            self._rows.popitem(last=False)


class Rates:
    """A token bucket for each client: so many requests at once, and so many a second for ever."""

    def __init__(self, per_second: float, burst: int, remembered: int = REMEMBERED) -> None:
        self._per_second = per_second
        self._burst = burst
        self._table: _Table[tuple[float, float]] = _Table(remembered)  # what is left, and as of when

    def take(self, client: str, now: float) -> float:
        """Count a request of a client; give the seconds until it may come again, 0 where it may now."""
        left, seen = self._table.get(client) or (float(self._burst), now)
        left = min(left + (now - seen) * self._per_second, self._burst)
        if left < 1:
            return (1 - left) / self._per_second
        self._table.set(client, (left - 1, now))
        return 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """How long who has sent a wrong token waits."""

    seconds: float
    refused: bool  # then for another try, as too many of his wait already; else for the answer


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last: float
    answered: float  # when the last of them has its answer


class FailedLogins:
    """Who has sent wrong tokens. Their answers come later and later; right tokens are never held up."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._table: _Table[_Failures] = _Table(remembered)

    def note(self, client: str, now: float) -> Wait:
        """Count a wrong token of a client, and say how long it waits."""
        before = self._table.get(client)
        if before is None or now - before.last > FORGOTTEN_AFTER_SECONDS:
            before = _Failures(0, now, now)
        count = before.count + 1
        delay = _delay_seconds(count)
        answered = max(before.answered, now) + delay
        if answered - now > LONGEST_WAIT_SECONDS:
            return Wait(answered - now, refused=True)
        self._table.set(client, _Failures(count, now, answered))
        return Wait(answered - now, refused=False)


def _delay_seconds(count: int) -> float:
    if count <= FREE_FAILURES:
        return 0.0
    doublings = min(count - FREE_FAILURES - 1, 32)  # enough for the longest, and no overflow
    return min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)
