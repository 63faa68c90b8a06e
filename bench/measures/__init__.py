"""The measures, by the name that the command line gives them, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.harness import Outcome
from bench.measures import density, throughput
from bench.session import Session

MEASURES: Mapping[str, Callable[[Session], Outcome]] = {
    "throughput": throughput.measure,
    "density": density.measure,
}
