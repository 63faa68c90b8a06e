"""What was asked of each build and what came of it, summed up over all cells that there ever were. No I/O.

A cell counts from its start, and counts a build from when it loads it. So each look at a cell is compared
with the one before; a number that has fallen began anew. What a cell has answered since the last look at it
is lost with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gridiron.workers.status import BuildTraffic, PoolTraffic, ProxyCounts

BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Seconds that an invocation stays below; `DURATIONS` of router.js has them in milliseconds."""

OUTCOMES = ("ok", "failed", "retrying", "suspended", "cancelled", "exception", "cut")
"""How a request ends: all but the last are the router's, `cut` is one whose cell ended before it."""

REFUSALS = (
    "build_not_fetched",
    "build_not_found",
    "bundle_unreadable",
    "identity_unreadable",
    "request_signature_early",
    "request_signature_expired",
    "request_signature_invalid",
    "request_signature_misdirected",
    "request_unsigned",
    "script_failed",
    "secrets_unreadable",
)
"""The codes of the router's problems, told from the start so that a first one is seen to be a rise."""

MOST_BUILDS = 100
"""Builds that are told apart. Each is twenty series of metrics."""

OTHER = ""
"""The path that stands for all other builds."""

_CELL = "-"
"""In place of a build's path: what a cell counts for all of them."""

_What = tuple[str, str | int]
"""What is counted of a build, and of which kind."""


class Traffic:
    """The sums. None of them ever falls, but for those of a build that has lost its place to another."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, Counter[_What]] = defaultdict(Counter)  # by path
        self._last: dict[str, dict[tuple[str, _What], int]] = {}  # by cell: what it said last
        self._loaded: dict[str, dict[str, int]] = {}  # by cell: the requests in flight, by path

    def see(self, cell: str, said: Mapping[str, Any]) -> None:
        """Take what a cell has answered to `GET /builds`."""
        last = self._last.setdefault(cell, {})
        self._loaded[cell] = {build["path"]: build["in_flight"] for build in said["builds"]}
        places = {**self._place(self._loaded[cell]), _CELL: _CELL}
        for path, what, count in _counts_of(said):
            before = last.get((path, what), 0)
            self._sums[places[path]][what] += count - before if count >= before else count
            last[path, what] = count

    def cut(self, path: str) -> None:
        """Take note of a request whose cell ended before it."""
        self._sums[path if path in self._sums else OTHER]["outcome", "cut"] += 1

    def forget(self, cell: str) -> None:
        """Take note that a cell has ended. Safe to repeat."""
        self._last.pop(cell, None)
        self._loaded.pop(cell, None)

    def render(self, proxy: ProxyCounts | None) -> PoolTraffic:
        """Put together what there is."""
        in_flight = Counter[str]()
        for loaded in self._loaded.values():
            for path, count in loaded.items():
                in_flight[path if path in self._sums else OTHER] += count
        cells = self._sums[_CELL]
        return PoolTraffic(
            builds=tuple(
                _render_build(path, in_flight[path], sums)
                for path, sums in self._sums.items()
                if path != _CELL
            ),
            refused=dict.fromkeys(REFUSALS, 0)
            | {str(code): count for (what, code), count in cells.items() if what == "refused"},
            evictions=cells["evictions", ""],
            proxy=proxy,
        )

    def _place(self, paths: Iterable[str]) -> Mapping[str, str]:
        """Say where builds are counted: they may take the places of some that no cell has loaded any more."""
        places = {path: path if path in self._sums else OTHER for path in paths}
        new = [path for path, place in places.items() if place == OTHER]
        if not new:
            return places
        taken = [path for path in self._sums if path not in {OTHER, _CELL}]  # who came first is first
        gone = [path for path in taken if not any(path in loaded for loaded in self._loaded.values())]
        free = MOST_BUILDS - len(taken)
        for path in gone[: max(0, len(new) - free)]:
            del self._sums[path]
            free += 1
        return places | {path: path for path in new[:free]}


def _counts_of(said: Mapping[str, Any]) -> Iterator[tuple[str, _What, int]]:
    yield _CELL, ("evictions", ""), said["evictions"]
    for code, count in said["refused"].items():
        yield _CELL, ("refused", code), count
    for build in said["builds"]:
        path = build["path"]
        for outcome, count in build["outcomes"].items():
            yield path, ("outcome", outcome), count
        for bound, count in enumerate(build["durations"]):
            yield path, ("duration", bound), count
        yield path, ("milliseconds", ""), build["milliseconds"]


def _render_build(path: str, in_flight: int, sums: Counter[_What]) -> BuildTraffic:
    return BuildTraffic(
        path=path,
        in_flight=in_flight,
        outcomes={outcome: sums["outcome", outcome] for outcome in OUTCOMES},
        durations=tuple(sums["duration", bound] for bound in range(len(BOUNDS) + 1)),
        seconds=sums["milliseconds", ""] / 1000,
    )
