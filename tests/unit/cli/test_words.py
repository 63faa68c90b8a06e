from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gridiron.cli.words import render_age, render_count, render_moment, render_size, render_timings

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (832, "832 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_940, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_640_000, "1.6 MB"),
        (67_108_864, "67.1 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert render_size(size) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(seconds=60), "1m"),
        (timedelta(minutes=59, seconds=59), "59m"),
        (timedelta(hours=1), "1h"),
        (timedelta(hours=23, minutes=59), "23h"),
        (timedelta(days=1), "1d"),
        (timedelta(days=400), "400d"),
    ],
)
def test_ages(age: timedelta, text: str) -> None:
    assert render_age(age) == text


def test_moments() -> None:
    assert render_moment(NOW - timedelta(minutes=5), NOW) == "2026-11-01 11:55:00 UTC, 5m ago"
    assert not render_moment(None, NOW)


def test_timings_keep_their_order() -> None:
    timings = {"stage": 1.25, "register": 20.0, "total": 21.26}
    assert render_timings(timings) == "stage 1.2 ms, register 20.0 ms, in all 21.3 ms"


def test_counts() -> None:
    assert [render_count(count, "build") for count in (0, 1, 2)] == ["0 builds", "1 build", "2 builds"]
    assert render_count(2, "entry", "entries") == "2 entries"
