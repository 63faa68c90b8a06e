"""`gridiron up`: starts, stops, comes back, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from gridiron.cli.demo.subject import Subject, choose_settings
from gridiron.restate.nodelay import open_process, sockets_of
from gridiron.settings import Settings
from gridiron.testing.probe import ProbeBundles
from gridiron.testing.processes import descendants
from tests.acceptance.nodes import OFFSETS
from tests.harness import Client, alive, pid_of, wait_until


@pytest.fixture(scope="module")
def node(make_shared_node: Callable[..., Subject]) -> Subject:
    """One node for the tests that leave it running."""
    return make_shared_node()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a node that was not started."""
    return choose_settings(tmp_path / "node", next(OFFSETS))


def names(pid: int) -> list[str]:
    found = []
    for each in descendants(pid):
        command = Path(f"/proc/{each}/comm")
        found.append(command.read_text().strip() if command.exists() else "")
    return sorted(found)


def run_up(settings: Settings, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "gridiron", "up"],
        env={**os.environ, **settings.environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order_within_ten_seconds(
    make_node: Callable[..., Subject], number: signal.Signals
) -> None:
    node = make_node()
    assert node.pid is not None
    processes = descendants(node.pid)
    assert len([name for name in names(node.pid) if name == "workerd"]) == 2
    began = time.monotonic()
    os.kill(node.pid, number)
    wait_until(lambda: not alive(processes), 10, what=node.log)
    assert time.monotonic() - began < 10
    stopped = [line for line in node.log.splitlines() if "role.stopped" in line]
    assert [line.split()[-1] for line in stopped] == ["name=manager", "name=workers", "name=restate"]
    assert node.wait() == 0


def test_killed_by_force_it_leaves_no_orphan(make_node: Callable[..., Subject]) -> None:
    node = make_node()
    assert node.pid is not None
    processes = descendants(node.pid)
    os.kill(node.pid, signal.SIGKILL)
    wait_until(lambda: not alive(processes), 5)
    node.wait()
    node.start()  # and the directory can be used again


def test_restate_sends_without_delay(node: Subject) -> None:
    ports = {node.settings.ports.fabric, node.settings.ports.ingress}
    wait_until(lambda: ports <= undelayed(pid_of(node, "restate-server")), what=node.log)


def undelayed(pid: int) -> set[int]:
    """The ports at which what a process accepts has TCP_NODELAY."""
    process = open_process(pid)
    try:
        return {
            each.getsockname()[1]
            for each in sockets_of(process, pid)
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            and each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        }
    finally:
        os.close(process)


def test_a_role_that_died_is_reported_with_the_delay(node: Subject) -> None:  # before others die on this node
    os.kill(pid_of(node, "restate-server"), signal.SIGKILL)
    wait_until(lambda: "role.ended again_in_seconds=0.1 how=SIGKILL name=restate" in node.log)


@pytest.mark.parametrize("name", ["restate-server", "haproxy", "workerd"])
def test_whatever_is_killed_comes_back(
    name: str, node: Subject, client: Client, bundles: ProbeBundles
) -> None:
    client.activate(bundles.make("1"), "1")
    for _ in range(2):
        os.kill(pid_of(node, name), signal.SIGKILL)
        wait_until(lambda: answers(client), 30, what=node.log)
    client.await_ready()


def answers(client: Client) -> bool:
    try:
        return client.ingress.post("/probe/version", timeout=20).text == '"1"'
    except httpx2.TransportError:
        return False


def test_a_taken_port_is_named_with_what_to_do(node: Subject, tmp_path: Path) -> None:
    other = node.settings.model_copy(update={"data_dir": tmp_path / "other"})
    ended = run_up(other)
    port = other.ports.manager
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: Port {port} (manager) is taken. Stop what listens there, or give --port-offset or "
        "MANAGER_PORT.  [port_taken]\n"
    )


def test_each_port_is_looked_at(settings: Settings) -> None:
    for purpose in settings.ports._fields:
        with socket.create_server(("127.0.0.1", getattr(settings.ports, purpose))):
            ended = run_up(settings)
        assert ended.returncode == 1
        assert f"({purpose}) is taken" in ended.stderr


def test_a_data_directory_in_use_is_refused(node: Subject) -> None:
    other = node.settings.model_copy(update={"port_offset": node.settings.port_offset + 50})
    ended = run_up(other)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"error: {node.settings.data_dir} is in use by process {node.pid}. "
        "Stop it, or give another directory.  [directory_in_use]\n"
    )


def test_two_nodes_run_side_by_side(make_node: Callable[..., Subject], bundles: ProbeBundles) -> None:
    clients = [Client(make_node(cells=1)) for _ in range(2)]
    for number, client in enumerate(clients):
        client.activate(bundles.make(str(number)), str(number))
    assert [client.call("probe", "version") for client in clients] == ["0", "1"]
    for client in clients:
        client.close()


def test_what_does_not_start_is_named_with_its_last_words(tmp_path: Path, settings: Settings) -> None:
    broken = tmp_path / "restate.toml"
    broken.write_text("nonsense = [\n")
    ended = run_up(settings, GRIDIRON_RESTATE_TEMPLATE_PATH=str(broken))
    assert ended.returncode == 1
    assert "error: restate did not start: it ended (exit code " in ended.stderr
