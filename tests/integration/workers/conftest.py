from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.workers.plane import Plane, running


@pytest.fixture
def make_plane(tmp_path: Path) -> Iterator[Callable[..., Plane]]:
    """Make data planes that are not started; whatever of them runs at the end is stopped."""
    planes: list[Plane] = []

    def make(**overrides: Any) -> Plane:
        directory = tmp_path / f"plane{len(planes)}"
        directory.mkdir()
        planes.append(Plane(directory, **overrides))
        return planes[-1]

    yield make
    for plane in planes:
        plane.clean_up()


@pytest.fixture
def plane(make_plane: Callable[..., Plane]) -> Plane:
    """A data plane that serves, for tests that break it."""
    plane = make_plane()
    plane.start()
    return plane


@pytest.fixture(scope="module")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A data plane that serves, for tests that only send requests."""
    with running(tmp_path_factory.mktemp("plane")) as plane:
        yield plane
