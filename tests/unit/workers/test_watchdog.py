from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gridiron.workers.memory import LEAST_CEILING, MEBIBYTE, fetch_machine_memory, fetch_memory, plan_ceiling
from gridiron.workers.watchdog import Limits, Reading, Reason, judge

LIMITS = Limits(hang=timedelta(seconds=3), memory=1000, evictions=10)
OLD, NEW = timedelta(minutes=1), timedelta(seconds=1)
ANSWERED, SILENT = timedelta(0), timedelta(seconds=3)


WELL = Reading(silence=ANSWERED, uptime=OLD, memory=1000, first_memory=600, evictions=9, loaded=1)
EMPTY = replace(WELL, memory=800, first_memory=400, loaded=0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"silence": SILENT}, Reason.HUNG),
        ({"silence": SILENT, "uptime": NEW, "memory": 2000, "evictions": 99}, Reason.HUNG),
        ({"silence": SILENT - timedelta(milliseconds=1)}, None),
        ({"memory": 1001}, Reason.MEMORY),
        ({"memory": 1500}, Reason.MEMORY),
        ({"memory": 1501}, Reason.MEMORY_EXHAUSTED),
        ({"memory": 1501, "silence": timedelta(seconds=1)}, Reason.MEMORY_EXHAUSTED),  # it is not waited for
        ({"evictions": 10}, Reason.EVICTIONS),
        # a new cell would be no better
        ({"uptime": NEW, "memory": 1500, "evictions": 10}, None),
        ({"uptime": NEW, "memory": 1501}, Reason.MEMORY_EXHAUSTED),
    ],
)
def test_judgement(changes: dict[str, Any], reason: Reason | None) -> None:
    assert judge(replace(WELL, **changes), LIMITS) is reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, Reason.EMPTY),
        ({"memory": 799}, None),
        ({"loaded": 1}, None),
        ({"evictions": 0}, None),
        ({"uptime": NEW}, None),
    ],
)
def test_a_cell_that_has_unloaded_everything(changes: dict[str, Any], reason: Reason | None) -> None:
    assert judge(replace(EMPTY, **changes), LIMITS) is reason


def test_half_of_the_machine_is_the_cells() -> None:
    assert plan_ceiling(16 * 1024 * MEBIBYTE, 4) == 2 * 1024 * MEBIBYTE
    assert plan_ceiling(1024 * MEBIBYTE, 8) == LEAST_CEILING


def test_memory_of_a_process() -> None:
    used = fetch_memory(os.getpid())
    assert used is not None
    assert MEBIBYTE < used < fetch_machine_memory()
    assert fetch_memory(2**22 + 1) is None  # beyond the largest process id of Linux
