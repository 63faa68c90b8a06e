from __future__ import annotations

import pytest

from gridiron.access.restraint import (
    FORGOTTEN_AFTER_SECONDS,
    FREE_FAILURES,
    FailedLogins,
    Rates,
    Wait,
    client_of,
)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
    ],
)
def test_a_client_of_ipv6_is_its_network(address: str, client: str) -> None:
    assert client_of(address) == client


def test_a_client_may_ask_so_often_and_then_so_often_a_second() -> None:
    rates = Rates(per_second=2, burst=3)
    assert [rates.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rates.take("b", 0) == 0
    assert [rates.take("a", 0.5), rates.take("a", 0.5)] == [0, 0.5]
    assert [rates.take("a", 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_only_so_many_clients_are_remembered() -> None:
    rates = Rates(per_second=1, burst=1, remembered=2)
    assert [rates.take(client, 0) for client in "abca"] == [0, 0, 0, 0]  # a was forgotten for c
    assert rates.take("c", 0) == 1


def test_wrong_tokens_are_answered_later_and_later_and_then_refused() -> None:
    logins = FailedLogins()
    assert [logins.note("a", 0) for _ in range(FREE_FAILURES)] == [Wait(0, refused=False)] * FREE_FAILURES
    waits = [logins.note("a", 0) for _ in range(7)]
    assert [wait.seconds for wait in waits] == [0.25, 0.75, 1.75, 3.75, 7.75, 11.75, 11.75]
    assert [wait.refused for wait in waits] == [False] * 5 + [True] * 2
    assert logins.note("b", 0) == Wait(0, refused=False)


def test_who_waits_is_answered_and_counts_on() -> None:
    logins = FailedLogins()
    for _ in range(FREE_FAILURES + 5):
        logins.note("a", 0)
    assert logins.note("a", 7.75) == Wait(4, refused=False)
    assert logins.note("a", 11.75) == Wait(4, refused=False)


def test_failures_are_forgotten() -> None:
    logins = FailedLogins(remembered=2)
    for _ in range(FREE_FAILURES + 1):
        last = logins.note("a", 0)
    assert last == Wait(0.25, refused=False)
    assert logins.note("a", FORGOTTEN_AFTER_SECONDS + 1) == Wait(0, refused=False)
    for _ in range(FREE_FAILURES + 1):
        logins.note("b", 2000)
    logins.note("c", 2000)
    logins.note("d", 2000)
    assert logins.note("b", 2000) == Wait(0, refused=False)  # there was no room for it
