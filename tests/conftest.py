"""What holds for all tests: which may run beside each other, and that what they start is compiled once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Keep compiled modules for the time of the tests where this machine is set to keep none.

    Gridiron's processes are started hundreds of times, and compiling it takes a third of such a start. Who
    installed it has it compiled.
    """
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="gridiron-compiled-") as directory:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", directory)
        yield


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process have the tests that share something of their module, where several run side by side."""
    for item in items:
        definitions = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009 - mypy knows it not
        if any(each.scope == "module" for several in definitions for each in several):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
