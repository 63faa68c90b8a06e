"""What the node measures of itself, as Prometheus reads it: a pure rendering of what the pool says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gridiron.workers.status import PoolStatus
from gridiron.workers.watchdog import Reason

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format, as its documentation of exposition formats has it."""


class _PoolCollector(Collector):
    """The metrics of one look at a pool."""

    def __init__(self, pool: PoolStatus) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        cells = self._pool.cells
        serving = GaugeMetricFamily(
            "gridiron_cells_serving", "Cells that requests are sent to.", labels=["kind"]
        )
        for kind, own in (("shared", False), ("quarantine", True)):
            count = sum(1 for cell in cells if cell.serving and (cell.own is not None) is own)
            serving.add_metric([kind], count)
        yield serving
        memory = GaugeMetricFamily(
            "gridiron_cell_memory_bytes", "Resident memory of a cell.", labels=["cell"]
        )
        limit = GaugeMetricFamily(
            "gridiron_cell_memory_limit_bytes", "Memory above which a cell is replaced.", labels=["cell"]
        )
        for cell in cells:
            memory.add_metric([cell.cell], cell.memory)
            limit.add_metric([cell.cell], cell.memory_limit)
        yield memory
        yield limit
        restarts = CounterMetricFamily(
            "gridiron_cell_restarts", "Cells that were replaced since the workers started.", labels=["reason"]
        )
        quarantined = GaugeMetricFamily(
            "gridiron_builds_quarantined",
            "Builds with a cell of their own, by how the last shared one ended.",
            labels=["reason"],
        )
        held = Counter(each.reason for each in self._pool.quarantined)
        for reason in Reason:  # all of them, so that a first one is seen to be a rise
            restarts.add_metric([reason], self._pool.restarts.get(reason, 0))
            quarantined.add_metric([reason], held[reason])
        yield restarts
        yield quarantined


def render_metrics(pool: PoolStatus) -> bytes:
    """Write what a pool says of itself in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_PoolCollector(pool))
    return generate_latest(registry)
