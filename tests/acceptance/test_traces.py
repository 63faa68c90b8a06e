"""An activation is a trace, and so are the invocations of its build: one collector has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gridiron.cli.demo.subject import Subject
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client, wait_until
from tests.otlp import Collector, Span, running_collector

DEPLOYER, CALLER = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "b7ad6b7169203331"
DEPLOYMENT = "restate.deployment.id"


def continuing(trace: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-01"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as collector:
        yield collector


def test_an_activation_and_the_invocations_of_its_build(
    make_node: Callable[..., Subject],
    collector: Collector,
    bundles: ProbeBundles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds until a batch is sent
    client = Client(make_node(cells=1, otel_exporter_otlp_endpoint=collector.url))
    body = {"source": bundles.make("1").as_uri(), "name": "probe", "version": "1"}
    activated = client.manager.post("/activate", json=body, headers=continuing(DEPLOYER)).json()

    def activation() -> Span | None:
        return next(iter(collector.named("activate probe")), None)

    root: Span = wait_until(activation, what="the activation's trace")
    assert (root.service, root.trace, root.parent) == ("gridiron", DEPLOYER, PARENT)
    assert root.attributes == {
        "gridiron.kind": "deploy",
        "gridiron.name": "probe",
        "gridiron.outcome": "activated",
        "gridiron.build_id": activated["build_id"],
        DEPLOYMENT: activated["deployment_id"],
    }
    steps = [span.name for span in collector.of_trace(DEPLOYER) if span.parent == root.span]
    assert steps == [step for step in activated["timings_ms"] if step != "total"]
    answer = client.ingress.post("/probe/version", headers=continuing(CALLER))
    assert answer.status_code == 200, answer.text
    attempts = wait_until(
        lambda: [span for span in collector.of_trace(CALLER) if span.name.startswith("invocation-attempt")],
        what="the invocation's trace",
    )
    assert {(span.service, span.attributes[DEPLOYMENT]) for span in attempts} == {
        ("Restate", activated["deployment_id"])
    }
    client.close()
