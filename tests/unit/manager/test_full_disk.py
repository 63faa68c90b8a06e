"""The disk is full, or read-only, from the n-th change on: for every n, and all that the manager does."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gridiron.errors import ActivationFailed, GridironError, StorageFailed
from gridiron.manager import activate as activate_module
from gridiron.manager.api import PruneRequest, RollbackRequest
from tests.unit.manager.conftest import GRACE, Manager, make_settings

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
GROWING = {"os.mkdir", "os.rename", "os.link"}
SHRINKING = {"os.remove", "os.rmdir", "os.truncate"}


class Disk:
    """Lets changes below a directory fail, from one on: an audit event tells of each before it is made."""

    def __init__(self) -> None:
        self.root: Path | None = None
        self.left = 0
        self.error = 0
        self.failed = False
        sys.addaudithook(self._audit)  # for good: there is no way to take one away

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.root is None or not self._changes(event, arguments):
            return
        path = str(arguments[0])
        if path.startswith("/") and not path.startswith(str(self.root)):
            return
        self.left -= 1
        if self.left < 0:
            self.failed = True
            raise OSError(self.error, os.strerror(self.error), path)

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            return bool(arguments[2] & WRITES)
        return event in GROWING or (event in SHRINKING and self.error == errno.EROFS)

    @contextmanager
    def failing(self, root: Path, after: int, error: int) -> Iterator[None]:
        self.root, self.left, self.error, self.failed = root, after, error, False
        try:
            yield
        finally:
            self.root = None


DISK = Disk()


async def activate(manager: Manager) -> None:
    await manager.activate("3")


async def roll_back(manager: Manager) -> None:
    await manager.activator.rollback(RollbackRequest(name="demo"))


async def prune_drained(manager: Manager) -> None:
    outcome = await manager.loop.prune(PruneRequest())
    if outcome.kept:
        raise StorageFailed("Pruning", "it", outcome.kept[0].reason)


async def prune_by_force(manager: Manager) -> None:
    (active,) = [view for view in await views(manager) if view.state.value == "active"]
    await manager.loop.prune(PruneRequest(build_id=active.build_id, force=True))


async def sweep(manager: Manager) -> None:
    await manager.loop.sweep()
    manager.clock.now += 2 * GRACE
    await manager.loop.sweep()


async def views(manager: Manager) -> tuple[Any, ...]:
    return (await manager.deployments.fetch_page(None, None, None, 100)).deployments


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@pytest.mark.parametrize("act", [activate, roll_back, prune_drained, prune_by_force, sweep])
async def test_a_disk_that_fails_at_any_change_loses_nothing(
    act: Callable[[Manager], Awaitable[None]], error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activate_module, "SETTLE_LIMIT", timedelta(0))
    for after in range(100):
        directory = tmp_path / str(after)
        directory.mkdir()
        manager = Manager(directory, make_settings(directory, retain=0))
        versions = [await manager.activate(version) for version in "12"]
        failure: GridironError | None = None
        with DISK.failing(directory / "data", after, error):
            try:
                await act(manager)
            except GridironError as raised:
                failure = raised
        cause = failure.cause if isinstance(failure, ActivationFailed) else failure
        assert cause is None or isinstance(cause, StorageFailed), cause
        await settled(manager)
        newest = (await manager.restate.fetch_newest())["demo"]
        if act in {activate, roll_back}:
            assert (newest == versions[1].deployment_id) is (failure is not None)
        elif act is not prune_by_force:
            assert newest == versions[1].deployment_id
        if not DISK.failed:
            assert failure is None
            assert after > 1  # there was something to fail
            return
    raise AssertionError("it never came to its end")


async def settled(manager: Manager) -> None:
    """The disk is well again, the manager starts anew: then all is as it should be."""
    after = manager.restart()
    await after.activator.settle()
    for _ in range(3):
        await after.loop.sweep()
        after.clock.now += 2 * GRACE
    assert {view.state.value for view in await views(after)} <= {"active", "retired"}
    assert set(after.stored) == {view.build_id for view in await views(after)}
    assert after.context.store.fetch_inventory().marks.keys() <= {
        view.build_id for view in await views(after) if view.state.value == "retired"
    }
