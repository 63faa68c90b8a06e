from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gridiron.access.scopes import Kind, Scope
from gridiron.access.tokens import TokenStore
from gridiron.manager.tokens import PACE, PERIOD, TokenWatch
from gridiron.testing.objects import FakeObjects
from tests.unit.secrets.nodes import make_safe

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LOOK = "get shared/tokens.json"


class Time:
    """A clock that moves while somebody sleeps, and then only."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now += seconds


class Node:
    def __init__(self, directory: Path, bucket: FakeObjects) -> None:
        safe = make_safe(directory, bucket)
        self.store = TokenStore.of_cluster(directory / "manager", safe, directory.name)
        self.store.prepare(NOW)
        self.time = Time()
        self.watch = TokenWatch(self.store, self.time, self.time.sleep)

    def create(self) -> str:
        return self.store.create("ci", (Scope(Kind.READ),), None, NOW).text


@pytest.fixture
def bucket() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def one(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n1", bucket)


@pytest.fixture
def two(tmp_path: Path, bucket: FakeObjects) -> Node:
    return Node(tmp_path / "n2", bucket)


async def test_what_another_node_has_made_is_known_after_a_look(one: Node, two: Node) -> None:
    text = one.create()
    assert not two.store.knows(text)
    await two.watch.look()
    assert two.store.check(text, NOW).name == "ci"
    assert two.time.slept == []


async def test_looks_keep_their_distance(two: Node, bucket: FakeObjects) -> None:
    bucket.requests.clear()
    await two.watch.look()
    two.time.now += 0.25
    await two.watch.look()
    two.time.now += PACE.total_seconds()
    await two.watch.look()
    assert two.time.slept == [PACE.total_seconds() - 0.25]
    assert bucket.requests == [LOOK] * 3


async def test_all_who_wait_share_a_look_that_began_after_they_asked(
    one: Node, two: Node, bucket: FakeObjects
) -> None:
    await two.watch.look()
    two.time.now += 0.25
    text = one.create()
    bucket.requests.clear()

    async def ask() -> bool:
        await two.watch.look()
        return two.store.knows(text)

    assert await asyncio.gather(*(ask() for _ in range(50))) == [True] * 50
    assert bucket.requests == [LOOK]


async def test_a_look_that_somebody_gives_up_is_made_for_the_others(one: Node, two: Node) -> None:
    await two.watch.look()
    two.time.now += 0.25
    text = one.create()
    first = asyncio.create_task(two.watch.look())
    second = asyncio.create_task(two.watch.look())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert two.store.knows(text)


async def test_a_node_looks_again_and_again(one: Node, two: Node) -> None:
    text = one.create()
    token_id = one.store.check(text, NOW).token_id or ""
    known: list[bool] = []
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        known.append(two.store.knows(text))
        if len(slept) == 2:
            one.store.revoke(token_id)
        if len(slept) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await TokenWatch(two.store, lambda: 100.0 + 5 * len(slept), sleep).watch()
    assert known == [False, True, False, False]
    assert slept == [PERIOD.total_seconds()] * 4


async def test_a_bucket_that_is_away_is_told_once(two: Node, bucket: FakeObjects) -> None:
    with capture_logs() as logs:
        for away in (False, True, True, False, False):
            bucket.away = away
            await two.watch.look()
    assert [(each["event"], each["log_level"]) for each in logs] == [
        ("access.tokens_not_fresh", "warning"),
        ("access.tokens_fresh", "info"),
    ]


async def test_a_list_that_is_damaged_is_told_and_does_not_end_the_watch(
    two: Node, bucket: FakeObjects
) -> None:
    good = bucket.get("shared/tokens.json", 10_000).content
    bucket.put("shared/tokens.json", b"{}")
    with capture_logs() as logs:
        await two.watch.look()
    assert "shared/tokens.json" in logs[0]["reason"]
    assert [token.name for token in two.store.tokens] == ["admin.n2"]
    bucket.put("shared/tokens.json", good)
    await two.watch.look()
