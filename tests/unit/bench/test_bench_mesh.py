from __future__ import annotations

from collections import Counter

import pytest

from bench.measures.mesh import ALONE, MESH, Called, Idle, name_request
from bench.subjects.counting import Requests
from bench.wrk import Window


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/bundles?list-type=2&prefix=mesh%2Fbuilds%2F", "LIST builds"),
        ("GET", "/bundles?list-type=2&prefix=mesh/builds/demo/&max-keys=1000", "LIST builds"),
        ("GET", "/bundles/mesh/builds/demo/1-1/state", "GET builds"),
        ("PUT", "/bundles/mesh/leases/names-demo", "PUT leases"),
        ("GET", "/bundles/mesh/cluster.json", "GET cluster.json"),
        ("HEAD", "/", "HEAD nothing"),
    ],
)
def test_a_request_is_named_by_what_it_is_for(method: str, target: str, name: str) -> None:
    assert name_request(method, target) == name


def test_requests_are_counted_where_they_begin() -> None:
    requests = Requests("127.0.0.1", 1)
    for chunk in (
        b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /a?b=c HTTP/1.1\r\n",
        b"some content of PUT /",
    ):
        requests.note(chunk)
    assert requests.take() == {("GET", "/a?b=c"): 2}
    assert requests.take() == {}


def test_the_processor_time_of_a_call_is_without_what_is_idle() -> None:
    used = {"restate": 2.0, "haproxy": 0.5, "cells": 3.0, "pool": 0.0, "manager": 9.0}
    called = Called(Window(calls=1000, seconds=2.0), used, sent=0, nodes=3)
    idle = {"restate": 0.1, "haproxy": 0.0, "cells": 0.0, "pool": 0.0, "manager": 1.0}
    assert called.cpu_millis(idle) == pytest.approx(
        {"restate": 1.4, "haproxy": 0.5, "cells": 3.0, "pool": 0.0}
    )


def test_an_idle_node_is_told_by_the_second_and_in_mib() -> None:
    cpu = {ALONE: {"restate": 0.6}, MESH: {"restate": 3.0, "manager": 3.0}}
    memory = {ALONE: {"restate": 2.0**20}, MESH: {"restate": 3 * 2.0**20}}
    idle = Idle(60.0, cpu, memory, requests=Counter(), restatectl=1)
    assert (idle.cpu_of(ALONE), idle.cpu_of(MESH)) == (10, 100)
    assert (idle.memory_of(ALONE), idle.memory_of(MESH)) == (1, 3)
    assert idle.cpu_shares(MESH) == {"restate": 0.05, "manager": 0.05}
