"""A backup of a node under load, and the node that comes out of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from gridiron.access.tls import NO_TLS
from gridiron.backup.holders import find_holders
from gridiron.cli.demo.subject import Subject
from gridiron.settings import load_settings
from gridiron.testing.probe import ProbeBundles, build_probe
from gridiron.toolchain.programs import find_toolchain
from tests.harness import Client, wait_until

WORKER = Path(__file__).with_name("backup_worker.js")
COUNTERS = 4
SLEEP_MILLIS = 20_000
"""Longer than the backup takes, so that it is under way in it."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> ProbeBundles:
    directory = tmp_path_factory.mktemp("backup")
    built = build_probe(find_toolchain(load_settings()), directory / "probe", WORKER.read_text())
    return ProbeBundles(built, directory / "made")


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    return make_shared_node(cells=1)


@pytest.fixture(scope="module")
def client(node: Subject) -> Iterator[Client]:
    client = Client(node)
    yield client
    client.close()


@dataclass
class Counted:
    """How far each counter is known to be."""

    sent: list[int] = field(default_factory=lambda: [0] * COUNTERS)
    acknowledged: list[int] = field(default_factory=lambda: [0] * COUNTERS)
    failures: list[str] = field(default_factory=list)


@contextmanager
def counting(url: str) -> Iterator[Counted]:
    """Add to each counter without a pause, one call after the other."""
    counted, stop = Counted(), threading.Event()

    def count(key: int) -> None:
        with httpx2.Client(base_url=url, timeout=60, verify=NO_TLS) as http:
            while not stop.is_set():
                counted.sent[key] += 1
                response = http.post(f"/counter/{key}/add")
                if response.status_code == 200:
                    counted.acknowledged[key] = response.json()
                else:
                    counted.failures.append(response.text)

    threads = [threading.Thread(target=count, args=(key,)) for key in range(COUNTERS)]
    for thread in threads:
        thread.start()
    try:
        yield counted
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def state_of(pid: int) -> str:
    """As Linux has it: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def kill_backup_while_stopped(node: Subject, pid: int, file: Path) -> bool:
    """Start a backup, and kill it when it has stopped a process; tell whether it came to that."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "gridiron", "backup", str(file)],
        env={**os.environ, **node.settings.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as backup:
        while backup.poll() is None:  # without a pause: Restate's stop takes milliseconds
            if state_of(pid) == "T":
                backup.kill()
                return True
    return False


def test_a_backup_that_is_killed_leaves_the_node_running_and_no_file(node: Subject, tmp_path: Path) -> None:
    holders = find_holders(node.settings)
    for program, pid in holders._asdict().items():
        files = (tmp_path / f"{program}-{attempt}" for attempt in range(10))  # as one may not be in time
        killed = next(file for file in files if kill_backup_while_stopped(node, pid, file))
        wait_until(lambda: all(state_of(each) != "T" for each in holders if each), 5, what="both go on")
        assert not killed.exists()


def test_a_node_is_restored_from_a_backup_that_was_made_under_load(
    node: Subject, client: Client, bundles: ProbeBundles, tmp_path: Path
) -> None:
    first = client.activate(bundles.make("1"), "1", secrets={"TOKEN": "opens"})["build_id"]
    sleeping = client.send("sleeper", "sleep", SLEEP_MILLIS)
    wait_until(lambda: client.show(first)["invocations"]["pinned"])
    second = client.activate(bundles.make("2"), "2")["build_id"]  # the first one drains
    with counting(node.settings.ingress_url) as counted:
        wait_until(lambda: min(counted.acknowledged) > 3)
        before = list(counted.acknowledged)
        made = node.run("backup", str(tmp_path / "node.tar.gz"))
        begun_by_then = list(counted.sent)
        assert client.show(first)["invocations"]["pinned"] == 1  # still asleep
        wait_until(
            lambda: all(now > then for now, then in zip(counted.acknowledged, begun_by_then, strict=True))
        )
    assert not counted.failures
    assert 0 < made["restate_paused_ms"] < 5_000
    third = client.activate(bundles.make("3"), "3")["build_id"]  # that the backup knows nothing of
    node.stop()

    settings = load_settings(
        data_dir=tmp_path / "restored", port_offset=node.settings.port_offset, cells=1, sweep_seconds=0.5
    )
    restored = Subject(settings, tmp_path)
    manifest = restored.run("restore", str(tmp_path / "node.tar.gz"))
    assert manifest["data_dir"] == str(settings.data_dir)
    restored.start()
    try:
        states = {each["build_id"]: each["state"] for each in client.builds()}
        assert third not in states
        assert states[second] == "active"
        assert client.call("sleeper", "version") == "2"
        assert client.call("sleeper", "secret") == len("opens")
        counters = [client.ingress.post(f"/counter/{key}/read").json() for key in range(COUNTERS)]
        for key in range(COUNTERS):
            assert before[key] <= counters[key] <= begun_by_then[key], key
        slept = client.ingress.get(f"/restate/invocation/{sleeping}/attach")
        assert slept.json() == {"begun": "1", "ended": "1"}
        wait_until(lambda: client.show(first)["state"] == "drained")
        restored.run("rollback", "probe")
        assert client.call("sleeper", "version") == "1"
    finally:
        restored.stop()
