from __future__ import annotations

from datetime import timedelta

import pytest

from gridiron.bundles.limits import Limits, Meter
from gridiron.errors import SourceHasTooManyFiles, SourceTooLarge, SourceTooSlow

LIMITS = Limits(size=100, files=2, time=timedelta(seconds=10))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_fits_is_counted_and_reported() -> None:
    seen: list[tuple[int, int | None]] = []
    meter = Meter(LIMITS, lambda done, total: seen.append((done, total)))
    meter.begin(100)
    meter.add(60)
    meter.add(40)
    assert seen == [(0, 100), (60, 100), (100, 100)]


def test_a_byte_too_much_is_refused() -> None:
    meter = Meter(LIMITS)
    meter.begin()
    meter.add(100)
    with pytest.raises(SourceTooLarge) as caught:
        meter.add(1)
    assert caught.value.limit == 100


def test_what_is_announced_as_too_large_is_refused_at_once() -> None:
    with pytest.raises(SourceTooLarge):
        Meter(LIMITS).begin(101)


def test_a_file_too_many_is_refused() -> None:
    meter = Meter(LIMITS)
    meter.add_file()
    meter.add_file()
    with pytest.raises(SourceHasTooManyFiles):
        meter.add_file()


def test_a_transfer_that_begins_again_is_counted_from_nothing_and_has_no_more_time() -> None:
    clock = Clock()
    meter = Meter(LIMITS, clock=clock)
    meter.add(100)
    clock.now += 9
    meter.begin()
    meter.add(100)
    assert meter.seconds_left == 1
    clock.now += 1
    with pytest.raises(SourceTooSlow) as caught:
        meter.add(0)
    assert caught.value.seconds == 10
    assert meter.seconds_left == 0


def test_what_an_attempt_that_failed_took_is_taken_back() -> None:
    seen: list[tuple[int, int | None]] = []
    meter = Meter(LIMITS, lambda done, total: seen.append((done, total)))
    meter.begin()
    meter.add(40)
    meter.add(50)
    meter.take_back(50)
    meter.add(60)
    assert seen == [(0, None), (40, None), (90, None), (40, None), (100, None)]
