"""Traces of activations, exported by OTLP over HTTP.

A thread of OpenTelemetry's sends the spans in batches; one that cannot be sent is dropped, and nothing waits
for it. Its own environment variables (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`,
`OTEL_SERVICE_NAME` and so on) hold as they are documented there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from fastapi import FastAPI
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

import gridiron
from gridiron.errors import ActivationFailed, GridironError

EXPORT_LIMIT = timedelta(seconds=2)
"""How long one batch may take to be sent."""

CLOSE_LIMIT = timedelta(seconds=1)
"""How long a manager that ends waits for the last batch; its supervisor gives it two seconds."""

ATTRIBUTES = {
    "build_id": "gridiron.build_id",
    "outcome": "gridiron.outcome",
    "deployment_id": "restate.deployment.id",  # as the spans of Restate's invocations have it
}

_CONTEXT = TraceContextTextMapPropagator()
"""Reads the headers `traceparent` and `tracestate` (W3C Trace Context)."""


class OtlpTrace:
    """The trace of one activation: a span, and one in it for each step."""

    def __init__(self, tracer: OtelTracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Trace what happens inside as a step."""
        with _span(self._tracer, name, SpanKind.INTERNAL):
            yield

    def conclude(self, **known: str | None) -> None:
        """Say what it was about and what became of it; None stands for what is not known."""
        for name, value in known.items():
            if value is not None:
                self._span.set_attribute(ATTRIBUTES[name], value)


class OtlpTracer:
    """Makes traces, and exports them to a URL: all of it, the path of the signal included."""

    def __init__(self, endpoint: str, node_name: str) -> None:
        resource = Resource.create(
            {
                "service.name": os.environ.get("OTEL_SERVICE_NAME", "gridiron"),
                "service.version": gridiron.__version__,
                "service.instance.id": node_name,
            }
        )
        exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_LIMIT.total_seconds())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("gridiron.manager", gridiron.__version__)

    @contextmanager
    def activation(self, kind: str, name: str) -> Iterator[OtlpTrace]:
        """Trace what happens inside as the activation of a bundle of this name."""
        with _span(self._tracer, f"activate {name}", SpanKind.SERVER) as span:
            span.set_attributes({"gridiron.kind": kind, "gridiron.name": name})
            yield OtlpTrace(self._tracer, span)

    def connect(self, app: FastAPI) -> None:
        """Continue the traces of those who send requests to `app`."""
        app.add_middleware(_ContinuedTraces)

    def close(self) -> None:
        """Export what is left, without waiting long. Safe to repeat."""
        closing = threading.Thread(target=self._provider.shutdown, name="close traces", daemon=True)
        closing.start()  # it cannot be told to take no longer than this
        closing.join(CLOSE_LIMIT.total_seconds())


class _ContinuedTraces:
    """Has a request be part of the trace that its headers name."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope.get("headers", ())}
        token = attach(_CONTEXT.extract(headers))
        try:
            await self._app(scope, receive, send)
        finally:
            detach(token)


@contextmanager
def _span(tracer: OtelTracer, name: str, kind: SpanKind) -> Iterator[Span]:
    """Trace what happens inside; a failure is told by its code and its sentence, which people may read."""
    with tracer.start_as_current_span(
        name, kind=kind, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except GridironError as error:
            cause = error.cause if isinstance(error, ActivationFailed) else error
            span.set_attribute("error.type", cause.code)
            span.set_status(Status(StatusCode.ERROR, str(cause)))
            raise
