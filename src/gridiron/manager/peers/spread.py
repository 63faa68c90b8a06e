"""Have the other nodes fetch a build before it is called."""

from __future__ import annotations

from gridiron.manager.api import NodeCopy
from gridiron.manager.peers.client import Peers, Unreached
from gridiron.model import Address


async def spread(peers: Peers, address: Address) -> tuple[NodeCopy, ...]:
    """Ask all other nodes at once, and say of each whether it has the build. Safe to repeat; never raises."""
    answers = await peers.copy(address)
    return tuple(
        NodeCopy(node=peer.node, present=False, reason=answer.reason)
        if isinstance(answer, Unreached)
        else NodeCopy(node=peer.node, present=answer.present)
        for peer, answer in answers.items()
    )
