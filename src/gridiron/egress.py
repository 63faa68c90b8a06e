"""Where workers may connect to, and where sources may be: the public internet, and what a setting opens.

Values and decisions only. For workers, workerd does the refusing. Its rule: of the ranges that an address
lies in, the longest prefix decides, and a refusal wins over a permission of the same length.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_interface,
    ip_network,
)

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network


def _ranges(*texts: str) -> tuple[Range, ...]:
    return tuple(ip_network(text) for text in texts)


PRIVATE = _ranges("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
"""What can be opened, whole or in part. workerd itself refuses it, as it does loopback and link-local."""

METADATA = _ranges(
    "100.100.100.200/32",  # Alibaba Cloud
    "168.63.129.16/32",  # Azure: a public address that the host of a virtual machine answers
    "fd00:42::42/128",  # Scaleway
    "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud
    "fd00:ec2::23/128",  # AWS: credentials of a pod
    "fd00:ec2::254/128",  # AWS
    "fd20:ce::254/128",  # Google Cloud
)
"""Services that give a machine its credentials, beside the link-local 169.254.169.254. Never opened."""

NOT_PUBLIC = _ranges(
    "0.0.0.0/8",  # "this network"
    "198.18.0.0/15",  # for benchmarks (RFC 2544), used as private
    "::/96",  # an IPv4 address as IPv6, deprecated
    "64:ff9b:1::/48",  # translation to IPv4 of a network's own (RFC 8215)
    "2002::/16",  # 6to4: holds the IPv4 address to which it leads, deprecated
    "fec0::/10",  # what private ranges were before fc00::/7
)
"""What workerd takes for public and is not (IANA's registries of special-purpose addresses)."""

_NOT_BEHIND_A_TRANSLATOR = _ranges(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"),
)
"""IPv4 ranges that are not public. Some NAT64 gateways lead to them from 64:ff9b::/96, against RFC 6052; so
they are refused there too, and the public ones behind such a gateway are not."""

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 behind a NAT64 gateway (RFC 6052)."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given out for the internet (RFC 4291, IANA's registry)."""

_LINK_LOCAL = _ranges("169.254.0.0/16", "fe80::/10")

_NEVER = (
    ("loopback, where Restate's admin port is", _ranges("127.0.0.0/8", "::1/128")),
    ("link-local, where clouds give out credentials", _LINK_LOCAL),
    ("unspecified, which leads to this machine", _ranges("0.0.0.0/8", "::/128")),
    ("multicast", _ranges("224.0.0.0/4", "ff00::/8")),
    ("of IPv4; write them as such", _ranges("::ffff:0:0/96")),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of workerd's network `internet`, as its configuration writes them."""

    allow: tuple[str, ...]
    deny: tuple[str, ...]


def parse_ranges(value: object) -> tuple[Range, ...]:
    """Read private ranges out of a text with commas or a sequence. Raises ValueError, saying what to do."""
    if isinstance(value, str):
        return tuple(_parse_range(part.strip()) for part in value.split(",") if part.strip())
    if isinstance(value, (list, tuple)):
        return tuple(_parse_range(str(part)) for part in value)
    raise ValueError('write a list of ranges, as in ["10.1.0.0/16"]')


def plan_rules(opened: Iterable[Range]) -> Rules:
    """Give workerd's rules when these private ranges are opened; the same for the same addresses."""
    ranges = tuple(opened)
    merged: list[Range] = [
        *collapse_addresses(each for each in ranges if isinstance(each, IPv4Network)),
        *collapse_addresses(each for each in ranges if isinstance(each, IPv6Network)),
    ]
    # a whole private range would lose against workerd's own refusal of it; its halves are longer and win
    allow = [part for each in merged for part in (each.subnets() if each in PRIVATE else (each,))]
    deny = (*METADATA, *NOT_PUBLIC, *(_translated(each) for each in _NOT_BEHIND_A_TRANSLATOR))
    return Rules(allow=("public", *map(str, allow)), deny=tuple(map(str, deny)))


def is_public(address: Address) -> bool:
    """Tell whether an address is of the public internet, and none at which a cloud gives out credentials.

    An IPv6 address that leads to one of IPv4 is judged as that one.
    """
    found = _behind(address)
    tables = (*PRIVATE, *METADATA, *NOT_PUBLIC, *(each for _, ranges in _NEVER for each in ranges))
    return (
        found.is_global
        and (found.version == 4 or found in _GLOBAL_UNICAST)
        and not any(found in each for each in tables)
    )


def may_hold_source(address: Address, allowed: Iterable[Range] = ()) -> bool:
    """Tell whether a source may be fetched from an address: a public one, or one in an allowed range.

    Link-local addresses, and those at which a cloud gives out credentials, have to be allowed one by one:
    each by a range that holds nothing else.
    """
    found = _unmapped(address)
    if any(_behind(found) in each for each in (*METADATA, *_LINK_LOCAL)):
        return ip_network(found) in tuple(allowed)
    return is_public(found) or any(found in each for each in allowed)


def is_loopback(host: str) -> bool:
    """Tell whether a name or address, without brackets, is this machine's own, as far as its text says."""
    try:
        return _unmapped(ip_address(host)).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _behind(address: Address) -> Address:
    """Give the IPv4 address to which one of IPv6 leads; any other as it is."""
    found = _unmapped(address)
    return IPv4Address(int(found) & 0xFFFF_FFFF) if found in _TRANSLATED else found


def _unmapped(address: Address) -> Address:
    """Give an address as the kernel takes it: IPv4 in the form of IPv6 is IPv4. A zone is left off."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def _parse_range(text: str) -> Range:
    if "/" not in text:
        raise ValueError(f"{text!r} is no range: write 10.1.0.0/16, or 10.1.2.3/32 for one address")
    try:
        found = ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f"{text!r} is no range: write one as 10.1.0.0/16 or fd12:3456::/32") from error
    if found.network_address != ip_interface(text).ip:
        raise ValueError(f"{text} has bits set behind its length: write {found}")
    _check_private(found)
    return found


def _check_private(found: Range) -> None:
    for what, ranges in _NEVER:
        if any(found.overlaps(each) for each in ranges):
            raise ValueError(f"{found} cannot be opened, it holds addresses that are {what}. {_advice()}")
    if not any(_is_inside(found, each) for each in PRIVATE):
        raise ValueError(
            f"{found} is not private: public addresses are open anyway, others never. {_advice()}"
        )
    if any(_is_inside(found, each) for each in METADATA):
        raise ValueError(f"{found} cannot be opened, a cloud gives out credentials there. {_advice()}")


def _advice() -> str:
    return f"Open private ranges, that is parts of {', '.join(map(str, PRIVATE))}"


def _is_inside(inner: Range, outer: Range) -> bool:
    return inner.network_address in outer and inner.broadcast_address in outer


def _translated(each: Range) -> Range:
    """Give the addresses at which a NAT64 gateway offers a range of IPv4 (RFC 6052)."""
    return IPv6Network((int(_TRANSLATED.network_address) + int(each.network_address), 96 + each.prefixlen))
