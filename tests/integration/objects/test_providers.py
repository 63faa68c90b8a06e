"""What is sent to Google and to Azure: their own conditions. That they hold there was not tried."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from gridiron.errors import BucketRefused, BucketUnavailable, ObjectChanged, ObjectExists, ObjectMissing
from gridiron.objects.bucket import Bucket, open_bucket
from gridiron.objects.port import Found
from tests.integration.sources.origin import Answer, Origin, body, serving, status

LIMIT = 1000
GOOGLE = "gs://bucket/p"
AZURE = "az://container/p"
PATHS = {GOOGLE: "/bucket/p%2Fa", AZURE: "/container/p/a"}
DELETIONS = {GOOGLE: PATHS[GOOGLE], AZURE: "/container?restype=container&comp=batch"}


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """A server that this process takes for Google's and Azure's; both speak https only."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with serving(tls=context) as found:
        nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
        account = {"gcs_base_url": found.url, "disable_oauth": True, **nobody}
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", found.url)
        yield found


def serve(origin: Origin, url: str, answer: Answer) -> Bucket:
    origin.answers[PATHS[url]] = origin.answers[DELETIONS[url]] = answer
    return open_bucket(url)


def whole(content: bytes) -> Answer:
    modified_at = "Thu, 01 Oct 2026 00:00:00 GMT"
    return body(content, ETag='"e"', x_goog_generation="77", Last_Modified=modified_at)


def missing(url: str) -> Answer:
    word = "NoSuchKey" if url == GOOGLE else "BlobNotFound"
    return body(f'<?xml version="1.0"?><Error><Code>{word}</Code></Error>'.encode(), 404)


@pytest.mark.parametrize(
    ("url", "etag", "conditions"),
    [
        (GOOGLE, "77", [("x-goog-if-generation-match", "0"), ("x-goog-if-generation-match", "77")]),
        (AZURE, '"e"', [("if-none-match", "*"), ("if-match", '"e"')]),
    ],
)
def test_what_is_written_on_a_condition(
    origin: Origin, url: str, etag: str, conditions: list[tuple[str, str]]
) -> None:
    objects = serve(origin, url, whole(b"1"))
    assert objects.get("a", LIMIT) == Found(b"1", etag)
    assert objects.create("a", b"1") == objects.replace("a", b"1", etag) == etag
    sent = [{name.lower(): value for name, value in headers.items()} for headers in origin.headers[1:]]
    assert [headers.get(name) for headers, (name, _) in zip(sent, conditions, strict=True)] == [
        value for _, value in conditions
    ]


@pytest.mark.parametrize("url", [GOOGLE, AZURE])
def test_what_their_answers_mean(origin: Origin, url: str) -> None:
    objects = serve(origin, url, status(412))
    with pytest.raises(ObjectExists):
        objects.create("a", b"1")
    with pytest.raises(ObjectChanged):
        objects.replace("a", b"1", "77")
    serve(origin, url, missing(url))
    with pytest.raises(ObjectMissing):
        objects.get("a", LIMIT)
    serve(origin, url, status(403))
    with pytest.raises(BucketRefused, match=r"Give the node access: (GOOGLE|AZURE)_"):
        objects.get("a", LIMIT)
    serve(origin, url, status(404))
    with pytest.raises(BucketUnavailable):
        objects.get("a", LIMIT)


def test_what_google_has_not_is_deleted(origin: Origin) -> None:
    serve(origin, GOOGLE, missing(GOOGLE)).delete("a")
    assert origin.seen == [DELETIONS[GOOGLE]]


@pytest.mark.parametrize("told", ["202 Accepted", "404 The specified blob does not exist."])
def test_what_azure_has_not_is_deleted(origin: Origin, told: str) -> None:
    part = (
        f"Content-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {told}\r\nContent-Length: 0\r\n\r\n"
    )
    batch = f"--b\r\n{part}\r\n--b--\r\n".encode()
    serve(origin, AZURE, body(batch, 202, Content_Type="multipart/mixed; boundary=b")).delete("a")
    assert origin.seen == [DELETIONS[AZURE]]


@pytest.mark.parametrize(
    "url",
    [
        "bucket",
        "s3:/bucket",
        "s3://",
        "s3://b",
        "s3://Bucket",
        "https://bucket",
        "gs://bucket//a",
        "az://c/../d",
    ],
)
def test_what_is_no_url_of_a_bucket(url: str) -> None:
    with pytest.raises(BucketRefused, match=r"is no URL of a bucket \(s3://BUCKET") as caught:
        open_bucket(url)
    assert caught.value.bucket == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/a/b", "gs://my_bucket.example", "az://container/"]
)
def test_urls_of_buckets(origin: Origin, url: str) -> None:
    assert open_bucket(url, origin.url).url == url.rstrip("/")


def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BucketRefused, match="no URL of a server"):
        open_bucket("s3://bucket", "storage.internal:9000")
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", "garbage")
    with pytest.raises(BucketRefused, match="GOOGLE_APPLICATION_CREDENTIALS"):
        open_bucket("gs://bucket")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(BucketRefused, match="AZURE_STORAGE_ACCOUNT_NAME"):
        open_bucket("az://container")
