"""What a cluster may rely on in its bucket: the fake keeps it, and so does a real server of S3."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from gridiron.errors import (
    BucketRefused,
    BucketUnavailable,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    StorageFailed,
)
from gridiron.objects.bucket import open_bucket
from gridiron.objects.port import Objects
from gridiron.objects.probe import check_conditions
from gridiron.testing.objects import FakeObjects
from tests.seaweed import BUCKET, Seaweed

RACERS = 8
LIMIT = 1000
LARGE = bytes(range(256)) * 4096 * 8  # 8 MiB: more than one part, where an upload has parts
PATIENCE = 18
"""Seconds within which a bucket that is away is given up: three attempts of 5 s, and pauses."""

KEYS = [
    "cluster.json",
    "builds/demo-1.0.0-1790000000000/state",
    "builds/a-0.._-1/state",
    "builds/a-1.0.0-rc.1_x-1/state",
    "builds/a-Z--..-1/metadata.json",
    f"builds/{'a' * 63}-{'1' * 64}-1790000000000/{'0a' * 32}.tar.gz",
    "leases/a-",
    "shared/identity/publickeyv1_3xYz",
]


class World(Protocol):
    objects: Objects
    again: Objects  # the same objects, as another node has them

    def away(self) -> AbstractContextManager[None]:
        """Keep the bucket from answering."""


class FakeWorld:
    def __init__(self) -> None:
        self._fake = FakeObjects()
        self.objects: Objects = self._fake
        self.again: Objects = self._fake

    @contextmanager
    def away(self) -> Iterator[None]:
        self._fake.away = True
        yield
        self._fake.away = False


class RealWorld:
    def __init__(self, seaweed: Seaweed) -> None:
        self._seaweed = seaweed
        url = f"s3://{BUCKET}/{uuid4()}/gridiron"
        self.objects: Objects = open_bucket(url, seaweed.url)
        self.again: Objects = open_bucket(url, seaweed.url)

    @contextmanager
    def away(self) -> Iterator[None]:
        os.kill(self._seaweed.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._seaweed.pid, signal.SIGCONT)


@pytest.fixture
def aws(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seaweed:
    """A server that this process has credentials for, and for no other."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return seaweed


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return FakeWorld()
    return RealWorld(request.getfixturevalue("aws"))


@pytest.fixture
def objects(world: World) -> Objects:
    return world.objects


def race(attempt: Callable[[bytes], str]) -> dict[bytes, str]:
    """Let threads attempt the same, each with content of its own; give the ETags of those that won."""

    def run(content: bytes) -> str | None:
        try:
            return attempt(content)
        except (ObjectExists, ObjectChanged):
            return None

    contents = [b"%d %d" % (number, time.monotonic_ns()) for number in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        got = zip(contents, pool.map(run, contents), strict=True)
        return {content: etag for content, etag in got if etag is not None}


# -- small objects ---------------------------------------------------------------------------------------


def test_what_was_put_is_there_for_all(world: World) -> None:
    etag = world.objects.put("a/b", b"first")
    found = world.again.get("a/b", LIMIT)
    assert (found.content, found.etag) == (b"first", etag)
    changed = world.again.put("a/b", b"second")
    assert changed != etag
    assert world.objects.get("a/b", LIMIT).content == b"second"


def test_an_empty_object(objects: Objects) -> None:
    etag = objects.create("empty", b"")
    assert objects.get("empty", 0).content == b""
    assert objects.replace("empty", b"x", etag) == objects.get("empty", 1).etag


def test_what_is_not_there(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing) as caught:
        objects.get("nothing", LIMIT)
    assert (caught.value.bucket, caught.value.key) == (objects.url, "nothing")
    with pytest.raises(ObjectMissing):
        objects.fetch("nothing", tmp_path / "file", "0a" * 32)
    with pytest.raises(ObjectChanged):
        objects.replace("nothing", b"x", objects.put("something", b"y"))
    assert [each.key for each in objects.list("")] == ["something"]


def test_an_object_over_the_limit(objects: Objects) -> None:
    objects.put("a", b"12345")
    assert objects.get("a", 5).content == b"12345"
    with pytest.raises(ObjectDamaged, match="more than 4 bytes"):
        objects.get("a", 4)


def test_what_is_there_is_not_made_again(world: World) -> None:
    etag = world.objects.create("a", b"first")
    for content in (b"second", b"first"):
        with pytest.raises(ObjectExists) as caught:
            world.again.create("a", content)
        assert (caught.value.bucket, caught.value.key) == (world.objects.url, "a")
    found = world.objects.get("a", LIMIT)
    assert (found.content, found.etag) == (b"first", etag)


def test_only_what_is_still_the_same_is_replaced(world: World) -> None:
    first = world.objects.create("a", b"first")
    second = world.again.replace("a", b"second", first)
    with pytest.raises(ObjectChanged) as caught:
        world.objects.replace("a", b"third", first)
    assert (caught.value.bucket, caught.value.key) == (world.objects.url, "a")
    found = world.objects.get("a", LIMIT)
    assert (found.content, found.etag) == (b"second", second)


def test_what_was_deleted_is_gone_and_can_be_made_again(world: World) -> None:
    etag = world.objects.create("a/b", b"1")
    world.objects.put("a/c", b"2")
    world.objects.delete("a/b")
    world.again.delete("a/b")
    with pytest.raises(ObjectMissing):
        world.again.get("a/b", LIMIT)
    with pytest.raises(ObjectChanged):
        world.again.replace("a/b", b"3", etag)
    assert world.again.create("a/b", b"4")
    assert [each.key for each in world.objects.list("a")] == ["a/b", "a/c"]


@pytest.mark.parametrize("key", KEYS)
def test_keys(objects: Objects, key: str) -> None:
    etag = objects.create(key, b"1")
    objects.replace(key, b"2", etag)
    assert objects.get(key, LIMIT).content == b"2"
    assert [each.key for each in objects.list("")] == [key]
    objects.delete(key)
    assert objects.list("") == ()


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", ".", "a/.b", "a b", "ä", "a\n", "a%2Fb"])
def test_what_is_no_key(objects: Objects, tmp_path: Path, key: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: objects.get(key, LIMIT),
        lambda: objects.fetch(key, tmp_path / "file", "0a" * 32),
        lambda: objects.create(key, b""),
        lambda: objects.create_from(key, Path(__file__)),
        lambda: objects.replace(key, b"", '"etag"'),
        lambda: objects.put(key, b""),
        lambda: objects.delete(key),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match="no key"):
            attempt()
    assert objects.list("") == ()


# -- races -----------------------------------------------------------------------------------------------


def test_of_several_who_create_one_does(world: World) -> None:
    for key in ("race/1", "race/2", "race/3", "race/4"):
        won = race(partial(world.objects.create, key))
        found = world.again.get(key, LIMIT)
        assert won == {found.content: found.etag}


def test_of_several_who_replace_one_does(world: World) -> None:
    etag = world.objects.create("race", b"none")
    for _ in range(4):
        won = race(partial(world.objects.replace, "race", etag=etag))
        found = world.again.get("race", LIMIT)
        assert won == {found.content: found.etag}
        assert found.etag != etag
        etag = found.etag


def test_conditions_are_found_to_hold(objects: Objects) -> None:
    check_conditions(objects)
    assert objects.list("") == ()


# -- lists -----------------------------------------------------------------------------------------------


def test_a_list(objects: Objects) -> None:
    before = datetime.now(UTC)
    contents = {"a/b": b"1", "a/b/c": b"22", "a/bc": b"333", "a-b/c": b"4", "ab": b"5"}
    for key, content in contents.items():
        objects.put(key, content)
    listed = objects.list("a")
    assert [(each.key, each.size) for each in listed] == [("a/b", 1), ("a/b/c", 2), ("a/bc", 3)]
    assert len({each.etag for each in listed}) == 3
    assert listed == objects.list("a")
    assert all(abs(each.modified_at - before) < timedelta(minutes=1) for each in listed)
    assert [each.key for each in objects.list("a/b")] == ["a/b/c"]
    assert [each.key for each in objects.list("")] == sorted(contents)
    assert objects.list("a/b/c") == objects.list("nothing") == ()


def test_a_list_of_more_than_a_page(objects: Objects) -> None:
    keys = [f"many/{number:04}" for number in range(1050)]
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(lambda key: objects.put(key, b""), keys))
    assert [each.key for each in objects.list("many")] == keys


# -- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"small", LARGE], ids=["empty", "small", "large"])
def test_a_file_there_and_back(world: World, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").write_bytes(content)
    (tmp_path / "in").write_bytes(b"what was there before, and is longer")
    world.objects.create_from("file", tmp_path / "out")
    world.again.fetch("file", tmp_path / "in", hashlib.sha256(content).hexdigest())
    assert (tmp_path / "in").read_bytes() == content


def test_a_file_is_made_once(objects: Objects, tmp_path: Path) -> None:
    objects.create("file", b"first")
    (tmp_path / "out").write_bytes(LARGE)
    with pytest.raises(ObjectExists):
        objects.create_from("file", tmp_path / "out")
    assert objects.get("file", LIMIT).content == b"first"


def test_content_that_is_not_what_it_should_be(objects: Objects, tmp_path: Path) -> None:
    objects.put("file", LARGE[:-1] + b"x")
    with pytest.raises(ObjectDamaged, match="sha256") as caught:
        objects.fetch("file", tmp_path / "in", hashlib.sha256(LARGE).hexdigest())
    assert (caught.value.bucket, caught.value.key) == (objects.url, "file")
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_or_written(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        objects.create_from("file", tmp_path / "nothing")
    assert objects.list("") == ()
    objects.put("file", b"x")
    with pytest.raises(StorageFailed):
        objects.fetch("file", tmp_path / "nothing" / "in", hashlib.sha256(b"x").hexdigest())


# -- a bucket that cannot be used ------------------------------------------------------------------------


def test_a_bucket_that_is_away(world: World, tmp_path: Path) -> None:
    etag = world.objects.create("a", b"1")
    (tmp_path / "file").write_bytes(b"x")
    attempts: list[Callable[[], object]] = [
        lambda: world.objects.get("a", LIMIT),
        lambda: world.objects.fetch("a", tmp_path / "in", "0a" * 32),
        lambda: world.objects.create("b", b"1"),
        lambda: world.objects.create_from("c", tmp_path / "file"),
        lambda: world.objects.replace("a", b"2", etag),
        lambda: world.objects.put("d", b"1"),
        lambda: world.objects.delete("a"),
        lambda: world.objects.list(""),
    ]
    began = time.monotonic()
    with world.away(), ThreadPoolExecutor(len(attempts)) as pool:
        raised = [each.exception() for each in [pool.submit(attempt) for attempt in attempts]]
    assert time.monotonic() - began < PATIENCE
    assert [type(each) for each in raised] == [BucketUnavailable] * len(attempts)
    assert world.objects.url in str(raised[0])
    assert not (tmp_path / "in").exists()
    assert isinstance(world.objects.list(""), tuple)


def test_a_bucket_that_nobody_serves(aws: Seaweed) -> None:
    objects = open_bucket("s3://bundles/gridiron", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(BucketUnavailable, match="there is no connection"):
        objects.get("a", LIMIT)
    assert time.monotonic() - began < 5
    assert aws.is_ready()


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials(aws: Seaweed, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "wrong")
    objects = open_bucket("s3://bundles/gridiron", aws.url)
    attempts: list[Callable[[], object]] = [
        lambda: objects.get("a", LIMIT),
        lambda: objects.create("a", b"1"),
        lambda: objects.replace("a", b"1", '"etag"'),
        lambda: objects.delete("a"),
        lambda: objects.list(""),
    ]
    for attempt in attempts:
        with pytest.raises(BucketRefused, match=r"answers 403 Forbidden .*AWS_ACCESS_KEY_ID") as caught:
            attempt()
        assert caught.value.bucket == "s3://bundles/gridiron"


def test_a_bucket_that_there_is_not(aws: Seaweed) -> None:
    objects = open_bucket("s3://no-such-bucket/gridiron", aws.url)
    for attempt in (lambda: objects.get("a", LIMIT), lambda: objects.list("")):
        with pytest.raises(BucketRefused, match="there is no such bucket"):
            attempt()
