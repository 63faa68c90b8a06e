"""One mesh for all of these tests. It takes half a minute to make, so that they share it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.mesh.rig import Mesh, running_mesh

Tell = Callable[[str], None]


@pytest.fixture(scope="package")
def shared_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


@pytest.fixture
def mesh(shared_mesh: Mesh) -> Mesh:
    """A mesh that is whole, whatever the test before did to it."""
    shared_mesh.mend()
    return shared_mesh


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Put a line among the figures at the end of the tests."""
    return lambda line: record_property("mesh", line)
