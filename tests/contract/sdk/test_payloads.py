from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.contract.sdk.runtimes import Runtime


@pytest.mark.parametrize("value", [0, "", False, [], {"deep": [None, {"a": 1.5}]}, "Zoë 🏈\u2028\u0000"])
def test_a_json_value_comes_back_as_it_was(runtime: Runtime, value: Any) -> None:
    assert runtime.call("Payloads/echo", value) == value


def test_null_is_something_else_than_nothing(runtime: Runtime) -> None:
    json = {"content-type": "application/json"}
    assert runtime.call("Payloads/typeOf", content=b"null", headers=json) == "null"
    assert runtime.call("Payloads/typeOf") == "undefined"


def test_what_is_no_json_is_refused_and_not_retried(runtime: Runtime) -> None:
    json = {"content-type": "application/json"}
    response = runtime.request("Payloads/echo", content=b"{", headers=json)
    assert response.status_code == 400
    assert response.json()["message"].startswith("Failed to deserialize input: ")


def test_no_answer_is_an_empty_answer(runtime: Runtime) -> None:
    response = runtime.request("Payloads/nothing")
    assert (response.status_code, response.content) == (200, b"")
    assert "content-type" not in response.headers


def test_bytes_come_back_as_they_were(runtime: Runtime) -> None:
    every_byte = bytes(range(256))
    headers = {"content-type": "application/octet-stream"}
    response = runtime.request("Payloads/reverse", content=every_byte, headers=headers)
    assert response.content == every_byte[::-1]
    assert response.headers["content-type"] == "application/octet-stream"


def test_no_bytes_have_a_type_only_where_it_is_asked_for(runtime: Runtime) -> None:
    plain = runtime.request("Payloads/noBytes")
    typed = runtime.request("Payloads/noBytesOfAType")
    assert [(each.status_code, each.content) for each in (plain, typed)] == [(200, b"")] * 2
    assert [each.headers.get("content-type") for each in (plain, typed)] == [None, "application/octet-stream"]


def test_a_serde_of_ones_own(runtime: Runtime) -> None:
    response = runtime.request(
        "Payloads/transpose", content=b"a,b\nc,d\ne,f", headers={"content-type": "text/csv"}
    )
    assert response.text == "a,c,e\nb,d,f"
    assert response.headers["content-type"] == "text/csv"


def test_a_schema_is_held(runtime: Runtime) -> None:
    assert runtime.call("Payloads/double", 21) == 42
    refused = runtime.request("Payloads/double", -1)
    assert refused.json() == {
        "code": 400,
        "message": "Failed to deserialize input: Standard schema validation failed:\n* not positive",
        "source": "invocation",
    }


def test_the_accepted_type_is_held(runtime: Runtime) -> None:
    def post(content_type: str) -> httpx2.Response:
        return runtime.request("Payloads/accepts", content=b"four", headers={"content-type": content_type})

    assert post("text/plain").json() == 4
    assert post("text/html").status_code == 400


def test_a_large_value_goes_every_way(runtime: Runtime) -> None:
    assert runtime.call("Payloads/large", 5) == "x" * 5 * 1024 * 1024


def test_a_large_argument(runtime: Runtime) -> None:
    large = ["ü" * 1000] * 3000  # 6 MB of UTF-8, 18 MB as Python escapes it
    body = str(large).replace("'", '"').encode()
    response = runtime.request("Payloads/echo", content=body, headers={"content-type": "application/json"})
    assert response.json() == large


def test_a_handler_sees_its_request(runtime: Runtime) -> None:
    response = runtime.request("Payloads/request", {"a": 1}, headers={"x-test": "from outside"})
    assert response.json() == {
        "target": f"Payloads.{runtime.name}/request",
        "service": f"Payloads.{runtime.name}",
        "handler": "request",
        "key": None,
        "id": response.headers["x-restate-id"],
        "header": "from outside",
        "protocol": "application/vnd.restate.invocation.v6",
        "bytes": len(b'{"a":1}'),
    }
