from __future__ import annotations

from typing import Any

from gridiron.workers.status import BuildTraffic
from gridiron.workers.traffic import BOUNDS, MOST_BUILDS, OTHER, OUTCOMES, REFUSALS, Traffic

NOTHING = dict.fromkeys(OUTCOMES, 0)


def build(path: str, ok: int = 0, in_flight: int = 0) -> dict[str, Any]:
    """What a cell says of a build that answered so many calls, each in 10 ms."""
    durations = [0, ok] + [0] * (len(BOUNDS) - 1)
    outcomes = {"ok": ok, "exception": 0}
    return {
        "path": path,
        "in_flight": in_flight,
        "outcomes": outcomes,
        "durations": durations,
        "milliseconds": 10 * ok,
    }


def said(*builds: dict[str, Any], evictions: int = 0, **refused: int) -> dict[str, Any]:
    return {"builds": builds, "evictions": evictions, "refused": refused}


def answered(traffic: Traffic) -> dict[str, int]:
    return {each.path: each.outcomes["ok"] for each in traffic.render(None).builds}


def test_the_sums_of_a_build_in_two_cells() -> None:
    traffic = Traffic()
    traffic.see("cell-1", said(build("/a/1-1", ok=2, in_flight=1)))
    traffic.see("cell-2", said(build("/a/1-1", ok=3, in_flight=4)))
    traffic.cut("/a/1-1")
    assert traffic.render(None).builds == (
        BuildTraffic(
            path="/a/1-1",
            in_flight=5,
            outcomes={**NOTHING, "ok": 5, "cut": 1},
            durations=(0, 5, 0, 0, 0, 0, 0, 0),
            seconds=0.05,
        ),
    )


def test_a_cell_that_is_replaced_takes_nothing_with_it() -> None:
    traffic = Traffic()
    traffic.see("cell-1", said(build("/a/1-1", ok=2), evictions=3, build_not_found=4))
    traffic.forget("cell-1")
    traffic.see("cell-2", said(build("/a/1-1", ok=1), evictions=1, build_not_found=1, script_failed=1))
    rendered = traffic.render(None)
    assert answered(traffic) == {"/a/1-1": 3}
    refused = {"build_not_found": 5, "script_failed": 1}
    assert (rendered.refused, rendered.evictions) == ({**dict.fromkeys(REFUSALS, 0), **refused}, 4)


def test_a_build_that_is_loaded_again_counts_on() -> None:
    traffic = Traffic()
    for looked in (
        said(build("/a/1-1", ok=2)),
        said(),
        said(build("/a/1-1", ok=1)),
        said(build("/a/1-1", ok=4)),
    ):
        traffic.see("cell-1", looked)
    assert answered(traffic) == {"/a/1-1": 6}


def test_so_many_builds_are_told_apart_and_the_rest_is_one() -> None:
    traffic = Traffic()
    traffic.see("cell-1", said(*(build(f"/a/1-{n}", ok=1, in_flight=1) for n in range(MOST_BUILDS + 2))))
    others = [each for each in traffic.render(None).builds if each.path == OTHER]
    assert len(answered(traffic)) == MOST_BUILDS + 1
    assert [(each.outcomes["ok"], each.in_flight) for each in others] == [(2, 2)]


def test_a_build_that_is_not_loaded_any_more_makes_room() -> None:
    traffic = Traffic()
    first, *rest = (build(f"/a/1-{n}", ok=1) for n in range(MOST_BUILDS))
    traffic.see("cell-1", said(first, *rest))
    traffic.see("cell-1", said(*rest, build("/b/1-1", ok=1)))
    assert answered(traffic).keys() == {each["path"] for each in rest} | {"/b/1-1"}


class Counted(str):
    """A path that counts how often it is looked up."""

    __slots__ = ()
    looked_up = 0

    def __hash__(self) -> int:
        Counted.looked_up += 1
        return super().__hash__()


def test_a_build_more_is_as_much_work_however_many_there_are() -> None:
    traffic, many = Traffic(), 10 * MOST_BUILDS
    builds = [build(Counted(f"/a/1-{n}"), ok=1) for n in range(many)]
    for cell in ("cell-1", "cell-2"):
        traffic.see(cell, said(*builds))
    before = Counted.looked_up
    traffic.see("cell-1", said(*builds))
    assert Counted.looked_up - before < 100 * many


def test_a_request_of_nobody_knows_which_build_that_broke_off_is_counted() -> None:
    traffic = Traffic()
    traffic.cut("/made/up-1")
    assert [(each.path, each.outcomes["cut"]) for each in traffic.render(None).builds] == [(OTHER, 1)]
