"""Slow bundles hold up others of their kind, and nothing else."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from gridiron.bundles.access import Access
from gridiron.bundles.intake import Intake, Policy, Wanted
from gridiron.bundles.limits import report_nothing
from gridiron.bundles.source import HttpSource
from gridiron.bundles.store import BundleStore
from gridiron.egress import Address
from gridiron.errors import IntakeBusy, SourceAddressRefused
from gridiron.manager.admission import Admission
from gridiron.settings import load_settings

FAR = HttpSource("https://slow.example/bundle.zip", is_secure=True)
THREADS_OF_ASYNCIO = min(32, (os.cpu_count() or 1) + 4)
"""By the documentation of `ThreadPoolExecutor`."""


class Resolver:
    """A system's resolver that does not answer until it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.let_go = threading.Event()

    def __call__(self, _host: str, _port: int) -> list[Address]:
        self.asked.release()
        assert self.let_go.wait(60)
        return [ip_address("127.0.0.1")]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    resolver = Resolver()
    yield resolver
    resolver.let_go.set()


@pytest.fixture
def intake(tmp_path: Path, resolver: Resolver) -> Intake:
    settings = load_settings(data_dir=tmp_path / "data", source_roots=str(tmp_path))
    store = BundleStore(settings.bundles_dir)
    store.prepare()
    policy = Policy.of(settings)
    return Intake(store, replace(policy, access=Access(resolve=resolver)))


@pytest.fixture
def near(tmp_path: Path) -> Wanted:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "index.js").write_text("export default {}")
    return Wanted((tmp_path / "bundle").as_uri())


async def fetch(admission: Admission) -> Path:
    async with admission.arrival(FAR, report_nothing) as fetched:
        return fetched.found


async def test_slow_servers_hold_up_neither_bundles_of_this_machine_nor_other_work(
    intake: Intake, resolver: Resolver, near: Wanted
) -> None:
    admission = Admission(intake, at_once=2 * THREADS_OF_ASYNCIO)
    far = [asyncio.create_task(fetch(admission)) for _ in range(2 * THREADS_OF_ASYNCIO)]
    async with asyncio.timeout(20):
        for _ in far:
            await asyncio.to_thread(resolver.asked.acquire)
        staged = await admission.take_in(near, report_nothing, None)
    assert [module.name for module in staged.modules] == ["index.js"]
    resolver.let_go.set()
    failures = await asyncio.gather(*far, return_exceptions=True)
    assert {type(failure) for failure in failures} == {SourceAddressRefused}


async def test_one_too_many_waits_and_is_told_so(intake: Intake, resolver: Resolver) -> None:
    impatient = Admission(intake, at_once=1, patience=timedelta(milliseconds=50))
    first = asyncio.create_task(fetch(impatient))
    await asyncio.to_thread(resolver.asked.acquire)
    with pytest.raises(IntakeBusy, match="1 bundles are coming in"):
        await fetch(impatient)
    resolver.let_go.set()
    for each in (first, fetch(impatient)):  # there is a place again
        with pytest.raises(SourceAddressRefused):
            await each


async def test_a_place_is_taken_until_the_thread_ends_although_nobody_waits_for_it(
    intake: Intake, resolver: Resolver
) -> None:
    impatient = Admission(intake, at_once=1, patience=timedelta(milliseconds=50))
    cancelled = asyncio.create_task(fetch(impatient))
    await asyncio.to_thread(resolver.asked.acquire)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    with pytest.raises(IntakeBusy):
        await fetch(impatient)


async def test_so_many_archives_are_sent_at_once(intake: Intake) -> None:
    impatient = Admission(intake, at_once=1, patience=timedelta(milliseconds=50))
    async with impatient.upload():
        with pytest.raises(IntakeBusy):
            async with impatient.upload():
                pytest.fail("there was no place")
    async with impatient.upload():
        pass
