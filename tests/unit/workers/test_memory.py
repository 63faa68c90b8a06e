from __future__ import annotations

import pytest

from gridiron.workers.memory import parse_oom_kills


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ("nr_free_pages 7\noom_kill 3\nnuma_hit 1\n", 3),
        ("oom_kill 0\n", 0),
        ("nr_free_pages 7\noom_kill_of_others 3\n", None),
        ("", None),
    ],
)
def test_the_kernel_says_how_often_memory_ran_out(events: str, count: int | None) -> None:
    assert parse_oom_kills(events) == count
