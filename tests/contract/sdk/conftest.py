from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.sdk.runtimes import Invocation, Runtime, start_runtimes


@pytest.fixture(scope="session")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Runtime]]:
    with start_runtimes(tmp_path_factory.mktemp("sdk")) as runtimes:
        yield runtimes
        for runtime in runtimes.values():
            for invocation, marks in runtime.expected.items():
                assert invocation.marks == marks, "more was marked after its test had seen what it expected"


@pytest.fixture(params=["node", "cells"])
def runtime(request: pytest.FixtureRequest, runtimes: dict[str, Runtime]) -> Runtime:
    name: str = request.param
    return runtimes[name]


@pytest.fixture(scope="session", autouse=True)
def killed_early(runtimes: dict[str, Runtime]) -> dict[str, Invocation]:
    """Invocations that are killed first of all, whose closures go on until nearly the last test."""
    killed = {name: runtime.send("Endings/long", 35) for name, runtime in runtimes.items()}
    for invocation in killed.values():
        invocation.wait_for_mark("1 closure begins")
        invocation.act("kill")
    return killed
