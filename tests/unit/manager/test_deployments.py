from __future__ import annotations

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
