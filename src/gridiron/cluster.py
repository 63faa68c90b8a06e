"""What a node is told of its cluster: the table `[cluster]` of gridiron.toml. Values and checks, no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

PARTITIONS = 8
"""Of a new cluster, for good: what up to eight nodes can lead. docs/decisions/0011 has what each costs."""

BUCKET = re.compile(
    r"(?P<provider>s3|gs|az)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,62})(?:/(?P<prefix>[\w.-]+(?:/[\w.-]+)*))?"
)
"""S3, Google Cloud Storage, a container of Azure Blob Storage."""

IP = IPv4Address | IPv6Address


def _read_ip(value: object) -> IP:
    try:
        ip = ip_address(str(value))
    except ValueError as error:
        raise PydanticCustomError("no_ip", "{value} is no IP address", {"value": repr(value)}) from error
    if problem := find_problem(ip):
        raise PydanticCustomError("address", "{ip} is {problem}", {"ip": str(value), "problem": problem})
    return ip


def find_problem(ip: IP) -> str | None:
    """Say why nodes must not meet at an address; None where they may.

    Whoever reaches the port between nodes commands Restate: it asks for no credentials. An address of IPv4
    that is written as one of IPv6 is judged as what it is.
    """
    ip = (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip
    if ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast:
        return "no address at which other machines find this one: give one of the nodes' private network"
    if ip.is_global:
        return "public, and the port between nodes asks nobody who he is: give one of a private network"
    return None


def _check_bucket(value: str) -> str:
    if not BUCKET.fullmatch(value):
        raise PydanticCustomError(
            "bucket", "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        )
    return value


Address = Annotated[IP, BeforeValidator(_read_ip)]


class Cluster(BaseModel):
    """The cluster that a node belongs to, as its nodes are told of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")] = "gridiron"
    address: Address  # of this node, in the network of the nodes
    peers: Annotated[
        tuple[Address, ...], Field(min_length=1)
    ]  # where nodes are met; this one may be among them
    replication: Annotated[int, Field(ge=1, le=16)] = 2  # copies of the log and of Restate's metadata
    bucket: Annotated[str, AfterValidator(_check_bucket)]  # what the nodes share, beside Restate
    cache_mib: Annotated[int, Field(ge=0)] = (
        10_240  # of builds on this disk; those that are needed take what they take
    )

    @model_validator(mode="after")
    def _has_enough_nodes(self) -> Self:
        if len(set(self.peers)) < len(self.peers):
            raise PydanticCustomError("peers", "peers: an address is there twice")
        if self.replication > len(self.members):
            raise PydanticCustomError(
                "replication",
                "replication: {copies} copies need as many nodes, and there are {nodes} with this one",
                {"copies": self.replication, "nodes": len(self.members)},
            )
        return self

    @property
    def members(self) -> tuple[IP, ...]:
        """The addresses of all nodes that are told of: this one and its peers, sorted."""
        return tuple(sorted({self.address, *self.peers}, key=lambda ip: (ip.version, ip)))

    def folder(self, name: str) -> str:
        """Give the URL of what lies below `name` in the bucket."""
        return f"{self.bucket}/{name}"


def join_address(ip: IP, port: int) -> str:
    """Join an address and a port; one of IPv6 gets its brackets."""
    return f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}"


def fabric_urls(addresses: Iterable[IP], port: int) -> tuple[str, ...]:
    """Give the URLs of Restate's own ports at these addresses."""
    return tuple(f"http://{join_address(ip, port)}" for ip in addresses)
