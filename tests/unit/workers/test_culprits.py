from __future__ import annotations

import pytest

from gridiron.workers.culprits import (
    MOST_UNPROVEN,
    WINDOW,
    Cut,
    Death,
    choose_unproven,
    find_culprit,
    forget_old,
    is_about_stream,
    parse_cut,
    without_culprit,
)

BAD, GOOD, OTHER = "bad/1.0.0-3", "good/1.0.0-1", "other/1.0.0-2"


def deaths(*suspects: str) -> tuple[Death, ...]:
    """Deaths a second apart, each with the keys of a text as suspects."""
    return tuple(Death(float(at), frozenset(each.split())) for at, each in enumerate(suspects))


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("ended cell-1 SH demo/1.0.0-123", Cut("cell-1", "demo/1.0.0-123")),
        ("ended cell-12 SD demo/1.0.0-123", Cut("cell-12", "demo/1.0.0-123")),
        ("ended cell-1 SC demo/1.0.0-123", None),  # it was not sent yet
        ("ended <NOSRV> SC demo/1.0.0-123", None),
        ("ended cell-1 CD demo/1.0.0-123", None),  # the caller went away
        ("ended cell-1 SH -/health", Cut("cell-1", "-/health")),
        ("ended cell-1 SH -", None),  # a path with no build in it
        ("[WARNING]  (5797) : Server cells/cell-1 is DOWN", None),
    ],
)
def test_a_stream_that_its_cell_broke_off(line: str, cut: Cut | None) -> None:
    assert parse_cut(line) == cut
    assert is_about_stream(line) is line.startswith("ended ")


def test_twice_is_bad_luck() -> None:
    assert find_culprit(()) is None
    assert find_culprit(deaths(BAD, BAD)) is None


def test_three_times_is_not() -> None:
    assert find_culprit(deaths(BAD, BAD, BAD)) == BAD
    assert find_culprit(deaths(f"{BAD} {GOOD}", BAD, OTHER, f"{BAD} {GOOD}")) == BAD


def test_only_who_was_there_the_last_time_is_blamed_for_it() -> None:
    assert find_culprit(deaths(BAD, BAD, BAD, GOOD)) is None


def test_of_several_it_is_the_one_with_the_fewest_others() -> None:
    # good was there as often, but always in company
    assert find_culprit(deaths(BAD, f"{BAD} {GOOD}", f"{BAD} {GOOD}", f"{GOOD} {BAD}", GOOD, BAD)) == BAD
    rounds = deaths(f"{BAD} {OTHER}", f"{GOOD} {BAD}", GOOD, f"{GOOD} {BAD}", f"{BAD} {GOOD}")
    assert find_culprit(rounds) == GOOD


def test_of_those_that_were_always_together_it_is_the_newest() -> None:
    both = f"{GOOD} {OTHER}"
    assert find_culprit(deaths(both, both, both)) == OTHER


def test_deaths_that_a_culprit_explains_say_nothing_of_its_neighbours() -> None:
    seen = deaths(f"{BAD} {GOOD}", GOOD, f"{BAD} {GOOD}", f"{BAD} {GOOD}")
    assert without_culprit(seen, BAD) == (Death(1.0, frozenset({GOOD})),)


def test_old_deaths_do_not_count() -> None:
    seen = deaths(BAD, BAD)
    assert forget_old(seen, WINDOW.total_seconds()) == seen
    assert forget_old(seen, WINDOW.total_seconds() + 0.5) == seen[1:]


@pytest.mark.parametrize(
    ("suspects", "proven", "unproven"),
    [
        ({BAD, GOOD}, {GOOD, OTHER}, {BAD}),
        ({BAD}, set(), {BAD}),
        ({GOOD}, {GOOD}, set()),
        (set(), {GOOD}, set()),
        ({f"new/1-{number}" for number in range(MOST_UNPROVEN)}, {GOOD}, None),
        ({f"new/1-{number}" for number in range(MOST_UNPROVEN + 1)}, {GOOD}, set()),
    ],
)
def test_who_has_answered_much_is_not_the_first_to_be_suspected(
    suspects: set[str], proven: set[str], unproven: set[str] | None
) -> None:
    expected = suspects if unproven is None else unproven
    assert choose_unproven(frozenset(suspects), proven) == expected
