"""What holds for all tests: the programs that they start are compiled once."""

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
