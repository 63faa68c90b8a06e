"""Leases: what one node of a cluster does alone, such as activating a build of a name.

A lease is an object `leases/{name}` that says which node holds it. Its holder writes it anew every few
seconds, on the condition that it is as the holder wrote it last. Whoever waits takes it over on the same
condition, once it has been given back, or has not changed for LEASE by the clock of the one who waits: no two
clocks are compared. Each content is new (a nonce of the holder, and a count), so that no ETag comes back.

A holder relies on a lease for LEASE / 2 after it began to write it last, and nobody takes it over before
LEASE: so what is begun right after `check` has the other half to come to its end. A process that is stopped
between a `check` and what it does next is not kept from doing it when it goes on. What must never be done
twice has to be a write on a condition itself.

The object stays when a lease is given back: it cannot be deleted on a condition.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from gridiron.errors import (
    BucketRefused,
    BucketUnavailable,
    LeaseLost,
    LeaseTaken,
    ObjectChanged,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
)
from gridiron.objects.port import Objects

log = structlog.get_logger()

LEASE = timedelta(seconds=15)
"""Without a change, after which a lease is taken over. The longest attempt at a request takes 5 s
(gridiron.objects.transfer), and one of those may fail without a holder losing what it does."""

RELIED_ON = LEASE / 2
"""Since its last renewal began; the rest is for what a holder has begun, and for clocks that run unevenly."""

RENEWED = timedelta(seconds=2)
"""Between two renewals: a request that takes its 5 s in vain, and the next, still fit into RELIED_ON."""

LOOKED_AT = timedelta(seconds=1)
"""Between two looks of one who waits."""

GIVE_BACK_LIMIT = timedelta(seconds=5)
"""A lease that was not given back by then runs out by itself; a manager that stops does not wait for more."""

SIZE_LIMIT = 4096
"""Bytes of a lease; it has about 100."""

UNKNOWN = "unknown"
"""Stands for the name of a node that could not be read."""

T = TypeVar("T")


class Call(Protocol):
    """Has a blocking function called without blocking the loop, as asyncio.to_thread does."""

    def __call__(self, blocking: Callable[[], T], /) -> Awaitable[T]:
        """Call `blocking`, and give or raise what it does. Where this is cancelled, it may go on."""


def read_clock() -> float:
    """Give the seconds since the machine started, with the time that it was asleep where Linux counts it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Held(BaseModel):
    """What the object of a lease says."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # a newer version may say more

    node: str
    nonce: str  # of one holding of the lease
    count: int  # of what its holder has written
    given_back: bool


@dataclass(slots=True)
class Lease:
    """A lease that this node holds, until `check` says otherwise."""

    name: str
    clock: Callable[[], float]
    held: Held  # as it was to be written last
    etag: str  # as it was written last, as far as that is known
    renewed_at: float  # by the clock: when the last write that is known to be done began
    lost: bool = False  # whether somebody else has it

    def check(self) -> None:
        """Raise LeaseLost where another node may hold it by now. What is done next has LEASE / 2 for it."""
        age = self.clock() - self.renewed_at
        if self.lost:
            raise LeaseLost(self.name, "another node has taken it over")
        if age > RELIED_ON.total_seconds():
            raise LeaseLost(self.name, f"the bucket has not confirmed it for {age:.0f} s")


class Leases:
    """The leases of a node. Within one process, one at a time may ask for a name."""

    def __init__(
        self,
        objects: Objects,
        node: str,
        clock: Callable[[], float] = read_clock,
        call: Call = asyncio.to_thread,
    ) -> None:
        """Take the bucket, and the node's name; `clock` gives seconds, and never goes back."""
        self._objects = objects
        self._node = node
        self._clock = clock
        self._call = call

    @asynccontextmanager
    async def hold(self, name: str, limit: timedelta) -> AsyncIterator[Lease]:
        """Wait until this node alone holds the lease of a name, keep it for the block, and give it back.

        A holder that died is outlasted by a `limit` of some seconds more than LEASE only. Raises LeaseTaken
        when `limit` is over, BucketUnavailable or BucketRefused as soon as the bucket cannot be used, and
        LeaseLost where it answers too slowly; within the block, only `check` says that the lease may be lost.
        What the block raises comes out as it is. What cannot be given back, as when this is cancelled while
        it takes the lease, runs out by itself.
        """
        lease = await self._take(name, limit)
        try:
            lease.check()  # the answer may have taken its time
            async with _beside(self._keep(lease), f"renew the lease of {name}"):
                yield lease
        finally:
            await self._give_back(lease)

    # -- taking it -----------------------------------------------------------------------------------------

    async def _take(self, name: str, limit: timedelta) -> Lease:
        ends_at, watch = self._clock() + limit.total_seconds(), _Watch()
        while True:
            lease = await self._look(name, watch)
            if lease is not None:
                return lease
            left = ends_at - self._clock()
            if left <= 0:
                raise LeaseTaken(name, watch.holder, round(limit.total_seconds()))
            await asyncio.sleep(min(left, LOOKED_AT.total_seconds()))

    async def _look(self, name: str, watch: _Watch) -> Lease | None:
        """Take a lease that is free or has run out; None where there is none."""
        key, asked_at = _key_of(name), self._clock()
        try:
            found = await self._call(partial(self._objects.get, key, SIZE_LIMIT))
        except ObjectMissing:
            return await self._take_by(name, partial(self._objects.create, key))
        held = parse_held(found.content)
        watch.holder = held.node if held else UNKNOWN
        unchanged = watch.see(found.etag, asked_at, self._clock())
        if unchanged < LEASE and not (held and held.given_back):
            return None
        return await self._take_by(name, partial(self._objects.replace, key, etag=found.etag))

    async def _take_by(self, name: str, write: Callable[[bytes], str]) -> Lease | None:
        """Take a lease by its first write; None where somebody else was first."""
        began = self._clock()
        held = Held(node=self._node, nonce=uuid4().hex, count=0, given_back=False)
        try:
            etag = await self._call(partial(write, render_held(held)))
        except (ObjectExists, ObjectChanged):
            return None
        return Lease(name, self._clock, held, etag, began)

    # -- keeping it, and giving it back --------------------------------------------------------------------

    async def _keep(self, lease: Lease) -> None:
        """Renew a lease again and again, until somebody else has it."""
        while not lease.lost:
            await asyncio.sleep(RENEWED.total_seconds())
            try:
                await self._write(lease)
            except (BucketUnavailable, BucketRefused) as error:
                log.warning("lease.not_renewed", name=lease.name, reason=str(error))
        log.warning("lease.lost", name=lease.name)

    async def _give_back(self, lease: Lease) -> None:
        if lease.lost:
            return
        try:
            async with asyncio.timeout(GIVE_BACK_LIMIT.total_seconds()):
                await self._write(lease, given_back=True)
        except (BucketUnavailable, BucketRefused) as error:
            log.warning("lease.not_given_back", name=lease.name, reason=str(error))
        except TimeoutError:
            log.warning("lease.not_given_back", name=lease.name, reason="the bucket did not answer in time")

    async def _write(self, lease: Lease, *, given_back: bool = False) -> None:
        """Write a lease anew, or find that it is somebody else's. Raises BucketUnavailable, BucketRefused."""
        if await self._replace(lease, given_back=given_back):
            return
        # perhaps a write of its own was done whose answer was lost, or not waited for: one at the most
        etag = await self._find_own(lease)
        if etag is not None:
            lease.etag = etag
            if await self._replace(lease, given_back=given_back):
                return
        lease.lost = True

    async def _replace(self, lease: Lease, *, given_back: bool) -> bool:
        """Write a lease over what its holder knows; False where it is another."""
        began = self._clock()
        lease.held = lease.held.model_copy(update={"count": lease.held.count + 1, "given_back": given_back})
        write = partial(self._objects.replace, _key_of(lease.name), render_held(lease.held), lease.etag)
        try:
            lease.etag = await self._call(write)
        except ObjectChanged:
            return False
        lease.renewed_at = began
        return True

    async def _find_own(self, lease: Lease) -> str | None:
        """Give the ETag of a lease that is still the holder's; None where it is not."""
        try:
            found = await self._call(partial(self._objects.get, _key_of(lease.name), SIZE_LIMIT))
        except (ObjectMissing, ObjectDamaged):
            return None
        held = parse_held(found.content)
        return found.etag if held and held.nonce == lease.held.nonce else None


def parse_held(content: bytes) -> Held | None:
    """Read the object of a lease; None where it is not understood, so that nobody knows who holds it."""
    try:
        return Held.model_validate_json(content)
    except ValidationError:
        return None


def render_held(held: Held) -> bytes:
    """Write the object of a lease."""
    return held.model_dump_json().encode()


@dataclass(slots=True)
class _Watch:
    """What one who waits has seen of a lease."""

    holder: str = UNKNOWN
    etag: str | None = None
    since: float = 0.0  # by the clock: when it was seen first with this ETag

    def see(self, etag: str, asked_at: float, answered_at: float) -> timedelta:
        """Say for how long, at least, a lease had this ETag when it was asked for."""
        if etag != self.etag:
            self.etag, self.since = etag, answered_at
        return timedelta(seconds=max(asked_at - self.since, 0))


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Do some work in a task of its own for the time of the block, whose errors come out as they are.

    Where the work fails, the block is cancelled, and its failure comes out.
    """
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work, name=name)
        try:
            yield
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised again outside of the group
            failure = error
        task.cancel()
    if failure is not None:
        raise failure


def _key_of(name: str) -> str:
    return f"leases/{name}"
