from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from bench.__main__ import SCALE
from bench.report import put_between_marks
from bench.scale_model import COSTS, Bound, Mesh, Scenario, find_nodes
from bench.scale_report import render_scale

IDLE = replace(Scenario.of(3), names=1, deployments=0.0)


def names_of(bounds: tuple[Bound, ...]) -> list[str]:
    return [bound.name for bound in bounds]


def test_the_document_has_what_the_model_says() -> None:
    text = SCALE.read_text()
    assert put_between_marks(text, render_scale()) == text


def test_three_idle_nodes_ask_what_was_counted() -> None:
    mesh = Mesh(IDLE)
    in_a_minute = {kind: round(rate * 60, 6) for kind, rate in mesh.requests.items()}
    # two rounds of each node with three listings; the tokens every five seconds
    assert in_a_minute == {"LIST": 18, "GET": 36, "PUT": 0, "DELETE": 0, "leases": 0}
    # two rounds with two looks, which ask all three twice; the members every five seconds
    assert round(mesh.views * 60, 6) == 3 * (2 * 2 * 2 * 3 + 12)
    assert mesh.reaches == 3 * 2


def test_a_deployment_asks_what_was_counted() -> None:
    deploying = Mesh(replace(IDLE, deployments=3600.0))
    more = {kind: rate - Mesh(IDLE).requests[kind] for kind, rate in deploying.requests.items()}
    assert more == pytest.approx({"LIST": 6, "GET": 11, "PUT": 6, "DELETE": 3, "leases": 9})
    assert deploying.views - Mesh(IDLE).views == pytest.approx(2 * 2 * 3)
    assert deploying.peer_requests == 2


def test_a_node_alone_asks_nobody() -> None:
    alone = Mesh(Scenario.of(1))
    assert set(alone.requests.values()) == {0.0}
    assert (alone.views, alone.reaches, alone.peer_requests, alone.activation_seconds) == (0.0, 0.0, 0.0, 0.0)
    assert alone.call_ms == COSTS.call.value + 2 * COSTS.step.value


def test_a_listing_has_a_page_for_each_thousand_objects() -> None:
    pages = [Mesh(replace(IDLE, names=names, stored=1)).pages for names in (1, 333, 334, 1000)]
    assert pages == [1, 1, 2, 3]


def test_what_is_asked_grows_with_the_square_of_the_nodes() -> None:
    ten, hundred = (Mesh(replace(IDLE, nodes=nodes)) for nodes in (10, 100))
    assert (hundred.views - 100 / 5) / (ten.views - 10 / 5) == pytest.approx(100)
    assert hundred.reaches / ten.reaches == 100 * 99 / (10 * 9)


def test_nodes_beyond_the_partitions_run_no_calls() -> None:
    mesh = Mesh(Scenario.of(10, partitions=8))
    assert mesh.leading == 8
    assert mesh.bounds[0] == Bound("partitions", 10, 8, "nodes that lead")
    assert "partitions" not in names_of(Mesh(Scenario.of(10)).bounds)


def test_several_regions_cost_a_round_trip_for_each_commit() -> None:
    far = Mesh(replace(Scenario.of(3), regions=2, round_trip_ms=60, steps=3))
    assert far.wait_ms == 5 * 60
    assert far.request_seconds == (COSTS.request.value + 60) / 1000
    assert Mesh(Scenario.of(3)).wait_ms == 0


def test_bounds_come_with_the_tightest_first() -> None:
    bounds = Mesh(Scenario.of(100)).bounds
    assert list(bounds) == sorted(bounds, key=lambda bound: -bound.share)


def test_a_bound_bites_at_the_first_number_of_nodes_that_is_too_many() -> None:
    nodes = find_nodes("record of deployments")
    assert nodes is not None

    def share(count: int) -> float:
        bounds = Mesh(Scenario.of(count)).bounds
        return next(bound.share for bound in bounds if bound.name == "record of deployments")

    assert share(nodes - 1) <= 1 < share(nodes)
    assert find_nodes("record of deployments", most=nodes - 1) is None


def test_each_cost_says_where_it_is_from() -> None:
    costs = [getattr(COSTS, field.name) for field in fields(COSTS)]
    assert all(cost.what and cost.source and cost.value > 0 for cost in costs)
    documents = [part.rpartition("(")[2] for cost in costs for part in cost.source.split(")") if "](" in part]
    assert all((Path(SCALE.parent) / name).exists() for name in documents)
