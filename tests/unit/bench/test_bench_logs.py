from __future__ import annotations

import pytest

from bench.measures.logs import Measured, add_share
from bench.wrk import Window


def measured(calls: int, **cpu_seconds: float) -> Measured:
    components = {"restate": 0.0, "haproxy": 0.0, "cells": 0.0, "pool": 0.0, "manager": 0.0}
    return Measured(Window(calls, seconds=1), components | cpu_seconds)


def test_what_a_call_costs_more_is_what_has_to_do_with_logs() -> None:
    without = measured(100, restate=0.1, cells=0.1)
    assert (without.millis, without.log_millis) == (2, 1)
    kept = measured(200, restate=0.4, cells=0.2, pool=0.02, manager=0.02)
    assert add_share(kept, without) == pytest.approx(1.1)
