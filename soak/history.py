"""What was asked of one name, and which versions may answer for it. Pure: all times are of one clock."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

from gridiron.model import Address
from soak.shelf import Shelf

NEVER = float("-inf")


class Fate(StrEnum):
    """What came of a change."""

    PENDING = "pending"  # it was asked for, and nobody knows yet
    MADE = "made"  # it was acknowledged, or its build was seen registered
    UNTOLD = "untold"  # its answer was lost, and looking did not tell
    NOTHING = "nothing"  # it made no build
    STRAY = "stray"  # its build is stored, was never registered, and is not taken away


@dataclass(slots=True, eq=False)
class Change:
    """A request that is to make a version of a name active: a deploy or a rollback."""

    kind: str
    name: str
    version: str | None  # None: the manager chooses
    began_at: float
    ended_at: float | None = None  # None while it is pending
    fate: Fate = Fate.PENDING
    address: Address | None = None  # of its build, where there is one and it is known

    @property
    def may_serve(self) -> bool:
        """Whether its version may answer calls."""
        return self.fate in {Fate.PENDING, Fate.MADE, Fate.UNTOLD}


class History:
    """The changes of one name, in the order in which they began."""

    def __init__(self, retain: int) -> None:
        self.shelf = Shelf(retain)
        self.build_ids: set[str] = set()
        """Of all builds that a change is known to have made."""
        self._changes: list[Change] = []
        self._by_version: dict[str, list[Change]] = defaultdict(list)
        self._choosing: list[Change] = []  # pending ones whose version the manager chooses

    def begin(self, change: Change) -> None:
        """Note that a change was asked for."""
        self._changes.append(change)
        if change.version is None:
            self._choosing.append(change)
        else:
            self._by_version[change.version].append(change)

    def end(self, change: Change, fate: Fate, now: float, address: Address | None) -> None:
        """Note what came of it; `address` is that of its build."""
        change.fate, change.ended_at, change.address = fate, now, address
        if change in self._choosing:
            self._choosing.remove(change)
        if address is None:
            return
        self.build_ids.add(str(address))
        self.shelf.put(address, required=fate is Fate.MADE)
        if change.version is None:
            change.version = address.version
            self._by_version[address.version].append(change)

    def allows(self, version: str, sent_at: float, answered_at: float) -> bool:
        """Tell whether a call between two times may have been answered by a version.

        A call goes to what is newest when its invocation begins, which is anywhen between the two. So a
        version may answer when it was asked for before the answer came, and was not yet replaced, for sure,
        when the call was sent.
        """
        floor = self._floor(sent_at)
        if version not in self._by_version:
            return False
        changes = [*self._by_version[version], *self._choosing]  # the manager may choose any that there was
        return any(
            change.may_serve
            and change.began_at <= answered_at
            and (change.ended_at is None or change.ended_at > floor)
            for change in changes
        )

    def find_newest(self) -> frozenset[str]:
        """Give the ids of the builds of which one has to be active when nothing is pending.

        They are several where changes overlapped: any of them may have been the last.
        """
        floor = self._floor(float("inf"))
        return frozenset(
            str(change.address)
            for change in self._changes
            if change.address is not None
            and change.may_serve
            and change.ended_at is not None
            and change.ended_at > floor
        )

    def find_last(self) -> Change | None:
        """Give the change that was made last."""
        return next((change for change in reversed(self._changes) if change.fate is Fate.MADE), None)

    def _floor(self, now: float) -> float:
        """Give when the last change that was made by `now` began: what had ended by then is replaced."""
        return next(
            (
                change.began_at
                for change in reversed(self._changes)
                if change.fate is Fate.MADE and change.ended_at is not None and change.ended_at <= now
            ),
            NEVER,
        )
