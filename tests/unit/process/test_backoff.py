from __future__ import annotations

from datetime import timedelta

from gridiron.process.backoff import Backoff

BACKOFF = Backoff(
    initial=timedelta(seconds=1), factor=2, ceiling=timedelta(seconds=5), reset_after=timedelta(seconds=30)
)


def test_the_delay_doubles_up_to_its_ceiling() -> None:
    delays = [BACKOFF.delay(failures).total_seconds() for failures in (1, 2, 3, 4, 1000)]
    assert delays == [1, 2, 4, 5, 5]


def test_a_long_uptime_starts_the_count_afresh_and_a_short_one_carries_it_on() -> None:
    assert BACKOFF.failures_after(7, timedelta(seconds=29)) == 8
    assert BACKOFF.failures_after(7, timedelta(seconds=30)) == 1
