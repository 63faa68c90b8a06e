"""A manager made of scripted answers, and the command line run against it in this process."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from gridiron.cli.main import app
from gridiron.cli.outside import Outside

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@dataclass
class FakeManager:
    """Gives the answers that a test put in, the last of a route again and again; remembers what was asked."""

    answers: dict[str, list[httpx2.Response | BaseException]] = field(
        default_factory=lambda: defaultdict(list)
    )
    asked: list[tuple[str, Any]] = field(default_factory=list)  # "GET /deployments?name=x", decoded body
    headers: list[httpx2.Headers] = field(default_factory=list)  # of what was asked
    sent: dict[str, bytes] = field(default_factory=dict)  # archives by their sha256

    def on(
        self,
        route: str,
        *bodies: Any,
        status: int = 200,
        media_type: str = "application/json",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Answer a route (`GET /deployments`): with each body in turn, or by raising it."""
        for body in bodies:
            if isinstance(body, BaseException):
                self.answers[route].append(body)
            else:
                content = body if isinstance(body, str) else json.dumps(body)
                answer = httpx2.Response(
                    status, content=content, headers={**headers, "content-type": media_type}
                )
                self.answers[route].append(answer)

    def refuse(self, route: str, status: int, code: str, detail: str, **more: Any) -> None:
        """Answer a route with a problem."""
        problem = {
            "type": "about:blank",
            "title": code,
            "status": status,
            "detail": detail,
            "code": code,
            **more,
        }
        self.on(route, problem, status=status, media_type="application/problem+json")

    def _receive(self, request: httpx2.Request) -> httpx2.Response:
        sha256 = request.url.path.removeprefix("/bundles/")
        self.sent[sha256] = request.read()
        return httpx2.Response(201, json={"sha256": sha256, "source": f"bundle:{sha256}"})

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "PUT" and request.url.path.startswith("/bundles/"):
            return self._receive(request)
        self.headers.append(request.headers)
        self.asked.append(
            (f"{request.method} {request.url.raw_path.decode()}", json.loads(request.content or "null"))
        )
        answers = self.answers[f"{request.method} {request.url.path}"]
        assert answers, f"nobody expected {self.asked[-1]}"
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return httpx2.Response(answer.status_code, content=answer.content, headers=answer.headers)


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(manager: FakeManager, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line as in a shell; `can_ask` makes that shell a terminal, `types` its input."""
    monkeypatch.setenv("GRIDIRON_MANAGER_URL", "http://manager.test")

    def run(
        *arguments: str, can_ask: bool = False, types: bool = False, typed: str | bytes | None = None
    ) -> Result:
        outside = Outside(
            transport=httpx2.MockTransport(manager.handle),
            now=lambda: NOW,
            monotonic=clock.monotonic,
            sleep=clock.sleep,
            can_ask=lambda: can_ask,
            types=lambda: types,
        )
        return CliRunner().invoke(app, list(arguments), input=typed, obj=outside, prog_name="gridiron")

    return run


@pytest.fixture
def make_view() -> Callable[..., dict[str, Any]]:
    """Make a build as the manager answers it."""

    def make(**overrides: Any) -> dict[str, Any]:
        view: dict[str, Any] = {
            "build_id": "greeter-1.0.0-1",
            "name": "greeter",
            "version": "1.0.0",
            "path": "/greeter/1.0.0-1",
            "state": "active",
            "reason": "newest for greeter",
            "deployment_id": "dp_1",
            "protocol": "BidiStream",
            "services": [{"name": "greeter", "active": True}],
            "invocations": {"pinned": 2, "attempting": 1},
            "held_by": None,
            "sha256": "0" * 64,
            "archive_sha256": None,
            "signed_by": None,
            "size": 1_640_000,
            "source": "file:///greeter",
            "git": None,
            "secrets": [],
            "created_at": "2026-11-01T11:55:00Z",
            "activated_at": "2026-11-01T11:55:01Z",
            "draining_at": None,
            "drained_at": None,
            "timings_ms": {"stage": 1.5, "total": 20.0},
            "quarantine": None,
            "nodes": [
                {
                    "node": "n1",
                    "loaded": True,
                    "cells": [
                        {"cell": "cell-0", "loaded": True, "in_flight": 2},
                        {"cell": "cell-1", "loaded": False, "in_flight": 0},
                    ],
                    "present": None,
                    "quarantined": False,
                    "reason": None,
                }
            ],
        }
        return {**view, **overrides}

    return make
