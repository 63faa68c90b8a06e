from __future__ import annotations

from datetime import UTC, datetime

from gridiron.manager.metrics import render_metrics
from gridiron.workers.status import PoolCell, PoolQuarantined, PoolStatus

EXPECTED = """\
# HELP gridiron_cells_serving Cells that requests are sent to.
# TYPE gridiron_cells_serving gauge
gridiron_cells_serving{kind="shared"} 1.0
gridiron_cells_serving{kind="quarantine"} 1.0
# HELP gridiron_cell_memory_bytes Resident memory of a cell.
# TYPE gridiron_cell_memory_bytes gauge
gridiron_cell_memory_bytes{cell="cell-1"} 7000.0
gridiron_cell_memory_bytes{cell="cell-2"} 5000.0
gridiron_cell_memory_bytes{cell="cell-3"} 6000.0
# HELP gridiron_cell_memory_limit_bytes Memory above which a cell is replaced.
# TYPE gridiron_cell_memory_limit_bytes gauge
gridiron_cell_memory_limit_bytes{cell="cell-1"} 9000.0
gridiron_cell_memory_limit_bytes{cell="cell-2"} 9000.0
gridiron_cell_memory_limit_bytes{cell="cell-3"} 9000.0
# HELP gridiron_cell_restarts_total Cells that were replaced since the workers started.
# TYPE gridiron_cell_restarts_total counter
gridiron_cell_restarts_total{reason="died"} 0.0
gridiron_cell_restarts_total{reason="killed"} 0.0
gridiron_cell_restarts_total{reason="hung"} 3.0
gridiron_cell_restarts_total{reason="memory_exhausted"} 0.0
gridiron_cell_restarts_total{reason="memory"} 0.0
gridiron_cell_restarts_total{reason="evictions"} 0.0
gridiron_cell_restarts_total{reason="empty"} 0.0
gridiron_cell_restarts_total{reason="config"} 0.0
gridiron_cell_restarts_total{reason="order"} 2.0
# HELP gridiron_builds_quarantined Builds with a cell of their own, by how the last shared one ended.
# TYPE gridiron_builds_quarantined gauge
gridiron_builds_quarantined{reason="died"} 0.0
gridiron_builds_quarantined{reason="killed"} 0.0
gridiron_builds_quarantined{reason="hung"} 1.0
gridiron_builds_quarantined{reason="memory_exhausted"} 0.0
gridiron_builds_quarantined{reason="memory"} 0.0
gridiron_builds_quarantined{reason="evictions"} 0.0
gridiron_builds_quarantined{reason="empty"} 0.0
gridiron_builds_quarantined{reason="config"} 0.0
gridiron_builds_quarantined{reason="order"} 0.0
"""


def make_cell(name: str, memory: int, *, serving: bool = True, own: str | None = None) -> PoolCell:
    return PoolCell(
        cell=name,
        pid=1,
        serving=serving,
        own=own,
        own_in_flight=None,
        uptime_seconds=1.0,
        memory=memory,
        memory_limit=9000,
    )


def test_what_a_pool_says_of_itself() -> None:
    pool = PoolStatus(
        cells=(
            make_cell("cell-1", 7000),
            make_cell("cell-2", 5000, serving=False),
            make_cell("cell-3", 6000, own="/demo/1-1"),
        ),
        quarantined=(
            PoolQuarantined(
                path="/demo/1-1", since=datetime(2026, 1, 1, tzinfo=UTC), reason="hung", cell="cell-3"
            ),
        ),
        restarts={"hung": 3, "order": 2},
    )
    assert render_metrics(pool).decode() == EXPECTED
