from __future__ import annotations

import asyncio
from collections import Counter

import httpx2
import pytest

from gridiron.errors import GridironError, ManagerStopping, SourceUnreachable, StorageFailed
from gridiron.manager.api import PROBLEM_MEDIA_TYPE
from gridiron.manager.fetching import FETCHES, Fetching, make_fetching_app
from gridiron.model import Address

HELLO = Address(name="hello", version="1.0.0", timestamp=7)
AWAY = SourceUnreachable("s3://gridiron", "no route")


class Bucket:
    """What `ensure` does: it says when a fetch may end, and what comes of it."""

    def __init__(self) -> None:
        self.outcome: bool | Exception = True
        self.begun: Counter[Address] = Counter()
        self.running = self.most = 0
        self.may_end = asyncio.Event()

    async def ensure(self, address: Address) -> bool:
        self.begun[address] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.may_end.wait()
        finally:
            self.running -= 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def asked(fetching: Fetching, *addresses: Address) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(fetching(address)) for address in addresses]
    for _ in range(5):  # turns of the loop, in which each gets as far as it can
        await asyncio.sleep(0)
    return tasks


def builds(count: int) -> list[Address]:
    return [HELLO.model_copy(update={"timestamp": number}) for number in range(count)]


async def test_all_who_ask_for_a_build_share_one_fetch() -> None:
    bucket = Bucket()
    fetching = Fetching(bucket.ensure)
    tasks = await asked(fetching, *[HELLO] * 50)
    bucket.may_end.set()
    assert await asyncio.gather(*tasks) == [True] * 50
    assert bucket.begun == {HELLO: 1}
    bucket.outcome = False
    assert await fetching(HELLO) is False
    assert bucket.begun == {HELLO: 2}


async def test_a_few_builds_are_fetched_at_once() -> None:
    bucket = Bucket()
    tasks = await asked(Fetching(bucket.ensure), *builds(3 * FETCHES))
    assert bucket.running == FETCHES
    bucket.may_end.set()
    assert await asyncio.gather(*tasks) == [True] * 3 * FETCHES
    assert (bucket.most, bucket.begun.total()) == (FETCHES, 3 * FETCHES)


async def test_who_gives_up_leaves_the_fetch_to_those_who_come_again() -> None:
    bucket = Bucket()
    fetching = Fetching(bucket.ensure)
    (first,) = await asked(fetching, HELLO)
    first.cancel()
    await asyncio.wait({first})
    (second,) = await asked(fetching, HELLO)
    bucket.may_end.set()
    assert await second
    assert bucket.begun == {HELLO: 1}


@pytest.mark.parametrize("failure", [AWAY, ZeroDivisionError()])
async def test_all_are_told_of_a_failure_and_the_next_are_not(failure: Exception) -> None:
    bucket = Bucket()
    bucket.outcome = failure
    fetching = Fetching(bucket.ensure)
    tasks = await asked(fetching, HELLO, HELLO)
    bucket.may_end.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [failure, failure]
    bucket.outcome = True
    assert await fetching(HELLO)


async def test_a_failure_of_what_nobody_waits_for_any_more_is_told_by_the_log_alone() -> None:
    bucket = Bucket()
    bucket.outcome = AWAY
    fetching = Fetching(bucket.ensure)
    (task,) = await asked(fetching, HELLO)
    task.cancel()
    await asyncio.wait({task})
    bucket.may_end.set()
    await asked(fetching)
    bucket.outcome = True
    assert await fetching(HELLO)
    assert bucket.begun == {HELLO: 2}


async def test_whoever_waits_when_it_is_stopped_is_told() -> None:
    bucket = Bucket()
    fetching = Fetching(bucket.ensure)
    tasks = await asked(fetching, *builds(2 * FETCHES))
    for _ in range(2):
        await fetching.stop()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ManagerStopping] * 2 * FETCHES
    assert bucket.running == 0
    with pytest.raises(ManagerStopping):
        await fetching(HELLO)
    assert bucket.begun.total() == FETCHES


# -- what is answered ------------------------------------------------------------------------------------


async def ask(outcome: bool | Exception, target: str, method: str = "POST") -> tuple[httpx2.Response, Bucket]:
    bucket = Bucket()
    bucket.outcome = outcome
    bucket.may_end.set()
    transport = httpx2.ASGITransport(make_fetching_app(Fetching(bucket.ensure)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://manager") as client:
        return await client.request(method, target), bucket


async def test_a_build_that_was_fetched() -> None:
    response, bucket = await ask(True, f"/builds{HELLO.path}")
    assert (response.status_code, response.content) == (200, b"")
    assert bucket.begun == {HELLO: 1}


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (False, 404, "build_not_found"),
        (AWAY, 503, AWAY.code),
        (StorageFailed("Writing", "/x", "full"), 503, "storage_failed"),
    ],
)
async def test_a_build_that_was_not(outcome: bool | GridironError, status: int, code: str) -> None:
    response, _ = await ask(outcome, f"/builds{HELLO.path}")
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM_MEDIA_TYPE)
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    if isinstance(outcome, GridironError):
        assert problem["detail"] == str(outcome)


@pytest.mark.parametrize(
    "path", ["/", "/x", "/x/1", "/Hello/1-1", "/hello/1-01", "/../x/1-1", "/a/b/1-1", f"/a/1-{'9' * 5000}"]
)
async def test_what_is_no_address_is_no_build(path: str) -> None:
    response, bucket = await ask(True, f"/builds{path}")
    assert (response.status_code, bucket.begun) == (404, {})


async def test_nothing_else_is_answered() -> None:
    assert (await ask(True, f"/builds{HELLO.path}", "GET"))[0].status_code == 405
    assert (await ask(True, HELLO.path))[0].status_code == 404
