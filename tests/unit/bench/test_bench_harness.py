from __future__ import annotations

from functools import partial

import pytest

from bench.caller import Call, failures_of, longest_gap
from bench.harness import (
    Failure,
    Outcome,
    Plateau,
    Row,
    Spread,
    Target,
    at_least,
    at_most,
    find_plateau,
    is_successful,
    percentile,
    ratios_of,
    single,
    spread_of,
    take_turns,
)


@pytest.mark.parametrize(
    ("figures", "spread"),
    [
        ([7], Spread(median=7, low=7, high=7, count=1)),
        ([3, 1, 2], Spread(median=2, low=1, high=3, count=3)),  # too few for quartiles
        ([5, 1, 2, 4, 3], Spread(median=3, low=2, high=4, count=5)),
    ],
)
def test_a_spread_is_the_median_and_the_quartiles(figures: list[float], spread: Spread) -> None:
    assert spread_of(figures) == spread


def test_ratios_are_taken_within_each_round() -> None:
    assert ratios_of([10, 30], [5, 10]) == (2, 3)
    with pytest.raises(ValueError, match="shorter"):
        ratios_of([10, 30], [5])


@pytest.mark.parametrize(("percent", "figure"), [(1, 10), (50, 20), (75, 30), (99, 40), (100, 40)])
def test_a_percentile_is_a_figure_of_the_series(percent: float, figure: float) -> None:
    assert percentile([40, 10, 30, 20], percent) == figure


def test_each_takes_its_turn_in_each_round_and_the_warm_up_is_not_counted() -> None:
    order: list[str] = []

    def subject(name: str) -> int:
        order.append(name)
        return len(order)

    turns = {name: partial(subject, name) for name in "abc"}
    taken = take_turns(turns, rounds=8, warm_up=1)
    rounds = [order[start : start + 3] for start in range(0, 27, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    for name in "abc":
        assert taken[name] == tuple(
            3 * number + each.index(name) + 1 for number, each in enumerate(rounds) if number >= 1
        )


def test_who_comes_after_whom_changes_and_is_the_same_in_each_run() -> None:
    def run() -> str:
        order: list[str] = []
        take_turns({name: partial(order.append, name) for name in "ab"}, rounds=10)
        return "".join(order)

    assert run() == run()
    assert "aa" in run()
    assert "bb" in run()


@pytest.mark.parametrize(
    ("target", "figure", "holds"),
    [
        (at_least(3), 3, True),
        (at_least(3), 2.99, False),
        (at_most(1.5), 1.5, True),
        (at_most(1.5), 1.51, False),
        (at_most(0), 0, True),
        (None, 100, None),
    ],
)
def test_the_verdict_is_computed(target: Target | None, figure: float, holds: bool | None) -> None:
    assert make_row(target, figure).holds is holds


def test_a_run_fails_with_a_target_that_is_missed_and_with_a_measure_that_failed() -> None:
    held = Outcome(rows=(make_row(at_most(1), 1), make_row(None, 5)))
    missed = Outcome(rows=(make_row(at_most(1), 1), make_row(at_most(1), 2)))
    assert is_successful({"a": held})
    assert not is_successful({"a": held, "b": missed})
    assert not is_successful({"a": held, "b": Failure(reason="no")})


def test_a_curve_that_rises_and_then_stays_level_has_a_plateau() -> None:
    samples = [(x * 1000, y) for x, y in enumerate([100, 150, 185, 198, 200, 202, 199, 201])]
    assert find_plateau(samples) == Plateau(level=200, growth=200 / 201, reached_at=2000)


def test_a_curve_that_goes_on_rising_has_none() -> None:
    plateau = find_plateau([(x, 100 + 50 * x) for x in range(8)])
    assert plateau == Plateau(level=425, growth=425 / 325, reached_at=6)
    assert not at_most(1.1).holds(plateau.growth)


def test_calls_that_failed_or_were_answered_by_another_version_are_failures() -> None:
    calls = [
        Call(due=0, seconds=1, answer="1", error=None),
        Call(due=1, seconds=1, answer="3", error=None),
        Call(due=2, seconds=1, answer=None, error="500 no"),
    ]
    assert failures_of(calls, {"1", "2"}) == ["answered 3", "500 no"]


def test_the_longest_gap_is_between_answers_or_at_an_end_of_the_window() -> None:
    calls = [Call(due=due, seconds=1, answer="1", error=None) for due in (0, 1, 4, 5)]
    assert longest_gap(calls, 1, 6) == 3
    assert longest_gap(calls, 1, 10) == 4
    assert longest_gap(calls, 7, 9) == 2


def make_row(target: Target | None, figure: float) -> Row:
    return Row(title="it", figure=single(figure), unit="×", target=target, baseline="that")
