from __future__ import annotations

import os
from datetime import timedelta

import pytest

from gridiron.workers.memory import LEAST_CEILING, MEBIBYTE, fetch_machine_memory, fetch_memory, plan_ceiling
from gridiron.workers.watchdog import Limits, Reading, Reason, judge

LIMITS = Limits(hang=timedelta(seconds=3), memory=1000, evictions=10)
OLD, NEW = timedelta(minutes=1), timedelta(seconds=1)
ANSWERED, SILENT = timedelta(0), timedelta(seconds=3)


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        (Reading(ANSWERED, OLD, 1000, 9), None),
        (Reading(SILENT, OLD, 0, 0), Reason.HUNG),
        (Reading(SILENT, NEW, 2000, 99), Reason.HUNG),
        (Reading(SILENT - timedelta(milliseconds=1), OLD, 1000, 9), None),
        (Reading(timedelta(seconds=1), NEW, 1501, 0), Reason.MEMORY_EXHAUSTED),  # it is not waited for
        (Reading(ANSWERED, OLD, 1001, 0), Reason.MEMORY),
        (Reading(ANSWERED, OLD, 1500, 0), Reason.MEMORY),
        (Reading(ANSWERED, OLD, 1501, 0), Reason.MEMORY_EXHAUSTED),
        (Reading(ANSWERED, OLD, 0, 10), Reason.EVICTIONS),
        # a new cell would be no better
        (Reading(ANSWERED, NEW, 1500, 10), None),
        (Reading(ANSWERED, NEW, 1501, 0), Reason.MEMORY_EXHAUSTED),
    ],
)
def test_judgement(reading: Reading, reason: Reason | None) -> None:
    assert judge(reading, LIMITS) is reason


def test_half_of_the_machine_is_the_cells() -> None:
    assert plan_ceiling(16 * 1024 * MEBIBYTE, 4) == 2 * 1024 * MEBIBYTE
    assert plan_ceiling(1024 * MEBIBYTE, 8) == LEAST_CEILING


def test_memory_of_a_process() -> None:
    used = fetch_memory(os.getpid())
    assert used is not None
    assert MEBIBYTE < used < fetch_machine_memory()
    assert fetch_memory(2**22 + 1) is None  # beyond the largest process id of Linux
