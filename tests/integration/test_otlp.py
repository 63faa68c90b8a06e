from __future__ import annotations

import subprocess
import sys

import pytest

from gridiron.errors import ActivationFailed, SourceMissing
from gridiron.manager.otlp import OtlpTracer
from tests.otlp import running_collector


def test_a_node_that_exports_no_traces_imports_nothing_for_them() -> None:
    look = "import gridiron.manager.role, sys; print(*sys.modules)"
    looked = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True
    )
    modules = looked.stdout.split()
    assert "gridiron.manager.traces" in modules
    # FastAPI imports OpenTelemetry's interfaces by itself, which is little
    assert not [name for name in modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]


def test_a_failed_step_is_told_by_its_code() -> None:
    with running_collector() as collector:
        tracer = OtlpTracer(f"{collector.url}/v1/traces", "n1")
        cause = SourceMissing("/nowhere")
        with (
            pytest.raises(ActivationFailed),
            tracer.activation("deploy", "demo") as trace,
            trace.step("stage"),
        ):
            raise ActivationFailed("stage", None, cause) from cause
        tracer.close()
        stage, activation = collector.spans
    assert (stage.name, stage.parent, stage.failed) == ("stage", activation.span, True)
    assert stage.attributes == {"error.type": "source_missing"}
    assert (activation.name, activation.parent, activation.failed) == ("activate demo", "", True)
    assert activation.attributes == {
        "gridiron.kind": "deploy",
        "gridiron.name": "demo",
        "error.type": "source_missing",
    }


def test_a_collector_that_does_not_answer_holds_nothing_up() -> None:
    with running_collector(answers=False) as collector:
        tracer = OtlpTracer(f"{collector.url}/v1/traces", "n1")
        for _ in range(1000):  # more than one batch
            with tracer.activation("deploy", "demo") as trace, trace.step("stage"):
                pass
        assert collector.asked.wait(20)
        tracer.close()
        assert collector.spans == []  # it is still waiting
