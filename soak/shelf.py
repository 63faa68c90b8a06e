"""Which builds of a name have to be on the disk. Pure."""

from __future__ import annotations

from gridiron.model import Address


class Shelf:
    """The builds of one name, as the rule of retention and the prunes that were asked for leave them.

    A build may go once more than `retain` newer ones exist at one time, or when a prune named it. All others
    have to stay.
    """

    def __init__(self, retain: int) -> None:
        self._retain = retain
        self._present: dict[str, int] = {}  # build id -> timestamp; it counts as a newer one for others
        self._required: set[str] = set()

    @property
    def required(self) -> frozenset[str]:
        """The ids of the builds that have to be there."""
        return frozenset(self._required)

    def put(self, address: Address, *, required: bool) -> None:
        """Note a build that is there; one that need not be there counts for others all the same.

        Safe to repeat, as what is active already is not made again.
        """
        build_id = str(address)
        if build_id not in self._present:
            self._present[build_id] = address.timestamp
            if required:
                self._required.add(build_id)
        self._let_go(more=0)

    def pass_by(self) -> None:
        """Note that there may have been one more build for a while, which is gone: a deploy was cut off."""
        self._let_go(more=1)

    def take(self, build_id: str, *, surely: bool) -> None:
        """Note that a prune named a build: it may be gone, or surely is."""
        self._required.discard(build_id)
        if surely:
            self._present.pop(build_id, None)

    def _let_go(self, more: int) -> None:
        newest_first = sorted(self._present, key=self._present.__getitem__, reverse=True)
        for newer, build_id in enumerate(newest_first):
            if newer + more > self._retain:
                self._required.discard(build_id)
            if newer > self._retain:  # whatever is older has as many newer ones without it
                del self._present[build_id]
