"""Builds reach the public internet and opened ranges only.

The tests run in a network of their own, where an HTTP server listens on every address, also on "public" ones.
So each refusal has two controls: this process reaches the server at the same address, and the build reaches
it by the same means at a public one. What counts is how many connections the server accepted.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gridiron.model import Build, Compatibility
from gridiron.workers.haproxy import HaproxyAdmin
from gridiron.workers.sockets import HAPROXY_SOCKET, POOL_SOCKET, control_socket, data_socket, list_cells
from tests.integration.workers.plane import Plane, eventually, listens, running
from tests.namespace import Target, network, unix_target, with_hosts

CURIOUS = (Path(__file__).parent / "curious.js").read_text()
MEANS = ("fetch", "post", "redirect", "upgrade", "websocket", "events", "connect", "node:net", "node:http")

PUBLIC = ("203.0.113.7", "2001:db8::7")  # examples for documents, which count as public
OPENED = ("10.99.77.1", "172.16.5.5", "100.64.9.9", "fd00:77::1")
OPEN = "10.99.0.0/16,172.16.0.0/12,100.64.0.0/10,fc00::/7"  # private ranges in part and as a whole
METADATA = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
CLOSED = (
    *("10.98.77.1", "192.168.7.7", "198.18.0.1", "0.1.2.3", "192.0.0.9", "240.0.0.1"),
    *("fec0::1", "2002:a63:4d01::1", "64:ff9b::a63:4d01", "64:ff9b::7f00:1"),
    *METADATA,
)
LOOPBACK = (
    *("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"),
    *("0.0.0.0", "::"),  # noqa: S104 - these lead to loopback, too
    *("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"),
)
HOSTS = """\
127.0.0.1 localhost loopback.test both.test
::1 localhost loopback6.test
10.99.77.1 private.test
169.254.169.254 metadata.test
203.0.113.7 public.test both.test
"""
NAMES = ("loopback.test", "loopback6.test", "metadata.test")


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A server on every address of this module's own network."""
    with network(*PUBLIC, *OPENED, *CLOSED, "fe80::1"), Target() as target:
        for host in (*PUBLIC, *OPENED, *CLOSED, *LOOPBACK, "fe80::1%lo"):
            target.show(host)
        yield target


class Curious:
    """A data plane with a build that tries to reach things."""

    def __init__(self, plane: Plane, target: Target) -> None:
        self.plane = plane
        self._target = target
        compatibility = Compatibility(flags=("nodejs_compat",))
        self.build: Build = plane.write_build("curious", CURIOUS, compatibility=compatibility)

    async def attempt(self, attempts: Iterable[tuple[str, str, Any]]) -> list[str]:
        """Let the build try all of (means, host, port) at once; give what came of each."""
        via = f"http://203.0.113.7:{self._target.port}/"
        async with self.plane.client() as client:
            body = {"via": via, "attempts": list(attempts)}
            response = await client.post(self.build.address.path, json=body)
        assert response.status_code == 200, self.plane.output
        return list(response.json())

    async def reach(self, means: str, hosts: Iterable[str], port: int | None = None) -> dict[str, str]:
        """Say what came of reaching each host: "reached", "refused" or "silent"."""
        hosts = list(hosts)
        outcomes = await self.attempt((means, bracketed(host), port or self._target.port) for host in hosts)
        return {host: outcome.partition(":")[0] for host, outcome in zip(hosts, outcomes, strict=True)}


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and "%" not in host and host[0] != "[" else host


def make_curious(directory: Path, target: Target, **settings: Any) -> Iterator[Curious]:
    hosts = directory / "hosts"
    hosts.write_text(HOSTS)
    with running(directory, with_hosts(hosts), cells=1, **settings) as plane:
        yield Curious(plane, target)


@pytest.fixture(scope="module")
def closed(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curious]:
    yield from make_curious(tmp_path_factory.mktemp("closed"), target)


@pytest.fixture(scope="module")
def opened(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Curious]:
    yield from make_curious(tmp_path_factory.mktemp("opened"), target, egress_allow=OPEN)


def redirects(means: str, times: int) -> dict[str, int]:
    """What the public server that redirects accepts."""
    return {"203.0.113.7": times} if means == "redirect" else {}


@pytest.mark.parametrize("means", MEANS)
async def test_a_public_address_is_reached(target: Target, closed: Curious, means: str) -> None:
    for host in PUBLIC:
        target.accepted.clear()
        assert await closed.reach(means, [host]) == {host: "reached"}
        assert target.accepted == {host: 1} | redirects(means, 2 if host == "203.0.113.7" else 1)


@pytest.mark.parametrize("means", MEANS)
async def test_nothing_else_is_reached(target: Target, closed: Curious, means: str) -> None:
    hosts = [*LOOPBACK, *CLOSED, *OPENED]
    target.accepted.clear()
    assert await closed.reach(means, hosts) == dict.fromkeys(hosts, "refused")
    assert target.accepted == redirects(means, len(hosts))


@pytest.mark.parametrize("means", MEANS)
async def test_an_opened_range_is_reached(target: Target, opened: Curious, means: str) -> None:
    for host in (*OPENED, *PUBLIC):
        target.accepted.clear()
        assert await opened.reach(means, [host]) == {host: "reached"}
        assert target.accepted == {host: 1} | redirects(means, 2 if host == "203.0.113.7" else 1)


@pytest.mark.parametrize("means", MEANS)
async def test_what_is_not_opened_stays_closed(target: Target, opened: Curious, means: str) -> None:
    hosts = [*LOOPBACK, *CLOSED]
    target.accepted.clear()
    assert await opened.reach(means, hosts) == dict.fromkeys(hosts, "refused")
    assert target.accepted == redirects(means, len(hosts))


@pytest.mark.parametrize("means", MEANS)
async def test_a_name_opens_nothing(target: Target, closed: Curious, opened: Curious, means: str) -> None:
    target.accepted.clear()
    names = [*NAMES, "private.test"]
    assert await closed.reach(means, names) == dict.fromkeys(names, "refused")
    assert await opened.reach(means, NAMES) == dict.fromkeys(NAMES, "refused")
    assert target.accepted == redirects(means, len(names) + len(NAMES))
    target.accepted.clear()
    # the control: the names do resolve, there
    assert await opened.reach(means, ["private.test"]) == {"private.test": "reached"}
    assert await closed.reach(means, ["public.test"]) == {"public.test": "reached"}
    assert target.accepted == {"10.99.77.1": 1, "203.0.113.7": 3 if means == "redirect" else 1}


@pytest.mark.parametrize("means", MEANS)
async def test_of_a_name_with_two_addresses_the_public_one_is_reached(
    target: Target, closed: Curious, means: str
) -> None:
    target.accepted.clear()
    assert await closed.reach(means, ["both.test"]) == {"both.test": "reached"}
    assert target.accepted == {"203.0.113.7": 2 if means == "redirect" else 1}


@pytest.mark.parametrize("means", MEANS)
async def test_nothing_link_local_is_reached(
    target: Target, closed: Curious, opened: Curious, means: str
) -> None:
    hosts = ("[fe80::1]", "[fe80::1%lo]", "[fe80::1%25lo]", "fe80::1%lo")
    for curious in (closed, opened):
        target.accepted.clear()
        assert await curious.reach(means, hosts) == dict.fromkeys(hosts, "refused")
        assert target.accepted.keys() <= redirects(means, 1).keys()


async def test_no_unix_socket_is_reached(closed: Curious) -> None:
    run_dir, cells = closed.plane.run_dir, list_cells(closed.plane.run_dir)
    sockets = [HAPROXY_SOCKET, POOL_SOCKET, *map(control_socket, cells), *map(data_socket, cells)]
    decoy = run_dir / "decoy.sock"
    with unix_target(str(decoy)) as accepted, unix_target("\0gridiron-decoy") as abstract:
        paths = [str(run_dir / name) for name in (*sockets, decoy.name)]
        assert all(listens(Path(path)) for path in paths)
        await eventually(lambda: is_accepted(accepted))
        spellings = [
            *[f"{scheme}{path}" for path in paths for scheme in ("", "unix:", "unix://", "http+unix://")],
            *("unix-abstract:gridiron-decoy", "@gridiron-decoy", "\0gridiron-decoy"),
        ]
        attempts = [
            *[(means, host, None) for host in spellings for means in ("connect", "node:net", "node:http")],
            *[(means, host, 80) for host in spellings for means in MEANS if means != "redirect"],
        ]
        outcomes = await closed.attempt(attempts)
        assert [outcome for outcome in outcomes if not outcome.startswith("refused")] == []
        assert (len(accepted), len(abstract)) == (1, 0)
    decoy.unlink()


async def test_the_workers_own_port_is_not_reached(closed: Curious, opened: Curious) -> None:
    for curious in (closed, opened):
        port = curious.plane.settings.ports.workers
        admin = HaproxyAdmin(curious.plane.run_dir / HAPROXY_SOCKET)
        assert (await curious.plane.get("/-/health")).status_code == 200
        before = await count_sessions(admin)
        for means in MEANS:
            hosts = ("127.0.0.1", "localhost", "::ffff:127.0.0.1")
            assert await curious.reach(means, hosts, port) == dict.fromkeys(hosts, "refused")
        assert await count_sessions(admin) == before + len(MEANS)  # the requests of this test


async def count_sessions(admin: HaproxyAdmin) -> int:
    """How many connections HAProxy has accepted on the workers' port."""
    lines = (await admin._ask("show stat workers 1 -1")).lstrip("# ").splitlines()
    fields = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    return int(fields["stot"])


async def test_a_changed_setting_replaces_the_cells(
    target: Target, make_plane: Callable[..., Plane], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gridiron.toml"
    file.write_text("egress_allow = []\n")
    monkeypatch.setenv("GRIDIRON_CONFIG", str(file))
    plane = make_plane(cells=1)
    plane.within = ("env", "--unset=GRIDIRON_EGRESS_ALLOW")  # the file decides, as under a supervisor
    plane.start()
    curious, cells = Curious(plane, target), plane.processes("workerd")
    assert await curious.reach("fetch", ["10.99.77.1"]) == {"10.99.77.1": "refused"}
    for ranges, outcome in (('["10.99.0.0/16"]', "reached"), ("[]", "refused")):
        file.write_text(f"egress_allow = {ranges}\n")
        os.kill(plane.pid, signal.SIGHUP)
        await eventually(lambda outcome=outcome: is_outcome(curious, outcome))  # type: ignore[misc]
        await eventually(lambda: has_one_cell(plane))
        assert not set(cells) & set(plane.processes("workerd"))
        cells = plane.processes("workerd")


async def is_outcome(curious: Curious, outcome: str) -> bool:
    return await curious.reach("fetch", ["10.99.77.1"]) == {"10.99.77.1": outcome}


async def has_one_cell(plane: Plane) -> bool:
    return len(plane.processes("workerd")) == 1


async def is_accepted(accepted: list[str]) -> bool:
    return len(accepted) == 1
