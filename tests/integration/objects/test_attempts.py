"""Requests to a bucket that are made again: on a wire that loses answers, and to a server that misbehaves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gridiron.errors import (
    BucketRefused,
    BucketUnavailable,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
)
from gridiron.objects.bucket import ATTEMPTS, Bucket, open_bucket
from gridiron.objects.port import Found
from tests.integration.objects.relay import Relay, relaying
from tests.integration.sources.origin import (
    Answer,
    Origin,
    body,
    cut,
    drip,
    hang_up,
    in_turn,
    silence,
    status,
)
from tests.seaweed import SECRET_KEY, Seaweed

LIMIT = 1000
CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def relay(seaweed: Seaweed) -> Iterator[Relay]:
    with relaying(seaweed.url) as found:
        yield found


@pytest.fixture
def url() -> str:
    return f"s3://bundles/{uuid4()}"


@pytest.fixture
def shaky(url: str, relay: Relay) -> Bucket:
    """A bucket on a wire that loses answers when it is told to."""
    return open_bucket(url, relay.url)


@pytest.fixture
def steady(url: str, seaweed: Seaweed) -> Bucket:
    """The same bucket, as another node has it."""
    return open_bucket(url, seaweed.url)


# -- answers that are lost -------------------------------------------------------------------------------


def test_a_write_whose_answer_is_lost_counts_as_ones_own(shaky: Bucket, steady: Bucket, relay: Relay) -> None:
    relay.losing = 1
    etag = shaky.create("a", b"mine")
    assert steady.get("a", LIMIT) == Found(b"mine", etag)
    relay.losing = 2
    etag = shaky.replace("a", b"mine, too", etag)
    assert steady.get("a", LIMIT) == Found(b"mine, too", etag)
    assert relay.lost == 2


def test_somebody_elses_write_does_not(shaky: Bucket, steady: Bucket, relay: Relay) -> None:
    etag = steady.create("a", b"theirs")
    relay.losing = 1
    with pytest.raises(ObjectExists):
        shaky.create("a", b"mine")
    steady.replace("a", b"theirs, too", etag)
    relay.losing = 2
    with pytest.raises(ObjectChanged):
        shaky.replace("a", b"mine", etag)
    assert steady.get("a", LIMIT).content == b"theirs, too"
    assert relay.lost == 2


def test_a_file_whose_answer_is_lost_is_there(
    shaky: Bucket, steady: Bucket, relay: Relay, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(CONTENT)
    relay.losing = 1
    with pytest.raises(ObjectExists):
        shaky.create_from("a", tmp_path / "out")
    steady.fetch("a", tmp_path / "in", SHA256)
    assert (tmp_path / "in").read_bytes() == CONTENT


def test_what_may_be_repeated_is(shaky: Bucket, steady: Bucket, relay: Relay, tmp_path: Path) -> None:
    steady.put("file", CONTENT)
    relay.losing = ATTEMPTS - 1
    shaky.put("a", b"1")
    relay.losing += ATTEMPTS - 1
    assert shaky.get("a", LIMIT).content == b"1"
    relay.losing += ATTEMPTS - 1
    assert [each.key for each in shaky.list("")] == ["a", "file"]
    relay.losing += ATTEMPTS - 1
    shaky.fetch("file", tmp_path / "in", SHA256)
    assert (tmp_path / "in").read_bytes() == CONTENT
    relay.losing += ATTEMPTS - 1
    shaky.delete("a")
    with pytest.raises(ObjectMissing):
        steady.get("a", LIMIT)
    assert relay.lost == relay.losing


def test_a_wire_that_loses_each_answer(shaky: Bucket, steady: Bucket, relay: Relay) -> None:
    relay.losing = 1000
    with pytest.raises(BucketUnavailable) as caught:
        shaky.create("a", b"mine")
    assert caught.value.bucket == shaky.url
    assert relay.lost == ATTEMPTS
    assert steady.get("a", LIMIT).content == b"mine"


# -- a server that misbehaves ----------------------------------------------------------------------------


def imposter(origin: Origin, answer: Answer) -> Bucket:
    origin.answers["/bundles/p/a"] = answer
    return open_bucket("s3://bundles/p", origin.url)


def whole(content: bytes) -> Answer:
    return body(content, Last_Modified="Thu, 01 Oct 2026 00:00:00 GMT", ETag='"e"')


def broken(content: bytes, at: int) -> Answer:
    return cut(content, at, Last_Modified="Thu, 01 Oct 2026 00:00:00 GMT", ETag='"e"')


def refusal(code: int, word: str) -> Answer:
    return body(f'<?xml version="1.0"?>\n<Error><Code>{word}</Code></Error>'.encode(), code)


@pytest.mark.parametrize(
    "failure", [status(500), status(503), status(429), status(404), hang_up, broken(CONTENT, 99_000)]
)
def test_what_may_pass_is_asked_for_again(origin: Origin, tmp_path: Path, failure: Answer) -> None:
    objects = imposter(origin, in_turn(*[failure] * (ATTEMPTS - 1), whole(CONTENT)))
    objects.fetch("a", tmp_path / "in", SHA256)
    assert (tmp_path / "in").read_bytes() == CONTENT
    assert len(origin.seen) == ATTEMPTS


@pytest.mark.parametrize("failure", [status(500), status(404), hang_up, broken(CONTENT, 99_000)])
def test_what_does_not_pass_is_given_up(origin: Origin, tmp_path: Path, failure: Answer) -> None:
    """Also a 404 that is not the bucket's own: what is not known to be missing is not missing."""
    objects = imposter(origin, failure)
    with pytest.raises(BucketUnavailable) as caught:
        objects.fetch("a", tmp_path / "in", SHA256)
    assert SECRET_KEY not in str(caught.value)
    assert len(origin.seen) == ATTEMPTS
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(403, "AccessDenied"), "it answers 403 Forbidden (AccessDenied)"),
        (refusal(400, "AuthorizationHeaderMalformed"), "it answers 400 Bad Request"),
        (refusal(501, "NotImplemented"), "it answers 501 Not Implemented"),
        (status(301), "Received redirect without LOCATION"),
        (refusal(404, "NoSuchBucket"), "there is no such bucket"),
    ],
)
def test_what_is_refused_is_not_asked_for_again(origin: Origin, answer: Answer, reason: str) -> None:
    objects = imposter(origin, answer)
    attempts: list[Callable[[], object]] = [
        lambda: objects.get("a", LIMIT),
        lambda: objects.create("a", b"1"),
    ]
    for number, attempt in enumerate(attempts, 1):
        with pytest.raises(BucketRefused) as caught:
            attempt()
        assert caught.value.reason.startswith(reason)
        assert len(origin.seen) == number


def test_a_write_that_met_another_is_made_again(origin: Origin) -> None:
    conflict = refusal(409, "ConditionalRequestConflict")
    writes: list[Callable[[Bucket], object]] = [
        lambda objects: objects.create("a", b"1"),
        lambda objects: objects.replace("a", b"1", '"d"'),
    ]
    for write in writes:
        assert write(imposter(origin, in_turn(conflict, conflict, whole(b"")))) == '"e"'
        with pytest.raises(BucketUnavailable, match="had not ended"):
            write(imposter(origin, conflict))


def test_an_object_without_an_etag(origin: Origin) -> None:
    with pytest.raises(BucketRefused, match="gives no ETags"):
        imposter(origin, body(b"1", Last_Modified="Thu, 01 Oct 2026 00:00:00 GMT")).get("a", LIMIT)


@pytest.mark.parametrize("answer", [silence, drip])
def test_a_server_that_takes_its_time(origin: Origin, answer: Answer) -> None:
    objects, began = imposter(origin, answer), time.monotonic()
    with pytest.raises(BucketUnavailable, match="no answer in time"):
        objects.get("a", 2_000_000)
    assert 10 <= time.monotonic() - began < 12
    assert len(origin.seen) == 2
