"""What a node tells of itself is what its documentation, its dashboard and its alert rules say."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from gridiron.cli.demo.subject import Subject
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, wait_until
from tests.prometheus import (
    CHECKOUT,
    DASHBOARD,
    OF_PROMETHEUS,
    RULES,
    check,
    labels_in,
    metrics_in,
    read_rules,
    samples_of,
)

assert CHECKOUT is not None
PAGE = CHECKOUT / "docs/metrics.md"
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\|", re.MULTILINE)

SERIES = 600
"""That a node with a few builds has at most."""


def fetch(client: Client) -> list[Metric]:
    response = client.manager.get("/metrics")
    assert response.status_code == 200, response.text
    return list(text_string_to_metric_families(response.text))


def series_of(metrics: list[Metric]) -> int:
    return sum(len(metric.samples) for metric in metrics)


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    return make_shared_node(cells=1, retain=0)


@pytest.fixture(scope="module")
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


@pytest.fixture(scope="module")
def told(client: Client, probe: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Metric]:
    """All that a node tells with a build that drains, one that is active, and a request that was refused."""
    bundles = ProbeBundles(probe, tmp_path_factory.mktemp("bundles"))
    client.activate(bundles.make("1"), "1")
    client.send("probe", "work", {"millis": 3_600_000})
    wait_until(lambda: client.builds(name="probe")[0]["invocations"]["pinned"])
    client.activate(bundles.make("2"), "2")
    client.call("probe", "version")
    client.workers.post("/nobody/1-1/invoke/probe/work")

    def whole() -> list[Metric] | None:
        client.builds()  # which is a look at them
        metrics = fetch(client)
        return metrics if all(metric.samples for metric in metrics) else None

    found: list[Metric] = wait_until(whole)
    return found


def test_the_page_names_all_that_there_is_and_nothing_else(told: list[Metric]) -> None:
    documented = {
        (row["name"], row["type"]): set(re.findall(r"`(\w+)`", row["labels"]))
        for row in ROW.finditer(PAGE.read_text())
        if not row["name"].startswith("gridiron_cluster_")  # of which a node that is alone tells nothing
    }
    exposed = {
        (f"{metric.name}_total" if metric.type == "counter" else metric.name, metric.type): {
            label for sample in metric.samples for label in sample.labels
        }
        - {"le"}
        for metric in told
    }
    assert documented == exposed


def expressions() -> Iterator[tuple[str, str]]:
    """What the rules and the panels ask for, and a name for each."""
    for rule in read_rules():
        yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
            if legend := re.findall(r"{{(\w+)}}", target["legendFormat"]):
                yield panel["title"], f"{target['expr']} by ({', '.join(legend)})"


def test_rules_and_panels_ask_for_what_there_is(told: list[Metric]) -> None:
    samples = samples_of(told)
    asked = list(expressions())
    assert len(asked) > 50
    for name, expression in asked:
        metrics = metrics_in(expression)
        assert metrics or "up{" in expression, (name, expression)
        assert metrics <= samples.keys(), (name, expression)
        known = OF_PROMETHEUS.union(*(samples[metric] for metric in metrics))
        assert labels_in(expression) <= known, (name, expression)


def test_promtool_finds_no_fault_in_the_rules() -> None:
    check("rules", RULES)


def test_builds_come_and_go_and_leave_no_series(
    client: Client, probe: Path, tmp_path: Path, told: list[Metric]
) -> None:
    assert told  # what else there is has been told by now
    bundles = ProbeBundles(probe, tmp_path)

    def deploy(version: str) -> None:
        client.activate(bundles.make(version, "passing"), version, name="passing")
        client.call("passing", "version")

    client.manager.post("/prune", json={})
    deploy("1")
    before = wait_until(lambda: has_seen(client, "passing-1-"))
    for number in range(2, 9):
        deploy(str(number))
    pruned: Any = client.manager.post("/prune", json={}).json()
    assert len(pruned["pruned"]) == 7
    after = wait_until(lambda: has_seen(client, "passing-8-"))
    assert series_of(after) == series_of(before) < SERIES


def has_seen(client: Client, build: str) -> list[Metric] | None:
    """Give the metrics once a build's requests are in them."""
    client.builds()  # which is a look at them
    metrics = fetch(client)
    (requests,) = (metric for metric in metrics if metric.name == "gridiron_build_requests")
    told = any(sample.labels["build_id"].startswith(build) for sample in requests.samples)
    return metrics if told else None


def test_an_answer_is_quick(client: Client, told: list[Metric]) -> None:
    assert told

    def took() -> float:
        began = time.perf_counter()
        client.manager.get("/metrics")
        return time.perf_counter() - began

    assert min(took() for _ in range(10)) < 0.1
