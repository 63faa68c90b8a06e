"""A real node for each test that asks for one, and bundles to give it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.testing.processes import descendants
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, alive

OFFSETS = iter(range(11_000, 40_000, 100))


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_probe(find_toolchain(load_settings()), tmp_path_factory.mktemp("probe"))


@pytest.fixture
def bundles(probe: Path, tmp_path: Path) -> ProbeBundles:
    return ProbeBundles(probe, tmp_path / "made")


class Nodes:
    """Starts nodes; stops them and looks for what they left behind."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._subjects: list[Subject] = []

    def make(self, **overrides: Any) -> Subject:
        fast = {"sweep_seconds": 0.5, "drain_grace_seconds": 0.5, "cells": 2}
        directory = self._directory / f"node{len(self._subjects)}"
        settings = choose_settings(directory, next(OFFSETS), **{**fast, **overrides})
        subject = Subject(settings, self._directory)
        self._subjects.append(subject)
        subject.start()
        return subject

    def stop(self) -> None:
        left = []
        for subject in self._subjects:
            processes = descendants(subject.pid) if subject.pid else []
            subject.stop()
            left += alive(processes)
        for process in left:
            os.kill(int(process.split()[0]), signal.SIGKILL)
        assert not left


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., Subject]]:
    nodes = Nodes(tmp_path)
    yield nodes.make
    nodes.stop()


@pytest.fixture(scope="module")
def make_shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Subject]]:
    """The same for a node that the tests of a module share; nothing is removed from it in between."""
    nodes = Nodes(tmp_path_factory.mktemp("shared"))
    yield lambda: nodes.make(sweep_seconds=3600, drain_grace_seconds=3600)
    nodes.stop()


@pytest.fixture
def node(make_node: Callable[..., Subject]) -> Subject:
    return make_node()


@pytest.fixture
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()
