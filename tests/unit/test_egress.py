from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address, ip_network

import pytest

from gridiron.egress import METADATA, PRIVATE, Rules, is_public, may_hold_source, parse_ranges, plan_rules

CLOSED = plan_rules([])


def test_without_an_opened_range_only_the_public_internet_is_allowed() -> None:
    assert CLOSED.allow == ("public",)


@pytest.mark.parametrize(
    ("opened", "allow"),
    [
        ("10.1.0.0/16", ("10.1.0.0/16",)),
        ("10.1.2.3/32,fd12::/16", ("10.1.2.3/32", "fd12::/16")),
        # workerd refuses a private range as a whole by a rule of the same length, which would win
        ("10.0.0.0/8", ("10.0.0.0/9", "10.128.0.0/9")),
        ("fc00::/7", ("fc00::/8", "fd00::/8")),
        # also where it is put together
        ("192.168.128.0/17,192.168.0.0/17", ("192.168.0.0/17", "192.168.128.0/17")),
        # the same addresses give the same text, so that no cell is replaced for nothing
        ("10.2.0.0/16,10.1.0.0/16,10.1.4.0/24", ("10.1.0.0/16", "10.2.0.0/16")),
    ],
)
def test_opened_ranges_are_allowed_beside_it_and_nothing_else_changes(
    opened: str, allow: tuple[str, ...]
) -> None:
    assert plan_rules(parse_ranges(opened)) == Rules(("public", *allow), CLOSED.deny)


def test_no_opened_range_outweighs_a_refused_one() -> None:
    everything = plan_rules(PRIVATE)
    for refused in map(ip_network, everything.deny):
        for allowed in map(ip_network, everything.allow[1:]):
            assert not refused.overlaps(allowed) or refused.prefixlen > allowed.prefixlen


@pytest.mark.parametrize("private", ["10.99.77.1", "127.0.0.1", "169.254.169.254", "168.63.129.16"])
def test_a_translator_to_ipv4_leads_to_nothing_private(private: str) -> None:
    behind = IPv6Address(f"64:ff9b::{private}")
    assert any(behind in ip_network(each) for each in CLOSED.deny)
    assert not any(IPv6Address("64:ff9b::8.8.8.8") in ip_network(each) for each in CLOSED.deny)


@pytest.mark.parametrize("written", ["", "10.1.0.0/16", "10.1.0.0/16,fd12:3456::/32", "172.16.0.0/12"])
def test_what_was_written_is_read(written: str) -> None:
    ranges = parse_ranges(written)
    assert ",".join(map(str, ranges)) == written
    assert parse_ranges(list(ranges)) == ranges == parse_ranges(written.split(",") if written else [])


def test_spaces_and_capitals_are_no_matter() -> None:
    assert list(map(str, parse_ranges(" 10.1.0.0/16 , FD12::/16,"))) == ["10.1.0.0/16", "fd12::/16"]


PARTS = "10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, 192.168.0.0/16, fc00::/7"
ADVICE = f"Open private ranges, that is parts of {PARTS}"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("10.1.2.3", "'10.1.2.3' is no range: write 10.1.0.0/16, or 10.1.2.3/32 for one address"),
        ("private", "'private' is no range: write 10.1.0.0/16, or 10.1.2.3/32 for one address"),
        ("10.1/16", "'10.1/16' is no range: write one as 10.1.0.0/16 or fd12:3456::/32"),
        ("10.1.0.0/33", "'10.1.0.0/33' is no range: write one as 10.1.0.0/16 or fd12:3456::/32"),
        ("10.1.2.3/16", "10.1.2.3/16 has bits set behind its length: write 10.1.0.0/16"),
        (
            "fd00:ec2::254/128",
            f"fd00:ec2::254/128 cannot be opened, a cloud gives out credentials there. {ADVICE}",
        ),
    ],
)
def test_what_is_no_range_says_how_to_write_one(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        parse_ranges(f"10.9.0.0/16,{written}")


@pytest.mark.parametrize(
    ("written", "what"),
    [
        *[(text, "loopback") for text in ("127.0.0.0/8", "127.0.0.1/32", "::1/128", "0.0.0.0/0", "::/0")],
        *[(text, "link-local") for text in ("169.254.0.0/16", "169.254.169.254/32", "fe80::/10")],
        *[(text, "unspecified") for text in ("0.0.0.0/32", "0.0.0.0/8", "::/128")],
        *[(text, "multicast") for text in ("224.0.0.0/4", "239.1.0.0/16", "ff02::/16")],
        ("::ffff:10.0.0.0/104", "of IPv4"),
        *[(text, "is not private") for text in ("8.8.8.0/24", "2001:db8::/32", "10.0.0.0/7", "fec0::/10")],
        *[(text, "is not private") for text in ("172.0.0.0/8", "198.18.0.0/15", "240.0.0.0/4")],
    ],
)
def test_only_private_ranges_can_be_opened(written: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"{what}.*{re.escape(ADVICE)}$"):
        parse_ranges([written])


@pytest.mark.parametrize("service", METADATA)
def test_a_metadata_service_stays_closed_in_an_opened_range(service: object) -> None:
    assert str(service) in plan_rules(PRIVATE).deny


@pytest.mark.parametrize("value", [7, None, {"a": 1}])
def test_what_is_no_list_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r'write a list of ranges, as in \["10\.1\.0\.0/16"\]'):
        parse_ranges(value)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "2606:4700:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_a_public_address(address: str) -> None:
    assert is_public(ip_address(address))
    assert may_hold_source(ip_address(address))


CREDENTIALS = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "fd00:ec2::254",
    "fe80::a9fe:a9fe",
]


@pytest.mark.parametrize(
    "address",
    [
        *(
            "0.0.0.0",  # noqa: S104 - to be refused
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "172.31.0.1",
            "192.168.1.1",
        ),
        *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1"),
        *("240.0.0.1", "255.255.255.255", *CREDENTIALS),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "fc00::1", "fd12::1", "fe80::1", "fe80::1%lo", "fec0::1"),
        *("ff02::1", "ff0e::1", "100::1", "2001:db8::1", "4000::1", "5f00::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"),
        *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8"),
        *("2002:7f00:1::1", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not may_hold_source(ip_address(address))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", "127.0.0.0/8"),
        ("::ffff:127.0.0.1", "127.0.0.0/8"),
        ("10.1.2.3", "10.0.0.0/8"),
        ("fd12::1", "fd12::/16"),
        ("169.254.169.254", "169.254.169.254/32"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("fe80::1%lo", "fe80::1/128"),
    ],
)
def test_a_source_may_be_where_a_setting_allows_it(address: str, allowed: str) -> None:
    assert may_hold_source(ip_address(address), (ip_network("192.168.0.0/16"), ip_network(allowed)))


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", "10.2.0.0/16"),
        ("127.0.0.1", "::/0"),
        ("64:ff9b::127.0.0.1", "127.0.0.0/8"),
        *((address, "0.0.0.0/0") for address in CREDENTIALS),
        *((address, "::/0") for address in CREDENTIALS),
        ("169.254.169.254", "169.254.169.254/31"),
        ("64:ff9b::169.254.169.254", "169.254.169.254/32"),
        ("64:ff9b::169.254.169.254", "64:ff9b::/96"),
    ],
)
def test_no_wide_range_allows_where_credentials_are_given_out(address: str, allowed: str) -> None:
    assert not may_hold_source(ip_address(address), [ip_network(allowed, strict=False)])
