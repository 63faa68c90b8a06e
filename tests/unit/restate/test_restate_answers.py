from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from gridiron.lifecycle.observation import Demand, Registration
from gridiron.lifecycle.routing import Handler, Service
from gridiron.model import Address
from gridiron.restate.answers import (
    address_of,
    parse_check,
    parse_demand,
    parse_discovered,
    parse_newest,
    parse_protocol,
    parse_registered,
    parse_registrations,
    parse_version,
)
from gridiron.restate.port import Discovered, Registered

# as Restate 1.7.12 answers, with some of the fields that are not needed
COUNTER = {
    "name": "counter",
    "ty": "VirtualObject",
    "handlers": [
        {"name": "get", "ty": "Shared", "public": True, "retry_policy": {"max_attempts": None}},
        {"name": "add", "ty": "Exclusive", "public": True, "retry_policy": {"max_attempts": None}},
    ],
    "deployment_id": "dp_1",
    "revision": 1,
    "idempotency_retention": "1d",
}
ADDER = {"name": "adder", "ty": "Service", "handlers": [{"name": "add", "public": True}], "revision": 3}
SERVICES = (
    Service("adder", "Service", (Handler("add", None),)),
    Service(
        "counter",
        "VirtualObject",
        (Handler("add", "Exclusive"), Handler("get", "Shared")),
    ),
)
REGISTERED = {"id": "dp_1", "services": [COUNTER, ADDER], "min_protocol_version": 5, "sdk_version": "x/1"}
DEPLOYMENT = {
    "id": "dp_2",
    "uri": "http://localhost:9080/my-app/1.0.0-rc.1-17",
    "protocol_type": "BidiStream",
    "http_version": "HTTP/2.0",
    "metadata": {"build_id": "my-app-1.0.0-rc.1-17"},
    "created_at": "2026-11-23T19:29:05.747000000Z",
    "services": [{"name": "b", "revision": 2}, {"name": "a", "revision": 1}],
}
LAMBDA = {
    "id": "dp_1",
    "arn": "arn:aws:lambda:eu-central-1:1:function:f:1",
    "created_at": "2026-11-23T19:29:04Z",
    "services": [],
}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def rows(*values: Any) -> bytes:
    return encode({"rows": values})


def test_services_are_read_and_sorted() -> None:
    assert parse_discovered(encode(REGISTERED)) == Discovered(SERVICES)


def test_a_registration_says_its_id_and_whether_it_is_new() -> None:
    assert parse_registered(encode(REGISTERED), created=True) == Registered(
        "dp_1", SERVICES, None, created=True
    )


def test_the_protocol_is_in_the_description_of_a_deployment() -> None:
    assert parse_protocol(encode(DEPLOYMENT)) == "BidiStream"


def test_registrations_are_read_oldest_first_whatever_they_run_on() -> None:
    assert parse_registrations(encode({"deployments": [DEPLOYMENT, LAMBDA]})) == (
        Registration(
            deployment_id="dp_1",
            uri="arn:aws:lambda:eu-central-1:1:function:f:1",
            address=None,
            created_at=datetime(2026, 11, 23, 19, 29, 4, tzinfo=UTC),
            services=(),
            protocol="",
            metadata={},
        ),
        Registration(
            deployment_id="dp_2",
            uri="http://localhost:9080/my-app/1.0.0-rc.1-17",
            address=Address(name="my-app", version="1.0.0-rc.1", timestamp=17),
            created_at=datetime(2026, 11, 23, 19, 29, 5, 747_000, tzinfo=UTC),
            services=("a", "b"),
            protocol="BidiStream",
            metadata={"build_id": "my-app-1.0.0-rc.1-17"},
        ),
    )


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("http://h:1/a/1-2", Address(name="a", version="1", timestamp=2)),
        ("http://h:1/a/1-2/", Address(name="a", version="1", timestamp=2)),
        ("https://h/a/1-x-2?q=1", Address(name="a", version="1-x", timestamp=2)),
        ("http://h:1/", None),
        ("http://h:1/a/1-2/more", None),
        ("http://h:1/A/1-2", None),
        ("arn:aws:lambda:eu:1:function:f:1", None),
    ],
)
def test_a_uri_is_one_of_ours_by_its_path(uri: str, address: Address | None) -> None:
    assert address_of(uri) == address


def test_the_newest_deployment_of_each_service_is_read() -> None:
    body = rows({"name": "a", "deployment_id": "dp_1"}, {"name": "b", "deployment_id": "dp_2"})
    assert parse_newest(body) == {"a": "dp_1", "b": "dp_2"}


def test_demand_joins_what_is_attempted_and_what_is_pinned() -> None:
    attempting = rows(
        {"deployment_id": "dp_1", "invocations": 2}, {"deployment_id": "dp_2", "invocations": 3}
    )
    pinned = rows({"deployment_id": "dp_2", "invocations": 5}, {"deployment_id": "dp_3", "invocations": 7})
    assert parse_demand(attempting, pinned) == {
        "dp_1": Demand(pinned=0, attempting=2),
        "dp_2": Demand(pinned=5, attempting=3),
        "dp_3": Demand(pinned=7, attempting=0),
    }


def test_no_rows_are_no_demand() -> None:
    assert parse_demand(rows(), rows()) == {}


def test_the_check_and_the_version_are_read() -> None:
    assert parse_check(rows({"invocations": 3})) == 3
    assert parse_version(encode({"version": "1.7.12", "max_admin_api_version": 4})) == "1.7.12"


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"{}", b'"text"', b"\xff", b'{"rows":null}'])
def test_an_answer_of_another_form_is_never_taken_for_an_empty_one(body: bytes) -> None:
    parsers = [
        parse_discovered,
        parse_protocol,
        parse_registrations,
        parse_newest,
        parse_check,
        parse_version,
    ]
    for parse in parsers:
        with pytest.raises(ValidationError):
            parse(body)
    for attempting, pinned in ((body, rows()), (rows(), body)):
        with pytest.raises(ValidationError):
            parse_demand(attempting, pinned)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"created_at": "yesterday"},
        {"created_at": "2026-11-23T19:29:04"},
        {"services": ["a"]},
        {"metadata": {"a": 1}},
    ],
)
def test_one_deployment_of_another_form_makes_the_list_unreadable(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_registrations(encode({"deployments": [LAMBDA, {**DEPLOYMENT, **wrong}]}))


def test_a_row_without_a_deployment_makes_the_rows_unreadable() -> None:
    with pytest.raises(ValidationError):
        parse_demand(rows({"deployment_id": None, "invocations": 1}), rows())


def test_a_check_with_no_row_proves_nothing() -> None:
    with pytest.raises(ValidationError):
        parse_check(rows())
