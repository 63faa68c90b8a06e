"""Numbers and times as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

UNKNOWN = "?"
"""What stands where a value is not known."""


def render_size(size: int) -> str:
    """`832 B`, `1.6 MB`: bytes in powers of a thousand."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def render_age(age: timedelta) -> str:
    """`12s`, `5m`, `3h`, `2d`: the largest unit that fits; a clock that is behind gives `0s`."""
    seconds = max(int(age.total_seconds()), 0)
    for limit, unit, divisor in ((60, "s", 1), (3600, "m", 60), (86_400, "h", 3600)):
        if seconds < limit:
            return f"{seconds // divisor}{unit}"
    return f"{seconds // 86_400}d"


def render_moment(moment: datetime | None, now: datetime) -> str:
    """`2026-10-01 12:00:00 UTC, 5m ago`; empty for None."""
    if moment is None:
        return ""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}, {render_age(now - moment)} ago"


def render_timings(timings_ms: Mapping[str, float]) -> str:
    """`stage 1.2 ms, register 20.0 ms, in all 21.2 ms`, in the order given."""
    names = {"total": "in all"}
    return ", ".join(f"{names.get(step, step)} {spent:.1f} ms" for step, spent in timings_ms.items())


def render_count(count: int, one: str, many: str | None = None) -> str:
    """`1 build`, `2 builds`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
