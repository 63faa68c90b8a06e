"""What holds for all tests: which run beside each other, which first; what they start is compiled once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.guard import guarded

LONG = frozenset({"tests/acceptance/test_kill_points.py", "tests/acceptance/test_restate_killed.py"})
"""Modules whose tests take minutes each, and share nothing."""


@pytest.fixture(scope="session", autouse=True)
def nothing_left() -> Iterator[None]:
    """Leave no process behind, not even when the tests are interrupted or killed."""
    with guarded():
        yield


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


TOLD = ("kill points", "mesh")
"""Properties of tests that are printed at the end."""


class ByModule(LoadScopeScheduling):
    """Gives the tests of a module, which may share fixtures of it, to one of the processes side by side."""

    def _split_scope(self, nodeid: str) -> str:
        module = module_of(nodeid)
        return nodeid if module in LONG else module


def module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def is_long(item: pytest.Item) -> bool:
    return module_of(item.nodeid) in LONG


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what one process has to do for longest, so that both have something to do until the end."""
    items.sort(key=lambda item: not is_long(item))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    config.option.loadscopereorder = False  # by their numbers of tests, the longest would come last
    return ByModule(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have counted and measured."""
    reports = [each for several in terminalreporter.stats.values() for each in several]
    calls = [each for each in reports if isinstance(each, pytest.TestReport) and each.when == "call"]
    for name in TOLD:
        lines = [str(value) for call in calls for key, value in call.user_properties if key == name]
        if lines:
            terminalreporter.section(name)
            for line in lines:
                terminalreporter.write_line(line)
