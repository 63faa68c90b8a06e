"""Who the other nodes of a cluster are."""

from __future__ import annotations

from gridiron.cluster import join_address
from gridiron.manager.context import Context
from gridiron.manager.members import find_others, host_of
from gridiron.manager.peers.client import Peer
from gridiron.settings import Settings


def list_peers(context: Context) -> tuple[Peer, ...]:
    """Give the other nodes as Restate has them, or as the settings tell of them until that was seen once."""
    seen = context.mesh.members.seen if context.mesh else ()
    if not seen:
        return list_told_peers(context.settings)
    others, port = find_others(seen, context.settings.node_name), context.settings.used_peer_port
    return tuple(Peer(each.name, f"http://{host_of(each)}:{port}") for each in others)


def list_told_peers(settings: Settings) -> tuple[Peer, ...]:
    """Give the other nodes as the settings tell of them, which know their addresses and not their names."""
    if settings.cluster is None:
        return ()
    others = [ip for ip in settings.cluster.members if ip != settings.cluster.address]
    return tuple(Peer(str(ip), f"http://{join_address(ip, settings.used_peer_port)}") for ip in others)
