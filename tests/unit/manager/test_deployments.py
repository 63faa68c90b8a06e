from __future__ import annotations

from itertools import count

import pytest

from gridiron.errors import BuildNotFound
from gridiron.manager.api import QuarantineView, Released
from tests.unit.manager.conftest import NOW, Manager


async def test_a_quarantined_build_is_marked_until_it_is_released(manager: Manager) -> None:
    activated, other = await manager.activate("1"), await manager.activate("1", "other", "other")
    manager.cells.quarantine(activated.path, NOW)
    view = QuarantineView(since=NOW, reason="hung", cell="cell-9")
    assert (await manager.deployments.fetch(activated.build_id)).quarantine == view
    page = await manager.deployments.fetch_page(None, None, None, 10)
    assert {each.build_id: each.quarantine for each in page.deployments} == {
        activated.build_id: view,
        other.build_id: None,
    }
    for released in (True, False):
        outcome = await manager.deployments.release(activated.build_id)
        assert outcome == Released(build_id=activated.build_id, released=released)
    assert (await manager.deployments.fetch(activated.build_id)).quarantine is None


async def test_what_is_removed_leaves_quarantine(manager: Manager) -> None:
    activated = await manager.activate("1")
    manager.cells.quarantine(activated.path, NOW)
    await manager.cells.unload(activated.path)
    assert (await manager.cells.fetch_pool()).quarantined == ()


async def test_a_release_of_what_there_is_not(manager: Manager) -> None:
    with pytest.raises(BuildNotFound):
        await manager.deployments.release("demo-1-1")


async def test_no_damaged_directory_is_left_out_of_pages(manager: Manager) -> None:
    for name in "abc":
        (manager.settings.bundles_dir / name).mkdir()
    activated = await manager.activate("1")
    seen: list[str] = []
    cursor: str | None = None
    while cursor is not None or not seen:
        page = await manager.deployments.fetch_page(None, None, cursor, 1)
        seen += [view.build_id for view in page.deployments]
        cursor = page.next
    assert seen == ["a", "b", "c", activated.build_id]


async def test_a_build_that_becomes_active_during_a_look_is_seen_whole(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.activate("1")
    ask, numbers = manager.restate.fetch_incarnation, count(1)

    async def is_slow() -> object:
        if next(numbers) == 1:
            await manager.activate("2")
        return await ask()

    monkeypatch.setattr(manager.restate, "fetch_incarnation", is_slow)
    page = await manager.deployments.fetch_page(None, None, None, 10)
    assert [(view.version, view.state) for view in page.deployments] == [("1", "drained"), ("2", "active")]
