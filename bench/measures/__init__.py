"""The measures, by the name that the command line gives them, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.harness import Outcome
from bench.measures import (
    activation,
    clients,
    continuity,
    density,
    first_call,
    hostile,
    identity,
    intake,
    latency,
    logs,
    memory,
    mesh,
    save_to_live,
    scale,
    throughput,
)
from bench.session import Session

MEASURES: Mapping[str, Callable[[Session], Outcome]] = {
    "activation": activation.measure,
    "first-call": first_call.measure,
    "save-to-live": save_to_live.measure,
    "upgrades": continuity.measure_upgrades,
    "latency": latency.measure,
    "throughput": throughput.measure,
    "logs": logs.measure,
    "identity": identity.measure,
    "density": density.measure,
    "memory-activations": memory.measure_activations,
    "memory-invocations": memory.measure_invocations,
    "scale": scale.measure,
    "intake": intake.measure,
    "clients": clients.measure,
    "hostile": hostile.measure,
    "kills": continuity.measure_kills,
    "mesh": mesh.measure,
}
