"""Texts as obstore gives them, shortened where nobody looks."""

from __future__ import annotations

import pytest

from gridiron.objects.failure import Failure, Verdict, parse_failure

DETAILS = """

Debug source:
Generic {
    store: "S3",
    source: RetryError(
        RetryErrorImpl {
            method: GET,
            inner: Http(
                HttpError {
                    kind: %s,
                    source: reqwest::Error {
                        kind: Request,"""

MISSING = """Object at location p/a not found: Error performing GET http://127.0.0.1:1/b/p/a in 4.1ms - \
Server returned non-2xx status code: 404 Not Found: <?xml version="1.0" encoding="UTF-8"?>
<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>p/a</Key></Error>"""

REDIRECT = (
    "Generic S3 error: Error performing GET http://127.0.0.1:1/b/p/a in 1ms - Received redirect without "
    "LOCATION, this normally indicates an incorrectly configured region"
)


def answer(status: str, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code></Error>" if code else "no"
    begin = "Generic S3 error: Error performing PUT http://127.0.0.1:1/bundles/p/a in 4.1ms"
    return f"{begin} - Server returned non-2xx status code: {status}: {body}{DETAILS % 'Status'}"


def test_what_is_read_of_an_answer() -> None:
    assert parse_failure(MISSING) == Failure(404, "NoSuchKey", "it answers 404 Not Found (NoSuchKey)")
    assert parse_failure(answer("503 Service Unavailable")) == Failure(
        503, None, "it answers 503 Service Unavailable"
    )


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("Connect", "there is no connection"),
        ("Timeout", "there was no answer in time"),
        ("Interrupted", "HTTP error: error sending request"),
    ],
)
def test_what_is_read_where_there_was_no_answer(kind: str, reason: str) -> None:
    begin = "Generic S3 error: Error performing GET http://127.0.0.1:9/bundles/p/a in 212.8µs - "
    text = f"{begin}HTTP error: error sending request{DETAILS % kind}"
    assert parse_failure(text) == Failure(None, None, reason)
    assert parse_failure(text).verdict is Verdict.MAY_PASS


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (MISSING, Verdict.MISSING),
        (answer("404 The specified blob does not exist.", "BlobNotFound"), Verdict.MISSING),
        (answer("404 Not Found", "NoSuchBucket"), Verdict.NO_BUCKET),
        (answer("404 Not Found", "ContainerNotFound"), Verdict.NO_BUCKET),
        # of something in between, which knows nothing of the bucket
        (answer("404 Not Found"), Verdict.MAY_PASS),
        (answer("404 Not Found", "RouteUnknown"), Verdict.MAY_PASS),
        (answer("403 Forbidden", "InvalidAccessKeyId"), Verdict.DENIED),
        (answer("401 Unauthorized"), Verdict.DENIED),
        (answer("400 Bad Request", "AuthorizationHeaderMalformed"), Verdict.REFUSED),
        (answer("400 Bad Request", "RequestTimeout"), Verdict.MAY_PASS),
        (answer("409 Conflict", "ConditionalRequestConflict"), Verdict.MAY_PASS),
        (answer("412 Precondition Failed", "PreconditionFailed"), Verdict.REFUSED),
        (answer("429 Too Many Requests"), Verdict.MAY_PASS),
        (answer("500 Internal Server Error"), Verdict.MAY_PASS),
        (answer("501 Not Implemented", "NotImplemented"), Verdict.REFUSED),
        (answer("503 Slow Down", "SlowDown"), Verdict.MAY_PASS),
        (REDIRECT, Verdict.REFUSED),
        ("Generic S3 error: Unable to extract metadata from headers: ETag Header missing", Verdict.MAY_PASS),
    ],
)
def test_what_an_answer_means(text: str, verdict: Verdict) -> None:
    assert parse_failure(text).verdict is verdict


@pytest.mark.parametrize(
    ("told", "failure", "verdict"),
    [
        (
            "The specified blob does not exist. (code: 404)",
            Failure(404, "BlobNotFound", "it answers The specified blob does not exist. (404)"),
            Verdict.MISSING,
        ),
        ("No (code: 403)", Failure(403, None, "it answers No (403)"), Verdict.DENIED),
        ("Busy (code: 503)", Failure(503, None, "it answers Busy (503)"), Verdict.MAY_PASS),
        (
            "Access Denied (code: AccessDenied)",
            Failure(None, "AccessDenied", "it answers Access Denied (AccessDenied)"),
            Verdict.DENIED,
        ),
        (
            "We failed (code: InternalError)",
            Failure(None, "InternalError", "it answers We failed (InternalError)"),
            Verdict.MAY_PASS,
        ),
    ],
)
def test_what_is_read_of_a_deletion(told: str, failure: Failure, verdict: Verdict) -> None:
    found = parse_failure(f"Generic S3 error: Bulk delete request failed for key p/a: {told}")
    assert (found, found.verdict) == (failure, verdict)
