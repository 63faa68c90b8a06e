"""Requests that are made up from the API's description get answers that it tells of, and break nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gridiron.access.tokens import ADMIN_FILE
from gridiron.cli.demo.subject import Subject
from gridiron.manager.http.needs import NEEDS, Need
from gridiron.testing.probe import ProbeBundles
from tests.harness import Client

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
SELDOM = {"POST /workers/restart": 1}
"""Requests that are sent so many times only: each replaces a cell."""

REACHED = {200, 201, 404, 409, 422}
TIMES = 40
ANSWER_SECONDS = 30
OPERATIONS = [
    route
    for route in NEEDS
    if not route.startswith("HEAD ")  # described by their GET
    and route != "GET /openapi.json"  # the description itself
]


@dataclass(frozen=True)
class Described:
    """A node that has a build, and what its manager says of its API."""

    url: str
    schema: Any
    headers: dict[str, str]
    known: dict[str, str]  # parts of paths that lead to something

    def known_of(self, path: str) -> dict[str, str]:
        return {part: value for part, value in self.known.items() if f"{{{part}}}" in path}


@pytest.fixture(scope="module")
def described(
    make_shared_node: Callable[..., Subject], probe: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Described]:
    node = make_shared_node(cells=1, request_rate=100_000, request_burst=100_000)
    client = Client(node)
    bundle = ProbeBundles(probe, tmp_path_factory.mktemp("described")).make("1")
    known = {"name": "probe", "build_id": client.activate(bundle, "1")["build_id"]}
    schema = schemathesis.openapi.from_dict(client.manager.get("/openapi.json").json())
    token = (node.settings.manager_state_dir / ADMIN_FILE).read_text().strip()
    yield Described(node.settings.manager_url, schema, {"authorization": f"Bearer {token}"}, known)
    client.close()


@pytest.mark.parametrize("has_token", [True, False], ids=["token", "none"])
@pytest.mark.parametrize("route", OPERATIONS)
def test_no_request_gets_an_answer_that_is_not_described(
    *, described: Described, route: str, has_token: bool
) -> None:
    method, path = route.split()
    operation = described.schema[path][method]
    seen: set[int] = set()

    @settings(
        max_examples=SELDOM.get(route, TIMES),
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(MODES))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if data.draw(st.booleans()):
            case.path_parameters = {**(case.path_parameters or {}), **described.known_of(path)}
        if case.query:
            case.query.pop("follow", None)  # whoever follows waits
        case.headers.pop("authorization", None)  # wrong ones are answered more and more slowly
        headers = described.headers if has_token else None
        with requests.Session() as session:
            response = case.call(described.url, session=session, headers=headers, timeout=ANSWER_SECONDS)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)

    send()
    if not has_token and NEEDS[route] is not Need.NOTHING:
        assert seen == {401}
    elif method == "GET" and path != "/cluster":  # which this node is in none of
        assert 200 in seen
    else:
        assert seen & REACHED  # not only at the door
