"""To whom the command line sends the admin's token, against real sockets of this machine."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from gridiron.cli.client import ManagerClient
from gridiron.cli.credentials import Readers, Way
from gridiron.cli.listeners import fetch_readers
from gridiron.errors import ListenerForeign, ManagerUnavailable

TOKEN = f"gridiron_{'a' * 8}_{'a' * 64}"
ME, ANOTHER = frozenset({os.geteuid(), 0}), frozenset({4_000_000})


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server(
        (request.param, 0), family=family, dualstack_ipv6=request.param == "::"
    ) as made:
        made.settimeout(10)
        yield made


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[::1]:{port}" if host == "::1" else f"http://127.0.0.1:{port}"


def ask(url: str, users: frozenset[int]) -> None:
    with ManagerClient(Way(url, TOKEN, readers=Readers("admin.token", users))) as client:
        client.fetch_tokens()


def test_another_user_gets_nothing(listener: socket.socket) -> None:
    with pytest.raises(ListenerForeign, match=r"admin\.token is not his"):
        ask(url_of(listener), ANOTHER)
    with listener.accept()[0] as accepted:
        assert accepted.recv(1) == b""


def test_the_tokens_owner_gets_it(listener: socket.socket) -> None:
    heads = []

    def answer() -> None:
        with listener.accept()[0] as accepted:
            heads.append(accepted.recv(65536))

    thread = threading.Thread(target=answer, name="answer")
    thread.start()
    with pytest.raises(ManagerUnavailable):  # it says nothing
        ask(url_of(listener), ME)
    thread.join()
    assert TOKEN.encode() in heads[0]


def test_where_nobody_listens_the_manager_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = url_of(gone)
    with pytest.raises(ManagerUnavailable, match="refused"):
        ask(url, ANOTHER)


def test_who_has_accepted_and_listens_no_more_is_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
    with client, accepted:
        assert fetch_readers(port, client.getsockname()[1]) == {os.geteuid()}
        assert fetch_readers(port, 1) == set()
