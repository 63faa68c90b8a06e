"""The tables of docs/scale.md, from the model. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from typing import TypeAlias

from bench.report import render_number
from bench.scale_model import COSTS, Bound, Cost, Mesh, Scenario, find_nodes
from gridiron.cluster import PARTITIONS

SIZES = (1, 3, 10, 100, 1000)
"""Nodes. The first two were measured."""

Cell: TypeAlias = Callable[[Mesh], str]


def _number(read: Callable[[Mesh], float]) -> Cell:
    return lambda mesh: render_number(read(mesh))


def _rate(kind: str) -> Cell:
    return lambda mesh: render_number(mesh.requests[kind])


ROWS: tuple[tuple[str, Cell], ...] = (
    ("names; builds stored", lambda mesh: f"{mesh.scenario.names}; {mesh.scenario.builds}"),
    (
        "wanted: calls a second; deployments an hour",
        lambda mesh: f"{mesh.scenario.calls:.0f}; {mesh.scenario.deployments:.0f}",
    ),
    ("calls a second that there are processors for", lambda mesh: f"{mesh.calls_most:.0f}"),
    ("cores of a node in use, of 4", _number(lambda mesh: mesh.cores_used)),
    ("… of them by looks and readiness", _number(lambda mesh: mesh.looking_cores)),
    ("… of those the manager's one thread", _number(lambda mesh: mesh.manager_cores)),
    ("sent between nodes for calls, MB a second", _number(lambda mesh: mesh.sent_mb)),
    ("processes of restatectl a second, all nodes", _number(lambda mesh: mesh.views)),
    ("requests for readiness a second, all nodes", _number(lambda mesh: mesh.reaches)),
    ("requests of one listing of all builds", lambda mesh: "–" if mesh.is_alone else str(mesh.pages)),
    ("LIST a second", _rate("LIST")),
    ("GET a second", _rate("GET")),
    ("PUT and DELETE an hour", _number(lambda mesh: (mesh.requests["PUT"] + mesh.requests["DELETE"]) * 3600)),
    ("requests for leases an hour", _number(lambda mesh: mesh.requests["leases"] * 3600)),
    ("requests to the bucket a month, millions", _number(lambda mesh: mesh.requests_month / 1e6)),
    ("requests between managers an hour", _number(lambda mesh: mesh.peer_requests * 3600)),
    ("a look at everything, seconds", _number(lambda mesh: mesh.look_seconds)),
    ("an activation, seconds more than alone", _number(lambda mesh: mesh.activation_seconds)),
    ("Restate's record of deployments, MB", _number(lambda mesh: mesh.record_mb)),
    ("… read by all nodes at each change, MB", _number(lambda mesh: mesh.record_mb * mesh.scenario.nodes)),
    ("memory of a node without builds, MiB", _number(lambda mesh: mesh.node_mib)),
    ("memory of loaded builds on each node, MiB", _number(lambda mesh: mesh.cells_mib)),
    ("copies of builds on each node's disk, GiB", _number(lambda mesh: mesh.copies_gib)),
    (
        f"**tightest, {PARTITIONS} partitions**",
        lambda mesh: _describe(Mesh(Scenario.of(mesh.scenario.nodes, PARTITIONS)).bounds[0]),
    ),
    ("**tightest, 2 partitions a node**", lambda mesh: _describe(mesh.bounds[0])),
    ("… next", lambda mesh: _describe(mesh.bounds[1])),
)


def _describe(bound: Bound) -> str:
    return f"{bound.name}, {bound.share * 100:.0f} %"


def render_scale() -> str:
    """Write everything that stands between the marks of docs/scale.md, in Markdown."""
    return "\n\n".join(
        (
            _table(("", *(f"{size}" for size in SIZES)), _sizes()),
            _table(("bound", "ends at", "bites at"), _bites()),
            _table(("one", "costs", "from"), _costs()),
        )
    )


def _sizes() -> Iterator[Sequence[str]]:
    meshes = [Mesh(Scenario.of(size)) for size in SIZES]
    for title, cell in ROWS:
        yield title, *(cell(mesh) for mesh in meshes)


def _bites() -> Iterator[Sequence[str]]:
    """Say of each bound at how many nodes it bites, the first one first."""
    yield (
        "partitions, as many as by default",
        f"{PARTITIONS} nodes that lead",
        f"{PARTITIONS + 1} nodes",
    )
    found = {bound: find_nodes(bound.name) for bound in Mesh(Scenario.of(1)).bounds}
    for bound, nodes in sorted(found.items(), key=lambda each: (each[1] or math.inf, each[0].name)):
        if nodes is not None:
            yield bound.name, f"{render_number(bound.most)} {bound.unit}", f"{nodes} nodes"


def _costs() -> Iterator[Sequence[str]]:
    for field in fields(COSTS):
        cost: Cost = getattr(COSTS, field.name)
        yield cost.what, f"{cost.value:g} {cost.unit}", cost.source


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
