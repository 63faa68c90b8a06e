"""Who the other nodes of a cluster are."""

from __future__ import annotations

from gridiron.cluster import join_address
from gridiron.manager.peers.client import Peer
from gridiron.settings import Settings


def list_told_peers(settings: Settings) -> tuple[Peer, ...]:
    """Give the other nodes as the settings tell of them, which know their addresses and not their names."""
    if settings.cluster is None:
        return ()
    others = [ip for ip in settings.cluster.members if ip != settings.cluster.address]
    return tuple(Peer(str(ip), f"http://{join_address(ip, settings.used_peer_port)}") for ip in others)
