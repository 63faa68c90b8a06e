from __future__ import annotations

from soak.calls import Again, Answer, Failed, parse_attempt

BODY = b'{"begun": "1.0.1", "ended": "1.0.1", "value": 3}'


def test_an_answer_names_the_versions_that_gave_it() -> None:
    assert parse_attempt(200, None, BODY) == Answer(begun="1.0.1", ended="1.0.1", value=3)


def test_an_ingress_that_cannot_serve_now_is_asked_again() -> None:
    assert parse_attempt(503, "ingress", b"{}") == Again("HTTP 503")
    assert parse_attempt(500, None, b"") == Again("HTTP 500")


def test_what_a_handler_or_the_ingress_refuses_is_a_failure() -> None:
    assert parse_attempt(500, "invocation", b"it threw") == Failed("HTTP 500: it threw")
    assert parse_attempt(404, "ingress", b"no such service") == Failed("HTTP 404: no such service")


def test_an_answer_of_another_shape_is_a_failure() -> None:
    assert parse_attempt(200, None, b'{"begun": "1.0.1"}') == Failed('HTTP 200: {"begun": "1.0.1"}')
