"""Where each build of a cluster is in its life: one small object of the bucket for each, which changes."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gridiron.errors import ObjectChanged, ObjectExists, ObjectMissing
from gridiron.lifecycle.observation import Mark
from gridiron.model import Value
from gridiron.objects.port import Listed, Objects
from gridiron.objects.values import fetch_value, render_value

READERS = 8
"""Objects that are read at once: each takes some 10 to 50 ms of waiting."""


class BuildState(Value):
    """What the object holds."""

    mark: Mark | None  # None: it is registered, and to be so
    node: str  # that has written it: the one whose activation it is while that is unfinished
    nonce: str  # so that each writing has an ETag of its own


@dataclass(frozen=True, slots=True)
class _Seen:
    state: BuildState
    listed: str | None  # ETag in a listing; None: it was not listed since it was read or written
    etag: str  # for `replace`


class BuildStates:
    """The states as one node reads and writes them. Its methods block, and may be called from any thread.

    They raise BucketUnavailable and BucketRefused.
    """

    def __init__(self, objects: Objects, node: str) -> None:
        self._objects = objects
        self._node = node
        self._seen: dict[str, _Seen] = {}  # by key

    def claim(self, key: str) -> None:
        """Make the state of a build whose activation begins. Raises ObjectExists where there is one."""
        state = self._plan(Mark.ACTIVATING)
        etag = self._objects.create(key, render_value(state))
        self._seen[key] = _Seen(state, None, etag)

    def write(self, key: str, mark: Mark | None) -> None:
        """Change the state that was seen last. Safe to repeat; does nothing where there is none.

        Raises ObjectChanged where another node came first: what was decided by the old one may be wrong. So
        it is where there is none of a build that is to be registered.
        """
        try:
            seen = self._seen.get(key) or self._read(key, None)
        except ObjectMissing as error:
            if mark is Mark.REGISTERING:
                raise ObjectChanged(self._objects.url, key) from error
            return
        if seen.state.mark is mark:
            return
        state = self._plan(mark)
        self._seen.pop(key, None)  # whatever comes of it
        self._seen[key] = _Seen(state, None, self._objects.replace(key, render_value(state), seen.etag))

    def ensure(self, key: str, mark: Mark | None) -> None:
        """Have a state with this mark, of a build that no other node knows of. Safe to repeat."""
        state = self._plan(mark)
        try:
            self._seen[key] = _Seen(state, None, self._objects.create(key, render_value(state)))
        except ObjectExists:
            self.write(key, mark)

    def find_writer(self, key: str) -> str | None:
        """Say which node has written a state last; None where there is none. Raises ObjectDamaged."""
        try:
            return self._read(key, None).state.node
        except ObjectMissing:
            return None

    def remove(self, key: str) -> None:
        """Remove the state of a build that has nothing else left. Safe to repeat."""
        self._objects.delete(key)
        self._seen.pop(key, None)

    def fetch(self, listed: Iterable[Listed]) -> Mapping[str, BuildState]:
        """Give the states that a listing names, by key; only those that are new are read.

        One that is gone by now is left out. Raises ObjectDamaged.
        """
        every = tuple(listed)
        stale = [each for each in every if not self._is_current(each)]
        with ThreadPoolExecutor(READERS) as readers:
            for each, seen in zip(stale, readers.map(self._refresh, stale), strict=True):
                if seen is None:
                    self._seen.pop(each.key, None)
                else:
                    self._seen[each.key] = seen
        found = ((each.key, self._seen.get(each.key)) for each in every)
        return {key: seen.state for key, seen in found if seen is not None}

    def _is_current(self, listed: Listed) -> bool:
        seen = self._seen.get(listed.key)
        return seen is not None and listed.etag in {seen.listed, seen.etag}

    def _refresh(self, listed: Listed) -> _Seen | None:
        try:
            return self._read(listed.key, listed.etag)
        except ObjectMissing:
            return None

    def _read(self, key: str, listed: str | None) -> _Seen:
        state, etag = fetch_value(self._objects, key, BuildState, "it is no state of a build")
        return _Seen(state, listed, etag)

    def _plan(self, mark: Mark | None) -> BuildState:
        return BuildState(mark=mark, node=self._node, nonce=secrets.token_hex(8))
